/*
 * delayed.c - what waits in sluice.parked and sluice.held as operators see and move it: in one list, the oldest first.
 *
 * A held key is one entry, shown by its first event. It has no id of its own: a hash of what it is known by is one.
 */
#include "store/ledger/inner.h"
#include "store/ledger_delayed.h"

#define MICROSECONDS(time) "(extract(epoch from " time ") * 1000000)::int8"
#define KEY_ID "md5(k.consumer_group || '/' || k.key_hash || '/' || k.stream)::uuid"

#define PARKED                                                                                                         \
    "select n.name, p.state, p.event_id as id, p.parked_at as since, p.due, p.tries + (p.state = 1)::int4 as tries,"   \
    "  p.reason, p.record,"                                                                                            \
    "  0::int8 as behind, p.cancelled, p.consumer_group, null::int8 as head, " MICROSECONDS(                           \
        "p.parked_at") " as us"                                                                                        \
                       " from sluice.parked p join sluice.name n on n.number = p.consumer_group and n.kind = 'g' "     \
                       "where n.name = any ($1)"
#define KEYS                                                                                                           \
    "select n.name, 3::int2 as state, " KEY_ID " as id, k.held_at as since, k.due, coalesce(a.attempts, 0) as tries,"  \
    "  k.reason, h.record, k.events - 1 as behind, h.cancelled, k.consumer_group, h.id as head,"                       \
    "  " MICROSECONDS(                                                                                                 \
        "k.held_at") " as us"                                                                                          \
                     " from sluice.held_key k join sluice.name n on n.number = k.consumer_group and n.kind = 'g'"      \
                     " cross join lateral (select h.* from sluice.held h where h.consumer_group = k.consumer_group"    \
                     "   and h.key_hash = k.key_hash and h.stream = k.stream order by h.id limit 1) h"                 \
                     " left join sluice.attempt a on a.handler = h.handler and a.event_id = h.event_id where n.name "  \
                     "= any ($1)"
#define COLUMNS "select name, state, id, since, due, tries, reason, record, behind, cancelled, consumer_group, head, us"

/* A page of either is enough for a page of both. */
static const struct statement statement_list = {
    "with p as (" PARKED " and p.parked_at <= now() - $2 * interval '1 millisecond'"
    "    and ($3 = '' or sluice.record_topic(p.record) = $3)"
    "    and (" MICROSECONDS(
        "p.parked_at") ", p.event_id) > ($4, $5) and ($7 < 0 or p.state = $7)"
                       "  order by p.parked_at, p.event_id limit $6),"
                       " k as (" KEYS " and k.held_at <= now() - $2 * interval '1 millisecond'"
                       "    and ($3 = '' or sluice.record_topic(h.record) = $3)"
                       "    and (" MICROSECONDS(
                           "k.held_at") ", " KEY_ID ") > ($4, $5) and ($7 < 0 or $7 = 3)"
                                        "  order by k.held_at, 3 limit $6) " COLUMNS
                                        " from (select * from p union all select * from k) w order by us, id limit $6",
    false,
};
static const struct statement statement_find = {
    COLUMNS " from (" PARKED " and p.event_id = any ($2) union all " KEYS " and " KEY_ID " = any ($2)) w",
    false,
};

enum store_result ledger_delayed_list(struct connection *connection, const struct delayed_query *query,
                                      int64_t timeout_ms, struct rows **ret, struct error *error)
{
    const double older = (double)query->older_ms;
    const struct store_param params[] = {
        STORE_ARRAY(PARAM_TEXT, query->groups, query->group_count),
        STORE_VALUE(PARAM_DOUBLE, &older),
        STORE_VALUE(PARAM_TEXT, &query->topic),
        STORE_VALUE(PARAM_INT8, &query->after_us),
        STORE_VALUE(PARAM_UUID, &query->after_id),
        STORE_VALUE(PARAM_INT4, &query->limit),
        STORE_VALUE(PARAM_INT4, &query->state),
    };
    return connection_once(connection, &statement_list, 7, params, timeout_ms, ret, error);
}

enum store_result ledger_delayed_find(struct connection *connection, const struct span *groups, size_t group_count,
                                      const struct event_id *ids, size_t count, int64_t timeout_ms, struct rows **ret,
                                      struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, group_count),
                                         STORE_ARRAY(PARAM_UUID, ids, count)};
    return connection_once(connection, &statement_find, 2, params, timeout_ms, ret, error);
}

/* What a process has taken is handled at this moment: it keeps its time. */
#define DUE_NOW "case when p.taken_by is null then now() else p.due end"

static const struct statement statement_parked_search = {
    "select p.consumer_group, p.event_id, p.record from sluice.parked p"
    " join sluice.name n on n.number = p.consumer_group and n.kind = 'g'"
    " where n.name = any ($1) and p.state = 1 and position($2::bytea in p.record) > 0 for update of p",
    false,
};
static const struct statement statement_parked_search_all = {
    "select p.consumer_group, p.event_id, p.record from sluice.parked p"
    " join sluice.name n on n.number = p.consumer_group and n.kind = 'g'"
    " where n.name = any ($1) and p.state in (0, 1) and position($2::bytea in p.record) > 0 for update of p",
    false,
};
static const struct statement statement_parked_due = {
    "update sluice.parked p set state = 0, tries = case when p.state = 1 then 0 else p.tries end, due = " DUE_NOW
    " from unnest($1, $2) as u(consumer_group, event_id)"
    " where p.consumer_group = u.consumer_group and p.event_id = u.event_id",
    false,
};
/* The tries of a stuck undo begin again. */
static const struct statement statement_attempts_forget = {
    "delete from sluice.attempt a using unnest($1, $2, $3) as u(consumer_group, id, event_id)"
    " join sluice.parked p on p.consumer_group = u.consumer_group and p.event_id = u.id and p.state = 1"
    " where a.event_id = u.event_id",
    false,
};
static const struct statement statement_parked_cancel = {
    "update sluice.parked p set state = 0, cancelled = $3, due = " DUE_NOW
    " from unnest($1, $2) as u(consumer_group, event_id)"
    " where p.consumer_group = u.consumer_group and p.event_id = u.event_id",
    false,
};
static const struct statement statement_key_due = {
    "update sluice.held_key k set due = null where k.consumer_group = $1 and " KEY_ID " = $2", false};
static const struct statement statement_key_cancel = {
    "update sluice.held h set cancelled = $3 where h.consumer_group = $1 and h.id = $2", false};

enum store_result ledger_parked_search(struct connection *connection, const struct span *groups, size_t group_count,
                                       struct span text, bool stuck, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, group_count), STORE_VALUE(PARAM_BYTEA, &text)};
    return connection_exec(connection, stuck ? &statement_parked_search : &statement_parked_search_all, 2, params, ret,
                           error);
}

enum store_result ledger_parked_due(struct connection *connection, const struct parked_id *ids, size_t count,
                                    size_t *ret, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &ids[0].group, count, sizeof *ids),
                                         STORE_COLUMN(PARAM_UUID, &ids[0].id, count, sizeof *ids),
                                         STORE_COLUMN(PARAM_UUID, &ids[0].event, count, sizeof *ids)};
    enum store_result result = connection_queue(connection, &statement_attempts_forget, 3, params, error);
    if (result == STORE_OK)
        result = connection_exec(connection, &statement_parked_due, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}

enum store_result ledger_parked_cancel(struct connection *connection, const struct parked_id *ids, size_t count,
                                       struct span why, size_t *ret, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &ids[0].group, count, sizeof *ids),
                                         STORE_COLUMN(PARAM_UUID, &ids[0].id, count, sizeof *ids),
                                         STORE_VALUE(PARAM_TEXT, &why)};
    enum store_result result = connection_exec(connection, &statement_parked_cancel, 3, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}

enum store_result ledger_held_release(struct connection *connection, int16_t group, struct event_id id, size_t *ret,
                                      struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_VALUE(PARAM_UUID, &id)};
    enum store_result result = connection_exec(connection, &statement_key_due, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}

enum store_result ledger_held_cancel(struct connection *connection, int16_t group, int64_t head, struct span why,
                                     size_t *ret, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_VALUE(PARAM_INT8, &head),
                                         STORE_VALUE(PARAM_TEXT, &why)};
    enum store_result result = connection_exec(connection, &statement_key_cancel, 3, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_affected(rows);
    return result;
}
