/*
 * ledger.h - the engine's own rows: what was handled, what is delayed, what must still be published.
 *
 * Each function is one set-based statement inside the caller's transaction (see store.h); where it says "on its own",
 * it may also be called without one. "Executed" is a round trip; "queued" travels with the next one. Tables live in the
 * schema "sluice"; sql/engine/ creates them, each column commented. A name (handler, group, chain, schedule) is a
 * smallint there: ledger_names() gives the number.
 *
 *   inbox     one narrow row a handled event and handler: written once, by the claim, with the usual outcome
 *   outbox    one row a batch with the bytes of all its outputs, until they are published (a transactional bus: none)
 *   parked    events that are delayed, with their record
 *   held      events of held keys, in order, with their record; held_key has a row a key
 *   attempt   failed tries so far, so that a restart does not count from 0 again
 *   chain     one row a correlation: steps done, steps undone, aborted or not
 *   schedule  the last tick of each schedule
 *   reply     answers to requests with an Idempotency-Key
 *   dead_letter, pause: what no try can help, until an operator has decided; what operators have paused
 */
#ifndef SLUICE_STORE_LEDGER_H
#define SLUICE_STORE_LEDGER_H

#include "flow/chain.h"
#include "flow/pause.h"
#include "store/store.h"

/* Numbers of names, made when missing. kind: 'h' handler, 'c' chain, 'g' group, 's' schedule. In the caller's
 * transaction or, without one, on its own. */
enum store_result ledger_names(struct connection *connection, char kind, size_t count, const struct span *names,
                               int16_t *ret_numbers, struct error *error);

/* ------------------------------------------------------------------------------------------------------------ inbox */

enum { OUTCOME_DEAD = -1 /* a dead letter; else an index into the handler's outcomes */ };

struct claim {
    int16_t handler;
    int16_t outcome; /* in: what to record unless changed, 0. out, on a hit: what is recorded */
    bool hit;        /* out: a duplicate, its row was there before */
    bool conflict;   /* out: a hit with another payload */
    struct event_id id;
    int64_t hash; /* of the payload */
};

/* Executed, as the first statement of a transaction: claims[0..count) sorted by (handler, id), no two equal. One round
 * trip; two when there are duplicates, four for the first of them. A plain insert is tried first; the first duplicate
 * key aborts it and the claim restarts with "on conflict", so nothing should be queued before it. Fills the out
 * members. `member` (0: none) is this process's row in sluice.bus_member: without that row the result is STORE_FENCED
 * and nothing may be done; the row stays locked "for key share" until the transaction ends: deleting it waits. */
enum store_result ledger_claim(struct connection *connection, int64_t member, struct claim *claims, size_t count,
                               struct error *error);
/* Sets up the session and prepares the statements of the claim and of the outbox, in a transaction that is rolled back.
 * An error is ignored: the first claim meets it again. */
void ledger_warm(struct connection *connection, int64_t deadline_ms);
/* On its own: transactions that have claimed something and are not over, of connections whose name begins with
 * `sessions`; of these `among`, or (NULL) all. Rows: a text that no later transaction has. Sees those of any role. */
enum store_result ledger_claiming(struct connection *connection, const char *sessions, const struct span *among,
                                  size_t count, struct rows **ret, struct error *error);
/* Executed: claims again what ledger_claim() found recorded as OUTCOME_DEAD, sorted likewise. Waits for transactions
 * that do the same; STORE_TRANSIENT when one of the rows is not dead any more: somebody else handled it again. */
enum store_result ledger_claim_dead(struct connection *connection, const struct claim *claims, size_t count,
                                    struct error *error);
/* Queued: changes the outcome of claims of this transaction (only those that are not 0). */
enum store_result ledger_outcomes(struct connection *connection, const struct claim *claims, size_t count,
                                  struct error *error);
/* Queued: deletes claims of this transaction (the handler asks for a retry; nothing was done for them). */
enum store_result ledger_unclaim(struct connection *connection, const struct claim *claims, size_t count,
                                 struct error *error);
/* On its own: reads about `limit` rows of the inbox, from where the last call ended and round again, and deletes those
 * older than keep_ms; *ret is how many. A limit of about three times the rows that came in since the last call keeps up
 * with them. */
enum store_result ledger_prune(struct connection *connection, int64_t keep_ms, size_t limit, size_t *ret,
                               struct error *error);

/* --------------------------------------------------------------------------------------------------------- attempts */

struct attempt {
    int16_t handler;
    int32_t attempts; /* in total, this one included */
    struct event_id id;
    struct span reason;
};
enum store_result ledger_attempts_save(struct connection *connection, const struct attempt *attempts, size_t count,
                                       struct error *error); /* queued; upsert */
enum store_result ledger_attempts_clear(struct connection *connection, const struct attempt *attempts, size_t count,
                                        struct error *error); /* queued */
/* All rows, of all handlers: there are few. Rows: handler int2, id uuid, attempts int4. */
enum store_result ledger_attempts_load(struct connection *connection, struct rows **ret, struct error *error);
/* On its own: deletes those older than keep_ms. A try that was counted by a COMMIT whose reply was lost, or by an
 * earlier owner after its successor had looked, is one that the end of its event does not know to delete. */
enum store_result ledger_attempts_prune(struct connection *connection, int64_t keep_ms, struct error *error);

/* ----------------------------------------------------------------------------------------------------------- outbox */

/* Queued (a round trip only once in 64 calls, for ids): one row with a record batch (event/record_batch.h); gives its
 * id. ledger_outbox_done() deletes it once all is acknowledged. owner: the process whose lane publishes it, 0: the
 * sweeper of any process. */
enum store_result ledger_outbox_add(struct connection *connection, int64_t owner, struct span record_batch,
                                    int64_t *ret_id, struct error *error);
enum store_result ledger_outbox_done(struct connection *connection, const int64_t *ids, size_t count,
                                     struct error *error); /* queued */
/* Executed, the sweeper's read: rows older than age_ms whose owner is not but_owner, refused ones only 30 s after the
 * last try; locked with "skip locked", at most `limit`, in the order of ids. Rows: id int8, batch bytea. */
enum store_result ledger_outbox_take(struct connection *connection, int64_t but_owner, int64_t age_ms, int32_t limit,
                                     struct rows **ret, struct error *error);
/* Executed: rows of other owners that were written together with these claims, which are hits: what their transaction
 * emitted is not all published yet. Rows: id int8. */
enum store_result ledger_outbox_of_claims(struct connection *connection, int64_t but_owner, const struct claim *claims,
                                          size_t count, struct rows **ret, struct error *error);
/* Executed: the rows of this owner, locked, in the order of ids. Rows as above. */
enum store_result ledger_outbox_owned(struct connection *connection, int64_t owner, int32_t limit, struct rows **ret,
                                      struct error *error);
/* Executed: those of these rows that exist, locked, in the order of ids: id int8, batch bytea. Waits for a sweeper that
 * has them. A row that does not exist was not committed, or is published. */
enum store_result ledger_outbox_lock(struct connection *connection, const int64_t *ids, size_t count, struct rows **ret,
                                     struct error *error);
/* Queued: these rows have no owner from now on, so that any sweeper publishes them. Waits for transactions that are not
 * over, and leaves a row without records in the place of one that never came to be. */
enum store_result ledger_outbox_release(struct connection *connection, const int64_t *ids, size_t count,
                                        struct error *error);
/* Queued: the bus refuses for good what is left of a row (a record batch); it stays until an operator removes the
 * cause. */
enum store_result ledger_outbox_refuse(struct connection *connection, int64_t id, struct span record_batch,
                                       struct span reason, struct error *error);

/* ----------------------------------------------------------------------------------------------------------- parked */

enum parked_state {
    PARKED_WAITING = 0,
    PARKED_STUCK = 1,   /* an undo that failed: an operator decides */
    PARKED_UNKNOWN = 2, /* of a topic that the file does not have: waits again once a file that does is started */
    PARKED_PAUSED = 3   /* was due: waits again once what is paused is resumed */
};

struct parked {
    int16_t group;      /* the consumer group that will handle it */
    int16_t state;      /* enum parked_state */
    struct event_id id; /* with group: unique; parking twice is once */
    int64_t due_ms;     /* since 1970 UTC, on this process's clock */
    int32_t tries;      /* failed ones so far */
    struct span record; /* a record batch of one */
    struct span reason;
    struct span paused; /* PARKED_PAUSED: its topic */
    int16_t chain;      /* it is a timer of this chain; 0: an event. Stays what it was of one that is parked again */
};
enum store_result ledger_park(struct connection *connection, const struct parked *parked, size_t count,
                              struct error *error); /* queued */
/* In a transaction of its own, one round trip: takes what is due, at most `limit`. Each row's due time moves hold_ms
 * ahead, so that it is due again if this process dies. Rows: group int2, id uuid, record bytea, tries int4,
 * who cancelled it text (empty: nobody), chain whose timer it is int2 (0: an event). *ret_next_ms: when the next one is
 * due (INT64_MAX: none). */
enum store_result ledger_parked_take(struct connection *connection, int64_t owner, const int16_t *groups,
                                     size_t group_count, int64_t hold_ms, int32_t limit, struct rows **ret,
                                     int64_t *ret_next_ms, struct error *error);
/* On its own: takes PARKED_UNKNOWN ones of these topics, as ledger_parked_take() does. */
enum store_result ledger_parked_adopt(struct connection *connection, int64_t owner, int16_t group,
                                      const struct span *topics, size_t topic_count, int64_t hold_ms, int32_t limit,
                                      struct rows **ret, struct error *error);
/* On its own: when the next one is due (INT64_MAX: none). */
enum store_result ledger_parked_next(struct connection *connection, const int16_t *groups, size_t group_count,
                                     int64_t *ret_next_ms, struct error *error);
/* Queued: what other processes than but_owner have taken is due at once, because they may have died. If they have not,
 * the second claim of an event is a duplicate. */
enum store_result ledger_parked_release(struct connection *connection, int16_t group, int64_t but_owner,
                                        struct error *error);
enum store_result ledger_unpark(struct connection *connection, int16_t group, const struct event_id *ids, size_t count,
                                struct error *error); /* queued: they were handled in this transaction */

struct parked_id {
    int16_t group;
    struct event_id id;    /* of the row */
    struct event_id event; /* under which it is claimed */
};
/* Executed: rows of these groups whose record holds the text, locked: those that are PARKED_STUCK, or those that wait,
 * too. Rows: group int2, id uuid, record bytea. */
enum store_result ledger_parked_search(struct connection *connection, const struct span *groups, size_t group_count,
                                       struct span text, bool stuck, struct rows **ret, struct error *error);
/* Executed: these rows are due now; what was PARKED_STUCK begins to count its tries again. *ret: how many there are. */
enum store_result ledger_parked_due(struct connection *connection, const struct parked_id *ids, size_t count,
                                    size_t *ret, struct error *error);
/* Executed: likewise, and they become dead letters, unless they are handled at this moment. */
enum store_result ledger_parked_cancel(struct connection *connection, const struct parked_id *ids, size_t count,
                                       struct span why, size_t *ret, struct error *error);

/* ------------------------------------------------------------------------------------------------------------- held */

struct held_key {       /* a key that is held, or whose rows become more */
    struct span stream; /* bus_stream_name() */
    int64_t key_hash;
    int64_t events;  /* rows of it that are written with it */
    int64_t wait_ms; /* so long its first event waits from now on; 0: that is not changed */
    struct span reason;
    struct span paused; /* it waits until this topic is resumed, instead; at NULL: it does not */
};
struct held_event { /* an event of such a key */
    int64_t key_hash;
    int16_t handler;
    int32_t partition;
    int64_t offset;
    struct event_id id; /* as it will be claimed */
    struct span stream, record;
};
/* Executed: keys[0..key_count), no two equal and sorted by (stream, key_hash), and rows behind those that they have, in
 * this order. `member` as in ledger_claim(). */
enum store_result ledger_hold(struct connection *connection, int64_t member, int16_t group, const struct held_key *keys,
                              size_t key_count, const struct held_event *rows, size_t count, struct error *error);
/* Queued: these rows, of these keys, ended in this transaction. What is behind them is due at once. */
enum store_result ledger_held_ended(struct connection *connection, int16_t group, const int64_t *key_hashes,
                                    const int64_t *ids, size_t count, struct error *error);
/* On its own: of the `most` rows behind the place of `from`, the keys held in these streams, without those that wait
 * for the end of a pause of `paused`. Rows, at least one: key_hash int8 (null: none), milliseconds until it is due int8
 * (null: at once), the topic that it waits for text or null; the page's end, stream text and key_hash int8, or null;
 * the rule by which its first event waits for another one text, or null. */
enum store_result ledger_held_keys(struct connection *connection, int16_t group, const struct span *streams,
                                   size_t stream_count, const struct span *paused, size_t paused_count,
                                   const struct held_key *from, int32_t most, struct rows **ret, struct error *error);
/* On its own: of those, at most about `limit` that are due, the latest first. Rows: key_hash int8. */
enum store_result ledger_held_due(struct connection *connection, int16_t group, const struct span *streams,
                                  size_t stream_count, int32_t limit, struct rows **ret, struct error *error);
/* On its own: makes the rows of keys that have events and none; *ret is how many. */
enum store_result ledger_held_repair(struct connection *connection, const int16_t *groups, size_t count, size_t *ret,
                                     struct error *error);
/* On its own: of each key the first rows in these streams, at most limits[i] and about `bytes`, but one in any case. A
 * key without events is deleted. Rows, in order: key_hash, id int8, partition int4, offset int8, stream text, record
 * bytea, tries int4, milliseconds until the key is due int8 (null: at once), who cancelled it text (or empty), how many
 * milliseconds ago it came int8, whether what it waited for was handled bool. */
enum store_result ledger_held_fetch(struct connection *connection, int16_t group, const struct span *streams,
                                    size_t stream_count, const int64_t *key_hashes, const int32_t *limits, size_t count,
                                    int64_t bytes, struct rows **ret, struct error *error);

/* ----------------------------------------------------------------------------------------------------------- chains */

struct chain_row {
    int16_t chain; /* -1: there is no row */
    struct event_id correlation;
    int32_t definition; /* number of the definition that it began with; 0: of none that is known */
    int32_t missing;    /* of a chain that is followed to its end: bit i, step i was not done yet */
    struct chain_facts facts;
};

/* Executed: chain_note() of steps, one row a correlation (made when absent), and locks it. Several inputs of one
 * correlation are allowed, in their order. *ret has room for all inputs; it gets those whose correlation is not
 * CHAIN_RUNNING, has another definition, or too many doings, and of `timed` inputs; row.facts is what is known after
 * all inputs. */
struct chain_done {
    int16_t chain;
    int16_t step;
    int32_t definition;
    int32_t missing; /* the other steps, when the chain is followed to its end; else 0 */
    bool timed;      /* its row is given back in any case: the chain has timers */
    bool followed;
    int64_t timeout_ms; /* 0: none */
    struct event_id correlation;
    struct span correlation_text;
    struct span data; /* of the done event, kept for the undo; at NULL: a step without an undo, which is no doing */
};
struct chain_noted {
    size_t input;
    bool noted;    /* false: it began with another definition, and nothing was noted: ledger_chain_note() does */
    bool too_many; /* row.facts has not all doings: the transaction must not be committed */
    struct chain_row row;
};
enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct chain_noted *ret, size_t *ret_count, struct error *error);
/* Executed: marks one correlation aborted (made when absent: the abort is remembered), locks it, and gives the row as
 * it was before, so CHAIN_RUNNING when this abort is the first. ledger_chain_data() gives the data of its doings. */
enum store_result ledger_chain_abort(struct connection *connection, int16_t chain, int32_t definition,
                                     struct event_id correlation, struct span correlation_text, struct span reason,
                                     struct chain_row *ret, struct error *error);
/* Executed: the data kept for a doing, and the abort's reason; spans live as long as the rows of this transaction. */
enum store_result ledger_chain_data(struct connection *connection, int16_t chain, struct event_id correlation,
                                    int32_t doing, struct span *ret_data, struct span *ret_reason, struct error *error);
/* Executed: locks and reads a row; ret->chain is -1 when there is none. */
enum store_result ledger_chain_lock(struct connection *connection, int16_t chain, struct event_id correlation,
                                    struct chain_row *ret, struct error *error);
/* Queued: a step of a chain that began with another definition, in a row locked before: row->missing is without it, and
 * it is the last doing of row->facts when it has data. begins: it is the first of a generation, which has row's
 * definition. */
enum store_result ledger_chain_note(struct connection *connection, const struct chain_row *row,
                                    const struct chain_done *done, bool begins, struct error *error);
/* Queued: writes state, undoing and undone of a row locked before. */
enum store_result ledger_chain_update(struct connection *connection, const struct chain_row *row, struct error *error);

/* Queued: a running engine aborts a chain whose row is locked. */
enum store_result ledger_chain_ask(struct connection *connection, const struct chain_row *row, struct span why,
                                   struct error *error);
/* Queued: one whose row is locked is over, with a reason. */
enum store_result ledger_chain_close(struct connection *connection, const struct chain_row *row, struct span why,
                                     struct error *error);

/* On its own: deletes at most `limit` instances that have been over for longer than retain_ms; *ret is how many. */
enum store_result ledger_chains_prune(struct connection *connection, int16_t chain, int64_t retain_ms, int32_t limit,
                                      size_t *ret, struct error *error);

/* The number of a chain's definition, made when it is new. In the caller's transaction or, without one, on its own. */
enum store_result ledger_chain_define(struct connection *connection, int16_t chain, struct span definition,
                                      int32_t *ret_number, struct error *error);
enum store_result ledger_chain_definitions(struct connection *connection, struct span chain, struct rows **ret,
                                           struct error *error); /* on its own, all of them; rows: definition text */
/* Executed: the definition of that number; ret->at is NULL when there is none. */
enum store_result ledger_chain_definition(struct connection *connection, int32_t number, struct span *ret,
                                          struct error *error);

/* What operators see. On their own; rows of both: name text, correlation text, state int2, generation int4, began and
 * changed int8 (ms since 1970), due timestamptz (null: never aborted by time), reason text, steps bytea, undoing int8,
 * undone int8, missing int4, definition int4, names of the definition's steps text (a line each; null: of none that is
 * known), where the next page goes on: began int4, chain int2, correlation uuid; topics of the definition's undos text
 * (a line each) and the field it correlates by text (null: as before), why an operator wants it aborted text. */
/* Whose undos are followed: chains, and of each the numbers of the steps whose undo a handler of the file has, a byte
 * each. One that is undone counts as aborted here until those undos are handled, as it does for people. */
struct chain_query {
    const struct span *chains, *followed; /* names; steps */
    size_t chain_count;
    const int16_t *states; /* enum chain_state */
    size_t state_count;
    bool open;       /* only those that are known not to be over */
    int32_t older_s; /* begun so long ago */
    int32_t limit;
    int32_t after_began; /* INT32_MIN: from the first */
    int16_t after_chain;
    struct event_id after_correlation;
};
enum store_result ledger_chain_list(struct connection *connection, const struct chain_query *query, int64_t timeout_ms,
                                    struct rows **ret, struct error *error);
/* On its own: how many of these chains are known not to be over, for each definition that they began with. Rows: name
 * text, the definition's hash and the definition text (null: of none that is known), count int8. */
enum store_result ledger_chain_counts(struct connection *connection, const struct span *chains,
                                      const struct span *followed, size_t chain_count, int64_t timeout_ms,
                                      struct rows **ret, struct error *error);
enum store_result ledger_chain_find(struct connection *connection, const struct span *chains,
                                    const struct span *followed, size_t chain_count, struct event_id correlation,
                                    int64_t timeout_ms, struct rows **ret, struct error *error);
/* Chains, by their numbers, that are aborted in that sense, and for how long the oldest of those has been going on that
 * are undone but for undos that wait. On its own. */
enum store_result ledger_chains_undoing(struct connection *connection, const int16_t *chains,
                                        const struct span *followed, size_t count, int64_t *ret_count,
                                        int64_t *ret_oldest_ms, struct error *error);

/* ---------------------------------------------------------------------------------------------------------- replies */

struct kept_reply { /* the answer to a request that came with an Idempotency-Key */
    int16_t handler;
    int16_t status; /* out of ledger_reply_get: 0 when there is none */
    struct event_id id;
    struct span body; /* out of ledger_reply_get: until the transaction ends */
};
enum store_result ledger_replies_save(struct connection *connection, const struct kept_reply *replies, size_t count,
                                      struct error *error); /* queued */
/* Executed. */
enum store_result ledger_reply_get(struct connection *connection, struct kept_reply *reply, struct error *error);
/* On its own: deletes those older than keep_ms. */
enum store_result ledger_replies_prune(struct connection *connection, int64_t keep_ms, struct error *error);

/* ----------------------------------------------------------------------------------------------------- dead letters */

enum dead_letter_state { DEAD_LETTER_OPEN = 0, DEAD_LETTER_REPLAYED = 1, DEAD_LETTER_DROPPED = 2 };

struct dead_letter_row {
    int16_t group;
    int32_t noted; /* 0 or 1: chains have noted the event */
    int32_t attempts, round;
    int32_t partition; /* -1: not known */
    int64_t offset;    /* likewise */
    int64_t before;    /* the dead letter whose replay it was; 0: none */
    struct event_id id;
    struct span topic, handler, reason, event, correlation, message, record;
};
enum store_result ledger_dead_letters_add(struct connection *connection, const struct dead_letter_row *rows,
                                          size_t count, struct error *error); /* queued */
/* Queued: the dead letters of these events of the group were sent to their topics again, under their own ids, and are
 * handled in this transaction. */
enum store_result ledger_dead_letters_again(struct connection *connection, int16_t group, const struct claim *claims,
                                            size_t count, struct error *error);

/* Which dead letters of a pipeline, its taps included. An empty span is any; a topic may end in '*'. */
struct dead_letter_filter {
    struct span group; /* the pipeline's own */
    struct span topic, handler, reason, correlation;
    int64_t since_ms;                       /* since 1970 UTC; 0: any */
    const int64_t *ids;                     /* then nothing else is looked at but state and group */
    size_t id_count;                        /* 0: any */
    enum dead_letter_state state, state_to; /* from one to the other */
};
/* On its own, the newest first: those with an id below `below` (0: any), at most `limit`. `whole`: with their records.
 * Rows: id int8, group text, state int2, noted bool, attempts int4, round int4, partition int4 or null, offset int8 or
 * null, before int8 or null, at timestamp, topic, handler, reason, event, correlation, message text, ended_at timestamp
 * or null, ended_by, replayed_as text or null, edited bool, record, edited record bytea (null unless whole). */
enum store_result ledger_dead_letters(struct connection *connection, const struct dead_letter_filter *filter,
                                      int64_t below, int64_t limit, bool whole, struct rows **ret, struct error *error);
/* On its own. Rows: one; how many int8, how many of them were replayed `rounds` times or more int8, highest id int8. */
enum store_result ledger_dead_letters_count(struct connection *connection, const struct dead_letter_filter *filter,
                                            int32_t rounds, struct rows **ret, struct error *error);
/* Executed: until the transaction ends, nobody else moves dead letters of this group. */
enum store_result ledger_dead_letters_alone(struct connection *connection, struct span group, struct error *error);
/* Executed: the next open ones, with an id above `above` and up to `last`, in order. Rows: id int8, group text, round
 * int4, noted bool, topic text, event text, what is replayed bytea. About 8 MiB of them at most, but one in any
 * case. */
enum store_result ledger_dead_letters_next(struct connection *connection, const struct dead_letter_filter *filter,
                                           int64_t above, int64_t last, int64_t limit, struct rows **ret,
                                           struct error *error);
/* Executed: these are replayed as the events of these ids, or (NULL) dropped. STORE_TRANSIENT: one of them is not open
 * any more, because its event was handled again after all. */
enum store_result ledger_dead_letters_end(struct connection *connection, const int64_t *ids,
                                          const struct span *replayed_as, size_t count, struct span actor,
                                          struct error *error);
/* Queued: what is replayed of an open one from now on, and its key to the rest. */
enum store_result ledger_dead_letter_edit(struct connection *connection, int64_t id, struct span record,
                                          struct span correlation, bool noted, struct error *error);
/* On its own. Rows: topic text, how many are open int8, of these groups. */
enum store_result ledger_dead_letters_open(struct connection *connection, const int16_t *groups, size_t count,
                                           struct rows **ret, struct error *error);
/* On its own: deletes those that were replayed or dropped longer ago than keep_ms, at most `limit`. */
enum store_result ledger_dead_letters_prune(struct connection *connection, int64_t keep_ms, int64_t limit,
                                            struct error *error);
/* ----------------------------------------------------------------------------------------------------------- pauses */

/* Queued: made, or given another end, actor and reason. for_ms 0: until it is resumed. */
enum store_result ledger_pause(struct connection *connection, struct span pipeline, struct span kind, struct span name,
                               int64_t for_ms, struct span actor, struct span reason, struct error *error);
/* Executed: *ret_found is false when there was none, not even one that is over. */
enum store_result ledger_resume(struct connection *connection, struct span pipeline, struct span kind, struct span name,
                                bool *ret_found, struct error *error);
/* On its own: those of a pipeline that are in effect, the oldest first, in `arena`. */
enum store_result ledger_pauses(struct connection *connection, struct span pipeline, struct arena *arena,
                                struct pause **ret, size_t *ret_count, struct error *error);
/* Queued: those of a pipeline are another's, or those of a name another name's, unless that has its own. */
enum store_result ledger_pauses_rename(struct connection *connection, struct span old, struct span new_name,
                                       struct error *error);
enum store_result ledger_pause_rename(struct connection *connection, struct span pipeline, struct span old,
                                      struct span new_name, struct error *error);
/* On its own: PARKED_PAUSED ones of a group are due, but for those of topics that are still paused. */
enum store_result ledger_parked_resume(struct connection *connection, int16_t group, const struct span *paused,
                                       size_t count, struct error *error);

/* ------------------------------------------------------------------------------------------------------------ audit */

struct audit { /* an act of an operator (sluice.audit) */
    struct span pipeline, actor, act, object;
    struct span reason; /* empty: none was given */
};
enum store_result ledger_audit(struct connection *connection, const struct audit *audit,
                               struct error *error); /* queued */

/* ----------------------------------------------------------------------------------------------------------- health */

struct ledger_health {
    int64_t outbox_age_ms;                      /* of the oldest row; 0: none */
    int64_t parked, chains_stuck, chain_age_ms; /* the last: of the oldest chain that is not over */
    int64_t outbox_refused;                     /* rows that the bus refuses */
    int64_t parked_unknown;                     /* PARKED_UNKNOWN */
    int64_t parked_paused;                      /* PARKED_PAUSED */
    int64_t held_keys, held_events, held_age_ms;
};
/* On its own. */
enum store_result ledger_health(struct connection *connection, struct ledger_health *ret, struct error *error);

#endif
