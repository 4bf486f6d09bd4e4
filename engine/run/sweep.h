/*
 * sweep.h - the sweeper: publishes outbox rows that their lanes did not.
 *
 * Outputs that a lane did not publish are published by it or by a redelivery of their events: rows of other
 * processes (which died, or are slow), of requests and ticks, uncertain ones that were released, and refused
 * outputs, now and then.
 */
#ifndef SLUICE_RUN_SWEEP_H
#define SLUICE_RUN_SWEEP_H

#include "base/arena.h"
#include "store/store.h"

struct engine;

/* Publishes rows older than age_ms that no lane of this process will, as long as it gets on. True: none is left but
 * unreadable ones. False: the bus or database does not answer, the engine stops, or it took too long. Resets the arena. */
bool sweep_outbox(struct engine *engine, struct connection *connection, struct arena *arena, int64_t age_ms);

#endif
