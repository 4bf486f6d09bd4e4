/*
 * sweep.h - the sweeper: publishes outbox rows that their lanes did not.
 *
 * It is one of the two healers of outputs (redelivery is the other): rows of a process that died, of requests and ticks
 * while the bus was down, and rows whose refused outputs are tried again.
 */
#ifndef SLUICE_RUN_SWEEP_H
#define SLUICE_RUN_SWEEP_H

#include "base/arena.h"
#include "store/store.h"

struct engine;

/* Publishes rows of other processes that are older than age_ms, as long as that gets on. False: some are left, the bus
 * or the database is down. Uses the arena, and resets it. */
bool sweep_outbox(struct engine *engine, struct connection *connection, struct arena *arena, int64_t age_ms);

#endif
