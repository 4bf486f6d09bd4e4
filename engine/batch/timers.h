/*
 * timers.h - the timers of chains: begun and ended in the transaction of the event that does so, and emitted in one of
 * their own when they are due.
 *
 * A timer that runs is a row of sluice.parked, under an id that event_id_timer() makes of chain, number and
 * correlation. Whoever holds the chain's row decides about its timers. Everything here runs on the lane's thread, in
 * the batch's transaction; a failure is batch->result.
 */
#ifndef SLUICE_BATCH_TIMERS_H
#define SLUICE_BATCH_TIMERS_H

#include "batch/instance.h"

/* What a part of a batch does to timers; in the batch's arena. Zeroed at first. */
struct timers {
    struct parked *begun;
    struct event_id *over;
    size_t begun_count, over_count;
};

/* The work did this step of the instance (-1: none that its definition has), whose row says so already. */
void timers_step(struct batch *batch, struct timers *timers, const struct instance *instance, int step,
                 const struct work *work);
void timers_write(struct batch *batch, const struct timers *timers);
/* The chain is aborted: none of its timers runs any more. */
void timers_over(struct batch *batch, const struct instance *instance);
/* Timers that are due end in this transaction, and are emitted. Opens one when none is open. */
void timers_due(struct batch *batch);

#endif
