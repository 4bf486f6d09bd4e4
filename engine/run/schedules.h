/*
 * schedules.h - the ticks of schedules, as items for the schedule lane.
 */
#ifndef SLUICE_RUN_SCHEDULES_H
#define SLUICE_RUN_SCHEDULES_H

#include <stdint.h>

struct engine;

/* Hands out the ticks that are due, but none of a schedule whose last one still runs; next_slot_ms[i], by schedule,
 * is when the next one is (wall; 0 at first). Returns the earliest of them, INT64_MAX without schedules. The
 * keeper's thread. */
int64_t schedules_tick(struct engine *engine, int64_t *next_slot_ms);

#endif
