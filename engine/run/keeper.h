/*
 * keeper.h - the thread that watches the clock and does the engine's chores.
 */
#ifndef SLUICE_RUN_KEEPER_H
#define SLUICE_RUN_KEEPER_H

#include "run/engine.h"

int keeper_start(struct engine *engine, struct error *error);
void keeper_stop(struct engine *engine);    /* joins its thread */
void keeper_destroy(struct engine *engine); /* NULL keepers are fine */

#endif
