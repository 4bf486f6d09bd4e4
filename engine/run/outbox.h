/*
 * outbox.h - what is committed and must still be published, on a bus that is not part of the transaction.
 *
 * A batch's outputs are one row of sluice.outbox, in its transaction. After COMMIT its lane publishes them, and goes
 * on only when all are acknowledged: so a key's outputs are published in the order of its events, and an outage of
 * the bus holds the lanes, not memory. The row is deleted by the lane's next transaction, or soon by itself when
 * there is none.
 *
 * Rows of a process that died are published by whoever is given its partitions, before it reads them on, and by the
 * sweeper. Rows of requests and ticks, whose lanes must not be held, are published after the answer, and are the
 * sweeper's when the bus is away.
 *
 * An output that the bus refuses for good (too large, no such topic) stays in its row, alone, with the reason:
 * nothing waits for it, and it is published when the reason is gone.
 */
#ifndef SLUICE_RUN_OUTBOX_H
#define SLUICE_RUN_OUTBOX_H

#include "run/batch.h"

/* Who publishes this worker's rows: this process, or whoever sweeps (0). */
int64_t outbox_owner(const struct worker *worker);

/* After COMMIT: publishes the batch's outputs. 0; negative: they are not (all) out. With a store that is no trouble
 * for the batch: the row stands. Without one the batch must run again; an event whose output is refused for good is
 * condemned. */
int outbox_emit(struct batch *batch, const struct record *records, int64_t row);

/* The outputs as their row has them: they outlive the batch's items. */
void outbox_recorded(struct batch *batch, struct record **ret_records);

/* The answer to a COMMIT with this row was lost. Its batch runs again; when its claims are through, the row is there
 * or never will be. */
void outbox_doubt(struct worker *worker, int64_t row);

/* After such a batch: publishes the rows that are there, before anything behind them is. The records of the batch
 * are to be read again. */
void outbox_resolve(struct batch *batch);

/* The events behind rows in doubt are not this worker's any more: whoever takes them over publishes the rows. */
void outbox_leave(struct worker *worker);

/* Deletes the rows that the worker has published. */
void outbox_forget(struct worker *worker);

/* Publishes rows of other processes that are older than age_ms, as long as that gets on. False: some are left, the
 * bus or the database is away. Uses the arena, and resets it. */
bool outbox_sweep(struct engine *engine, struct connection *connection, struct arena *arena, int64_t age_ms);

#endif
