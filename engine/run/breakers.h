/*
 * breakers.h - breakers of dependencies: the failures that lanes count are written to the store, which opens them.
 *
 * What is open is among the pauses (run/pauses.h); lanes are told by the same flags.
 */
#ifndef SLUICE_RUN_BREAKERS_H
#define SLUICE_RUN_BREAKERS_H

#include <stdbool.h>

struct connection;
struct engine;
struct pause;

/* False: no memory. */
bool breakers_create(struct engine *engine);
void breakers_destroy(struct engine *engine);
/* Writes what has failed since the last time. The opener, then the keeper. */
void breakers_report(struct engine *engine, struct connection *connection);
/* Whether a half-open breaker waits for an event that tries it: one delayed event of its topics, if there are any, is
 * due. The keeper. */
bool breakers_want_a_try(struct engine *engine, struct connection *connection);
/* Sets the gauges: of those that are in the list, and of the others, which are closed. */
void breakers_show(const struct engine *engine, const struct pause *list, unsigned long count);

#endif
