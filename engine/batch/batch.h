/*
 * batch.h - one batch is one transaction: claim, handle, record, commit, emit, complete.
 *
 * batch.c walks the steps; they stand below by their files. What they allocate lives in the lane's arena until the
 * next batch; all of it runs on the lane's thread. A step that fails sets batch->result and batch->error, or
 * condemns a work; the walk then ends and batch_fail() decides what is next.
 */
#ifndef SLUICE_BATCH_BATCH_H
#define SLUICE_BATCH_BATCH_H

#include "batch/env.h"
#include "batch/work.h"
#include "store/ledger.h"

struct output { /* spans are filled by outputs_finish(): until then they are offsets into env->bytes */
    struct record record;
    struct work *work; /* what it comes from */
    struct topic *topic;
    size_t key_at, key_length, value_at, value_length, data_at;
    bool has_key, composed; /* composed: key and value are in env->bytes; then `id` and data_at are set */
    struct span id;
};

struct queried {
    const struct binding *binding;
    struct queried *next;
};

struct batch {
    struct batch_env *env;
    struct arena *arena;
    struct connection *connection;
    struct work *works;
    size_t count;
    struct claim *claims;
    size_t claim_count;
    struct output *outputs;
    size_t output_count, output_size;
    struct record *records; /* the outputs as they are published, once outputs_finish() made them */
    int64_t outbox_row;     /* id of their row in sluice.outbox; 0: none */
    int64_t now_ms, wall_ms, deadline_ms;
    int64_t timer_due_ms; /* when the first timer is due that began in this transaction, wall time; 0: none did */
    bool transaction;     /* one is open */
    size_t ready;         /* events that need not wait any more, by what this batch handled */
    uint32_t calls;       /* of handlers so far */
    const struct binding *last_called;
    bool called;       /* a handler was: only then is it the events' doing when time is over */
    bool condemned;    /* a work was condemned: roll back, run again */
    bool plugin_ended; /* the process of an isolated plugin ended in its call: roll back */
    bool undo_call;    /* a call that found something unavailable had run statements: roll back, it waits */
    const struct binding *failed_binding; /* whose handler's statement failed; NULL: none did */
    struct queried *queried;              /* handlers whose statements ran in this transaction, the last one first */
    const char *failed_sql;               /* that statement, as the plugin knows it */
    enum store_result result;             /* of the first statement, or other step, that failed; STORE_OK else */
    struct error error;                   /* its sentence */
};

/* Runs taken entries to their end: afterwards every one has gone back to the lane or is finished. */
void batch_run(struct batch_env *env, struct lane_entry **entries, size_t count);

/* prepare.c: parses each work and gives those a verdict that need no handler: unreadable, condemned, suspected, not due
 * yet, nobody bound to its topic. */
void batch_prepare(struct batch *batch);

/* claim.c: one statement for all works that are to be claimed (verdict_rows: claim); opens the transaction when
 * there are any and none is open. */
void batch_claim(struct batch *batch);
/* Dead letters of taps that record nothing: their events are not claimed before they are handled, and a dead letter
 * must be written once, so these are claimed when they are known. */
void batch_claim_dead(struct batch *batch);

/* handle.c: calls the handlers for the works that are to be handled, keys in order. */
void batch_handle(struct batch *batch);
/* call.c: one call of a handler for works that share a binding. */
void batch_call(struct batch *batch, struct binding *binding, struct work **works, size_t count);
/* What the last handler changed of the process is the engine's again. After each of the first CALL_LOOKS calls of a
 * batch, and once after the others, for it costs system calls. */
void call_put_back(const struct batch *batch);
enum { CALL_LOOKS = 4 };

/* suspect.c: suspected events are written down, for explain; and are no more, once the transaction ends them. */
void batch_suspects(struct batch *batch);
void batch_suspects_over(struct batch *batch);
/* held.c: what goes behind rows of its key is not handled. Judged before the claim; after it, that whose last COMMIT is
 * not known: its claim tells whether it was done. */
void batch_behind(struct batch *batch, bool claimed);
/* held.c: what has to wait for longer than a moment is written down, and the later events of its key behind it. */
void batch_hold(struct batch *batch);
void batch_held(struct batch *batch); /* the rows */

/* chains.c. Before the handlers: an event without a usable correlation that a chain must be told of becomes a dead
 * letter. */
bool chain_refuses(struct batch *batch, struct work *work);
/* Why an event of the topic with this data would be one for that, in the arena; NULL: it would not. */
const char *chain_refusal(const struct topic *topic, const struct json_object *data, struct arena *arena);
/* Of a dead letter: whether chains have noted its event, now or when it became one before. */
bool chains_noted(const struct batch *batch, const struct work *work);
/* The chains that watch the works' topics, and their timers that are due. May add outputs. */
void batch_chains(struct batch *batch);
/* The verdict of a dead work: when it is an undo of a chain, what on_undo_failure says (then its row is written, too);
 * VERDICT_DEAD for every other. */
enum verdict chain_undo_failed(struct batch *batch, struct work *work);

/* pack.c: a record as sluice.parked keeps it, in the arena. It cannot be packed: batch->result. */
struct span batch_pack(struct batch *batch, const struct record *record);
/* record.c: outcomes, attempts, parked events; then all outputs; then COMMIT. */
void batch_record(struct batch *batch);
void batch_outputs(struct batch *batch);
void batch_commit(struct batch *batch);
/* outbox_table.c: the outputs that `outbox_table:` wants, as rows of that table, once they are records. */
void batch_outbox_table(struct batch *batch);

/* correlation.c: the correlation of the chains, carried on or found in the data or what is laid over it; {NULL, 0}:
 * none. */
struct span output_correlation(struct batch *batch, const struct work *work, const struct overlays *overlays);
/* outputs.c: what the works emit. An output that cannot be composed condemns its work. */
void outputs_of_work(struct batch *batch, struct work *work);
struct output *output_add(struct batch *batch, struct work *work, struct topic *topic);
void output_header(struct output *output, const char *name, struct span value); /* there is room for it */
/* The undo of one doing of a chain's step, composed from the step's own data. */
struct undo {
    const char *chain;
    const struct chain_step *step;
    int32_t generation, doing;
    uint32_t repeats; /* how often the step was done before, in this generation */
    struct span data, correlation, reason;
    struct span traceparent; /* of the span that did the step; {NULL, 0}: it is not known */
};
void outputs_undo(struct batch *batch, struct work *work, const struct undo *undo);
void outputs_timer(struct batch *batch, struct work *work); /* the event of a timer that is due */
/* dead_letter.c: the record on the dead letter topic, if there is one; and with a store, the rows of dead letters. */
void outputs_dead_letter(struct batch *batch, struct work *work);
void dead_letters_record(struct batch *batch);
struct record *outputs_finish(struct batch *batch); /* as records, in order; output_count of them */

/* session.c: a statement of this binding's handler runs; it failed because the handler before it left the session
 * changed, who is named; whether another handler may have done so in this transaction; after its end, names who changed
 * the session. */
void session_queried(struct batch *batch, const struct binding *binding);
bool session_left(const struct batch *batch);
bool session_spoilt(const struct batch *batch, const struct binding *binding);
void session_name(const struct batch *batch);

/* finish.c: after COMMIT, every item goes back to its lane or its position is complete. */
void batch_finish(struct batch *batch);
/* fail.c: the batch did not commit, or is not known to have. Why decides what is next; no try of any event is
 * counted. */
void batch_fail(struct batch *batch);

#endif
