/*
 * keeper.h - the thread that watches the clock and does the engine's chores.
 */
#ifndef SLUICE_RUN_KEEPER_H
#define SLUICE_RUN_KEEPER_H

#include "run/engine.h"

int keeper_start(struct engine *engine, struct error *error);
/* Instead of the thread, see engine_step(): ticks, hands out what is parked, and does its chores; `looks`: those, too,
 * that find what others have changed. */
void keeper_step(struct engine *engine, bool looks);
/* When the next parked event or a chain's timeout is due (wall time, and monotonic: in virtual time they are the same);
 * of ticks, and of pauses that may end, *ret_tick_ms. INT64_MAX: never. */
int64_t keeper_due_ms(struct engine *engine, int64_t *ret_tick_ms);
void keeper_stop(struct engine *engine);    /* joins its thread */
void keeper_destroy(struct engine *engine); /* NULL keepers are fine */

#endif
