/*
 * timeouts.h - chains that are not complete in time, or that an operator wants aborted: as items, which abort them, for
 * the lanes of the pipeline's group.
 */
#ifndef SLUICE_RUN_TIMEOUTS_H
#define SLUICE_RUN_TIMEOUTS_H

#include "base/arena.h"
#include "store/store.h"

struct engine;

/* Hands out those that are due. The keeper's thread; the arena is reset. */
void timeouts_take(struct engine *engine, struct connection *connection, struct arena *arena);

#endif
