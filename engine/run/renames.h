/*
 * renames.h - `renamed`: what is recorded under an old name becomes the new one's. Part of names.h.
 */
#ifndef SLUICE_RUN_RENAMES_H
#define SLUICE_RUN_RENAMES_H

#include "run/names.h"

/* The names under which this pipeline may be known: its group, and what it was called. Returns how many. */
size_t renames_pipelines(const struct names *names, struct span *ret);
/* Carries over groups, handlers, chains and schedules. With `change` it is done; else names are only taken as carried
 * over. 0, or negative with a sentence. */
int renames_apply(struct names *names);

#endif
