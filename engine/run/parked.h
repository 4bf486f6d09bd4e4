/*
 * parked.h - parked events whose time has come: from the database to the lanes of their keys.
 */
#ifndef SLUICE_RUN_PARKED_H
#define SLUICE_RUN_PARKED_H

#include "base/arena.h"
#include "store/store.h"

struct engine;

/* When the engine's parked timer went off: takes what is due, and sets the timer for the next. The keeper's thread.
 * Uses the arena, and resets it. */
void parked_take(struct engine *engine, struct connection *connection, struct arena *arena);
/* Takes what waits for topics that this process has, and the one that parked it had not. Likewise. */
void parked_adopt(struct engine *engine, struct connection *connection, struct arena *arena);

#endif
