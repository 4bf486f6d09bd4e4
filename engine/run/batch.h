/*
 * batch.h - the life of a batch: claim, handle, record, commit, emit, complete.
 *
 * One batch is one transaction. batch.c walks the steps, which batch_claim.c, batch_record.c and batch_finish.c
 * take; call.c is the engine as a plugin sees it; outputs.c composes what is emitted; compensate.c keeps the chains.
 * A work is an item for the time of one batch: its parsed event and what became of it. Everything here lives in the
 * worker's arena until the next batch, and on the worker's thread.
 */
#ifndef SLUICE_RUN_BATCH_H
#define SLUICE_RUN_BATCH_H

#include "flow/chain.h"
#include "flow/retry.h"
#include "run/state.h"
#include "store/ledger.h"

enum verdict {
    VERDICT_NONE = 0,
    VERDICT_OUTCOME,   /* the handler decided: `outcome` */
    VERDICT_PASSED,    /* only a chain watched it, or a request or tick that needs no outcome */
    VERDICT_RETRY,     /* transient: again at due_ms, its key held */
    VERDICT_DEAD,      /* dead letter: `reason`, `why` */
    VERDICT_PARK,      /* waits in the database until due_ms (wall) */
    VERDICT_STUCK,     /* an undo that failed for good under `on_undo_failure: pause`: parked for an operator */
    VERDICT_DUPLICATE, /* done before */
    VERDICT_BACK,      /* as if never taken: a predecessor of its key, or its twin in the batch, must end first */
    VERDICT_LATER,     /* like RETRY, and no attempt is counted */
    VERDICT_ALONE,     /* suspected of a crash: comes again in a batch of its own */
};

/* Fields laid over the data of what is emitted. */
struct overlays {
    struct overlay *list;
    size_t count, size;
};

struct addition { /* an output beyond the event's own, made by add() */
    size_t outcome;
    struct overlays overlays;
};

struct work {
    struct item *item;
    struct event event;
    enum verdict verdict;
    bool claimed;
    size_t claim; /* index in batch->claims, when claimed */
    size_t outcome;
    enum dead_reason reason;
    const char *why;
    int64_t due_ms; /* monotonic for RETRY and LATER, wall for PARK */
    int64_t retry_count, retries_left;
    struct overlays overlays;
    struct addition *additions;
    size_t addition_count, addition_size;
    /* requests */
    int status; /* 0: not answered yet */
    struct span reply;
    bool reply_pending;
};

struct output { /* spans are filled by outputs_finish(): until then they are offsets into worker->bytes */
    struct record record;
    struct work *work; /* what it comes from */
    struct topic *topic;
    size_t key_at, key_length, value_at, value_length;
    bool has_key, composed; /* composed: key and value are in worker->bytes */
};

struct batch {
    struct worker *worker;
    struct engine *engine;
    struct arena *arena;
    struct connection *connection;
    struct work *works;
    size_t count;
    struct claim *claims;
    size_t claim_count;
    struct output *outputs;
    size_t output_count, output_size;
    int64_t now_ms, wall_ms, deadline_ms;
    bool transaction; /* one is open */
    bool called;      /* a handler was: only then is it the events' doing when time is over */
    /* an item was judged for something that its transaction must not keep: roll back, run again */
    bool condemned;
    enum store_result result; /* of the first statement that failed; STORE_OK else */
    struct error error;       /* its sentence */
};

/* Runs taken entries to their end: afterwards every one has gone back to the lane or is finished. */
void batch_run(struct worker *worker, struct lane_entry **entries, size_t count);

/* batch_claim.c: one statement for every work that wants a claim and has none. */
void batch_claim(struct batch *batch);

/* batch_record.c, in this order: */
/* Once for each work that is dead, as soon as it is: an undo that failed for good may have to come again or wait for
 * an operator. */
void batch_judge(struct batch *batch, struct work *work);
void batch_record(struct batch *batch); /* outcomes, attempts, parked events */
/* All outputs into the transaction; *ret_outbox: the id of their outbox row, 0 when there is none. */
void batch_outputs(struct batch *batch, struct record **ret_records, int64_t *ret_outbox);
void batch_commit(struct batch *batch);

/* batch_finish.c: after COMMIT; and when the transaction did not happen: why decides what is next. */
void batch_finish(struct batch *batch);
void batch_fail(struct batch *batch);

/* call.c: one call of a handler for works that share a binding. On a statement's failure batch->result says which. */
void batch_call(struct batch *batch, struct binding *binding, struct work **works, size_t count);
void work_dead(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The event is at fault and its transaction must keep nothing of it: the batch is rolled back and run again without
 * it. */
void work_condemn(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A transient failure of this event: due again after its policy's delay, or a dead letter when that is exhausted. */
void work_retry(struct batch *batch, struct work *work, const char *why);
/* in place: valid UTF-8 without control characters, as headers, rows and answers need it */
char *text_clean(char *text);
void overlay_set(struct batch *batch, struct overlays *overlays, struct span name, struct span json);

/* outputs.c: what the works emit. An output that cannot be composed condemns its work. */
void outputs_of_work(struct batch *batch, struct work *work);
void outputs_dead_letter(struct batch *batch, struct work *work);
/* An undo of a chain's step, composed from the step's own data. */
void outputs_undo(struct batch *batch, struct work *work, const struct chain *chain, int32_t step, struct span data,
                  struct span correlation, struct span reason);
struct record *outputs_finish(struct batch *batch); /* as records, in order; output_count of them */

/* compensate.c: the chains that watch the works' topics. May add outputs. */
void batch_chains(struct batch *batch);
/* The handler of an undo event failed for good: what its chain's on_undo_failure says. Returns the verdict to use. */
enum verdict chain_undo_failed(struct batch *batch, struct work *work);

/* planted.c: bugs for the checker to find. */
void planted_effects_first(struct batch *batch, void (*handle)(struct batch *batch));
void planted_complete_early(struct batch *batch);

#endif
