/*
 * ledger_delayed.h - what waits in sluice.parked and sluice.held, as operators list and move it. As in ledger.h.
 */
#ifndef SLUICE_STORE_LEDGER_DELAYED_H
#define SLUICE_STORE_LEDGER_DELAYED_H

#include "store/ledger.h"

/* Executed: the key of ledger_delayed_list() is due now. */
enum store_result ledger_held_release(struct connection *connection, int16_t group, struct event_id id, size_t *ret,
                                      struct error *error);
/* Executed: this event becomes a dead letter when it is its turn. */
enum store_result ledger_held_cancel(struct connection *connection, int16_t group, int64_t head, struct span why,
                                     size_t *ret, struct error *error);

/* What waits in parked and held, for operators: on their own. Rows of both, the oldest first: group text, state int2
 * (enum parked_state; 3: a held key, by its first event), id uuid, since timestamptz, due timestamptz (null: at once),
 * tries int4, reason text, record bytea, events behind it int8, who cancelled it text, group int2, its first event
 * int8 (of a key), since int8 (microseconds since 1970). */
enum { DELAYED_KEY = 3 };
struct delayed_query {
    const struct span *groups; /* names */
    size_t group_count;
    struct span topic; /* empty: of any */
    int64_t older_ms;
    int32_t state; /* -1: any */
    int32_t limit;
    int64_t after_us; /* INT64_MIN: from the first */
    struct event_id after_id;
};
enum store_result ledger_delayed_list(struct connection *connection, const struct delayed_query *query,
                                      int64_t timeout_ms, struct rows **ret, struct error *error);
enum store_result ledger_delayed_find(struct connection *connection, const struct span *groups, size_t group_count,
                                      const struct event_id *ids, size_t count, int64_t timeout_ms, struct rows **ret,
                                      struct error *error);

#endif
