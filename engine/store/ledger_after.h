/*
 * ledger_after.h - events that wait for others (`after:`): what was handled that they need, and who waits for it. See
 * ledger.h for who executes when.
 *
 * A row of sluice.needed is written by the transaction that handled the event, and by one whose event waits for it.
 * Of two such transactions the second waits for the first one's end, so it sees what that wrote: who handles marks who
 * waits, and who comes to wait sees that it need not.
 */
#ifndef SLUICE_STORE_LEDGER_AFTER_H
#define SLUICE_STORE_LEDGER_AFTER_H

#include "store/ledger.h"

struct needed {
    struct event_id id; /* a hash of what is needed */
    int32_t handled;    /* asked: whether it was; written: it is in this transaction, else somebody waits for it */
};
/* Executed: fills `handled` of each. */
enum store_result ledger_after_look(struct connection *connection, int16_t group, struct needed *needed, size_t count,
                                    struct error *error);

struct held_need { /* an event in sluice.held, and what it waits for */
    int64_t key_hash;
    struct event_id event, needs;
    struct span rule; /* of the file, in words, by which it does; at NULL: it waits for another one no more */
};
/* Executed, behind ledger_hold(): `needed` is sorted by id, no two equal; the held events wait for some of them. *ret
 * is how many that waited do not any more. */
enum store_result ledger_after_note(struct connection *connection, int16_t group, const struct needed *needed,
                                    size_t count, const struct held_need *held, size_t held_count, size_t *ret,
                                    struct error *error);
/* On its own: keys in these streams whose head need not wait any more, at most `limit`. Rows, at least one: key_hash
 * int8 (null: none), and whether others still wait bool. */
enum store_result ledger_after_ready(struct connection *connection, int16_t group, const struct span *streams,
                                     size_t stream_count, int32_t limit, struct rows **ret, struct error *error);
/* On its own: those in these streams that wait by none of the rules are looked at again. */
enum store_result ledger_after_changed(struct connection *connection, int16_t group, const struct span *streams,
                                       size_t stream_count, const struct span *rules, size_t rule_count,
                                       struct error *error);
/* On its own: what was written longer ago is forgotten, at most `limit` rows. */
enum store_result ledger_after_prune(struct connection *connection, int64_t keep_ms, int32_t limit,
                                     struct error *error);

#endif
