/*
 * chain_timers.c - see chain_timers.h.
 */
#include "operate/chain_timers.h"

#include "event/event.h"
#include "flow/chain.h"

/* Group by group, so that the primary key finds them. */
static const struct statement statement_timers = {
    "select p.event_id, sluice.record_topic(p.record), coalesce(p.reason, ''), p.due"
    " from sluice.name g cross join lateral (select * from sluice.parked p where p.consumer_group = g.number"
    "   and p.event_id = any ($1) offset 0) p where g.kind = 'g' and p.chain = $2 order by p.due",
    false,
};

enum store_result chain_timers_read(struct connection *connection, int16_t chain, struct event_id correlation,
                                    int64_t timeout_ms, struct arena *arena, struct chain_timer_view **ret,
                                    size_t *ret_count, struct error *error)
{
    struct event_id ids[CHAIN_TIMERS_MAX];
    struct rows *rows = NULL;
    for (int32_t n = 0; n < CHAIN_TIMERS_MAX; n++)
        ids[n] = event_id_timer(chain, n, correlation);
    const struct store_param params[] = {STORE_ARRAY(PARAM_UUID, ids, CHAIN_TIMERS_MAX),
                                         STORE_VALUE(PARAM_INT2, &chain)};
    enum store_result result = connection_once(connection, &statement_timers, 2, params, timeout_ms, &rows, error);
    *ret_count = result == STORE_OK ? rows_count(rows) : 0;
    *ret = arena_array(arena, struct chain_timer_view, *ret_count + 1);
    for (size_t i = 0; i < *ret_count; i++) {
        struct event_id id = rows_uuid(rows, i, 0);
        char text[37];
        event_id_format(&id, text);
        (*ret)[i] = (struct chain_timer_view){.id = arena_string(arena, span_of(text)),
                                              .emit = arena_string(arena, rows_span(rows, i, 1)),
                                              .words = arena_string(arena, rows_span(rows, i, 2)),
                                              .due_ms = rows_int64(rows, i, 3)};
    }
    return result;
}
