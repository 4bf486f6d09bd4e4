/*
 * needs.h - the libraries that a library brings along: what it needs and finds through $ORIGIN in its own search path.
 */
#ifndef SLUICE_PLUGIN_NEEDS_H
#define SLUICE_PLUGIN_NEEDS_H

#include "base/error.h"

/* For each pair of a needed name and an entry of its RPATH or RUNPATH that begins with $ORIGIN: each(what follows
 * $ORIGIN, the name, context); 0 goes on. `path` is a whole ELF shared object that nobody writes to. Returns what
 * each() did, or 0. */
int needs_each(const char *path, int (*each)(const char *below, const char *name, void *context), void *context);

#endif
