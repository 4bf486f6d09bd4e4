/*
 * versions.h - which plugins a process has loaded: a line "NAME<tab>VERSION<tab>HASH" each, for another process to read
 * that has loaded none. The hash is the beginning of the library's SHA-256, 12 hex digits, or "?" when the library
 * cannot be read any more.
 */
#ifndef SLUICE_PLUGIN_VERSIONS_H
#define SLUICE_PLUGIN_VERSIONS_H

#include "base/buffer.h"
#include "pipeline/pipeline.h"

/* Of those that are loaded. */
void plugin_versions(const struct pipeline *pipeline, struct buffer *out);

struct plugin_version {
    struct span name, version, hash; /* in the text that was read */
};
/* Reads a line off the beginning of *lines. False: there is none. */
bool plugin_version_next(struct span *lines, struct plugin_version *ret);

#endif
