/*
 * schedules.h - the ticks of schedules, as items for the schedule lane.
 */
#ifndef SLUICE_RUN_SCHEDULES_H
#define SLUICE_RUN_SCHEDULES_H

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct engine;

/* What the keeper knows of a schedule; all 0 at first. */
struct schedule_run {
    int64_t next_ms; /* wall: when its next tick is */
    int64_t seen_ms; /* the slot of its last tick, when its row was last looked at */
};

/* Hands out the ticks that are due, but none of a schedule whose last one still runs. `runs` is by schedule. Returns
 * when the next tick is, INT64_MAX without schedules. The keeper's thread. */
int64_t schedules_tick(struct engine *engine, struct schedule_run *runs);
/* Whether there is a schedule that an operator wants to tick now: its row was deleted, or its slot set back. The
 * keeper's thread. */
bool schedules_look(struct engine *engine, struct connection *connection, struct schedule_run *runs);

#endif
