/*
 * open.h - the one way from a path to a checked pipeline: load, plugins, resolve, check.
 */
#ifndef SLUICE_CLI_OPEN_H
#define SLUICE_CLI_OPEN_H

#include "pipeline/pipeline.h"

/* Everything that can be said about the file is in `problems`, sorted by line. 0, or -EINVAL when there is an error
 * among them. *ret is the pipeline as far as it could be read; NULL when there is none. `probe`: plugins are looked
 * at in a child process first. */
int pipeline_open(const char *path, bool probe, struct arena *arena, struct problems *problems, struct pipeline **ret);

#endif
