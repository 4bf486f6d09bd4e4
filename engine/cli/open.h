/*
 * open.h - the one way from a path to a checked pipeline: load, plugins, resolve, check.
 *
 * In two steps, since `run` takes them in two processes: the master reads the files, once, and each worker process goes
 * on from what they said then, however often it is replaced and whatever they say by now.
 */
#ifndef SLUICE_CLI_OPEN_H
#define SLUICE_CLI_OPEN_H

#include "pipeline/pipeline.h"

enum { READINGS_MAX = 64, READINGS_ARENA_MAX = 256 * 1024 * 1024 }; /* of a command that takes several files */

struct reading {
    struct pipeline *pipeline; /* as far as it could be read; never NULL */
    struct problems problems;  /* everything that can be said about the file; sorted by line at the end */
    int code;                  /* not 0: there is no pipeline in the file */
};

/* Reads the file, and what `${VAR}` and `${file:PATH}` in it stand for. Loads no plugin and prints nothing. */
void reading_begin(const char *path, struct arena *arena, struct reading *ret);
/* 0, or -EINVAL when there is an error among the problems. Once only. `probe`: plugins are looked at in a child process
 * first. */
int reading_finish(struct reading *reading, bool probe);
/* What is wrong between files that work together, all finished and of one arena: adds it to the problems of the first,
 * and those of the others. */
void readings_join(struct reading *readings, size_t count);

#endif
