/*
 * library.h - a file is looked at before the dynamic linker may touch it.
 */
#ifndef SLUICE_PLUGIN_LIBRARY_H
#define SLUICE_PLUGIN_LIBRARY_H

#include "base/error.h"

/* 0 when `path` is a whole ELF shared object for this machine that not everyone can write to. Opens, reads and
 * closes it; runs nothing of it. */
int library_check(const char *path, struct error *error);

#endif
