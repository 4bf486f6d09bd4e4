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
    int64_t next_ms; /* wall, of `cron` by the server's clock: when its next tick is; 0: now */
    int64_t seen_ms; /* the slot of its last tick, when its row was last looked at */
    /* of `cron`: */
    int64_t began_ms; /* when this process first asked for its next tick; 0: not yet */
    int64_t ahead_ms; /* what this process's clock is ahead of the server's; 0 without a store */
    bool begun;       /* it has a row */
};

/* Hands out the ticks that are due, but none of a schedule whose last one still runs. `runs` is by schedule. Returns
 * when the next tick is, INT64_MAX without schedules. The keeper's thread. */
int64_t schedules_tick(struct engine *engine, struct schedule_run *runs);
/* Whether there is a schedule that is to tick now: an operator deleted its row, or set its slot back; or it is one with
 * `cron` whose last tick was not done: no process ran, or the one that did it failed. The keeper's thread. */
bool schedules_look(struct engine *engine, struct connection *connection, struct schedule_run *runs);

#endif
