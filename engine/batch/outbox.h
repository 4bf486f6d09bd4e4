/*
 * outbox.h - what a lane's batches commit and must still publish, on a bus that is not part of the transaction.
 *
 * A batch's outputs are one row of sluice.outbox, in its transaction. After COMMIT its lane publishes them, and goes on
 * only when all are acknowledged: so a key's outputs are published in the order of its events, and an outage of the bus
 * holds the lanes, not memory. The row is deleted by the lane's next transaction, or soon by itself when there is none.
 *
 * Rows that other processes left are published by whoever is assigned partitions, before it reads them on; those of a
 * COMMIT that was later than that by the batch that meets its events again; and all of them by the sweeper
 * (run/sweep.h). Rows of requests and ticks are published after the answer, and left to the sweeper when
 * the bus is down. An output that the bus refuses for good stays in its row (refused.h).
 */
#ifndef SLUICE_BATCH_OUTBOX_H
#define SLUICE_BATCH_OUTBOX_H

#include "batch/batch.h"

/* After COMMIT: publishes the batch's outputs. 0; negative: they are not (all) published. With a store that is no
 * trouble for the batch: the row stands. Without one the batch must run again; an event whose output is refused for
 * good is condemned. */
int outbox_emit(struct batch *batch);

/* Reads batch->records back from the row's bytes: they outlive the batch's items. */
void outbox_reload(struct batch *batch);

/* The reply to the batch's COMMIT was lost, and the server may take its time over it. Its items run again; once one of
 * them is claimed again that transaction is over, and its row is there or never will be. */
void outbox_mark_uncertain(struct batch *batch);

/* After the claim: what other processes did of the batch's events is over, and its outputs may still be in their rows,
 * whatever they and the server did meanwhile. What is there is published as an uncertain row is. */
void outbox_find_left(struct batch *batch, const struct claim *claims, size_t count);

/* After such a batch: publishes and deletes the rows that are there, before anything behind them is; those with refused
 * records are left to the sweeper. Waits for bus and database until the engine stops. Ends the transaction whose rows
 * batch->records may point into: reload them afterwards. */
void outbox_resolve_uncertain(struct batch *batch);

/* The events behind uncertain rows are not this lane's any more, or some are not: whoever takes them over publishes the
 * rows, and this lane does before it goes on, if they are still there then. Waits for transactions that are not over;
 * what cannot be released now is with the next batch, or by outbox_settle(). */
void outbox_release_uncertain(struct batch_env *env);

/* Between batches: whether outbox_settle() has something to do. */
bool outbox_needs_settling(const struct outbox_lane *outbox);
/* Deletes the rows that the lane has published, and releases those whose events it lost, in transactions of their
 * own. */
void outbox_settle(struct batch_env *env);

/* Frees what the lane remembers of its rows. */
void outbox_free(struct outbox_lane *outbox);

#endif
