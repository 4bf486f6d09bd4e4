/*
 * parked.c - events that are delayed until they are due, or until an operator decides.
 *
 * A row's time is the server's: how long is left is what crosses between it and a process, whose clock may differ or
 * be set while the event waits. Never early: a delay begins when the statement runs, not when its transaction did.
 *
 * A timer of a chain is a row like any other until it is due. It has no claim in the inbox: deleting its row is what
 * one transaction can do once.
 */
#include "store/ledger/inner.h"
#include "store/ledger_timer.h"

#include "base/clock.h"

/* Twice in one call is once: the last one given counts. Again later is once, too, with the new time and reason. */
static const struct statement statement_park = {
    "insert into sluice.parked (consumer_group, state, event_id, due, tries, record, reason, paused, chain) "
    "select distinct on (u.consumer_group, u.event_id)"
    "       u.consumer_group, u.state, u.event_id, clock_timestamp() + (u.due - $9), u.tries, u.record, u.reason,"
    "       u.paused, nullif(u.chain, 0) "
    "from unnest($1, $2, $3, $4, $5, $6, $7, $8, $10) with ordinality"
    "     as u(consumer_group, state, event_id, due, tries, record, reason, paused, chain, place) "
    "order by u.consumer_group, u.event_id, u.place desc "
    "on conflict on constraint parked_pkey do update"
    " set state = case when parked.cancelled is null then excluded.state else 0 end,"
    " due = case when parked.cancelled is null then excluded.due else now() end,"
    " tries = excluded.tries, record = excluded.record,"
    " reason = excluded.reason, paused = excluded.paused,"
    " taken_by = null",
    false,
};

enum store_result ledger_park(struct connection *connection, const struct parked *parked, size_t count,
                              struct error *error)
{
    if (count == 0)
        return STORE_OK;
    int64_t now_ms = clock_wall_ms();
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &parked[0].group, count, sizeof *parked),
        STORE_COLUMN(PARAM_INT2, &parked[0].state, count, sizeof *parked),
        STORE_COLUMN(PARAM_UUID, &parked[0].id, count, sizeof *parked),
        STORE_COLUMN(PARAM_TIMESTAMP, &parked[0].due_ms, count, sizeof *parked),
        STORE_COLUMN(PARAM_INT4, &parked[0].tries, count, sizeof *parked),
        STORE_COLUMN(PARAM_BYTEA, &parked[0].record, count, sizeof *parked),
        STORE_COLUMN(PARAM_TEXT, &parked[0].reason, count, sizeof *parked),
        STORE_COLUMN(PARAM_TEXT, &parked[0].paused, count, sizeof *parked),
        STORE_VALUE(PARAM_TIMESTAMP, &now_ms),
        STORE_COLUMN(PARAM_INT2, &parked[0].chain, count, sizeof *parked),
    };
    return connection_queue(connection, &statement_park, 10, params, error);
}

/* One index scan a group, so that rows of a group that no process runs any more do not slow the others down. */
static const struct statement statement_parked_take = {
    "with due as (select d.consumer_group, d.event_id from unnest($1) as g(consumer_group)"
    "  cross join lateral (select p.consumer_group, p.event_id from sluice.parked p"
    "    where p.consumer_group = g.consumer_group and p.state = 0 and p.due <= now()"
    "    order by p.due limit $3 for update skip locked) d limit $3) "
    "update sluice.parked p set due = now() + $2 * interval '1 millisecond', taken_by = $4 from due d "
    "where p.consumer_group = d.consumer_group and p.event_id = d.event_id "
    "returning p.consumer_group, p.event_id, p.record, p.tries, coalesce(p.cancelled, ''), coalesce(p.chain, 0)",
    false,
};
static const struct statement statement_parked_next = {
    "select " LEDGER_LEFT_MS(
        "min(n.due)") " from unnest($1) as g(consumer_group)"
                      "  cross join lateral (select p.due from sluice.parked p"
                      "    where p.consumer_group = g.consumer_group and p.state = 0 order by p.due limit 1) n",
    false,
};

/* On this process's clock. */
static int64_t next_due(const struct rows *rows)
{
    return rows_null(rows, 0, 0) ? INT64_MAX : clock_wall_ms() + rows_int64(rows, 0, 0);
}

static const struct statement statement_parked_adopt = {
    "with of_ours as (select p.event_id from sluice.parked p"
    "  where p.consumer_group = $1 and p.state = 2 and sluice.record_topic(p.record) = any ($2)"
    "  order by p.parked_at limit $4 for update skip locked) "
    "update sluice.parked p set state = 0, due = now() + $3 * interval '1 millisecond', taken_by = $5 from of_ours o "
    "where p.consumer_group = $1 and p.event_id = o.event_id "
    "returning p.consumer_group, p.event_id, p.record, p.tries, coalesce(p.cancelled, ''), coalesce(p.chain, 0)",
    false,
};

enum store_result ledger_parked_adopt(struct connection *connection, int64_t owner, int16_t group,
                                      const struct span *topics, size_t topic_count, int64_t hold_ms, int32_t limit,
                                      struct rows **ret, struct error *error)
{
    double hold = (double)hold_ms;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_ARRAY(PARAM_TEXT, topics, topic_count),
                                         STORE_VALUE(PARAM_DOUBLE, &hold), STORE_VALUE(PARAM_INT4, &limit),
                                         STORE_VALUE(PARAM_INT8, &owner)};
    return connection_run(connection, &statement_parked_adopt, 5, params, ret, error);
}

enum store_result ledger_parked_take(struct connection *connection, int64_t owner, const int16_t *groups,
                                     size_t group_count, int64_t hold_ms, int32_t limit, struct rows **ret,
                                     int64_t *ret_next_ms, struct error *error)
{
    double hold = (double)hold_ms;
    const struct store_param take[] = {STORE_ARRAY(PARAM_INT2, groups, group_count), STORE_VALUE(PARAM_DOUBLE, &hold),
                                       STORE_VALUE(PARAM_INT4, &limit), STORE_VALUE(PARAM_INT8, &owner)};
    const struct store_param next[] = {STORE_ARRAY(PARAM_INT2, groups, group_count)};
    struct rows *rows[2] = {NULL, NULL};
    enum store_result result = connection_begin(connection,
                                                clock_monotonic_ms() + connection->store->statement_timeout_ms, error);
    if (result == STORE_OK)
        result = connection_queue(connection, &statement_parked_take, 4, take, error);
    if (result == STORE_OK)
        result = connection_queue(connection, &statement_parked_next, 1, next, error);
    if (result == STORE_OK)
        result = connection_commit_rows(connection, rows, 2, error);
    if (result != STORE_OK) {
        connection_rollback(connection);
        return result;
    }
    *ret = rows[0];
    *ret_next_ms = next_due(rows[1]);
    return STORE_OK;
}

enum store_result ledger_parked_next(struct connection *connection, const int16_t *groups, size_t group_count,
                                     int64_t *ret_next_ms, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, groups, group_count)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_parked_next, 1, params, &rows, error);
    if (result == STORE_OK)
        *ret_next_ms = next_due(rows);
    return result;
}

static const struct statement statement_parked_release = {
    "update sluice.parked set due = now(), taken_by = null where consumer_group = $1 and state = 0 and taken_by <> $2",
    false,
};

enum store_result ledger_parked_release(struct connection *connection, int16_t group, int64_t but_owner,
                                        struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_VALUE(PARAM_INT8, &but_owner)};
    return connection_queue(connection, &statement_parked_release, 2, params, error);
}

static const struct statement statement_unpark = {
    "delete from sluice.parked where consumer_group = $1 and event_id = any ($2)",
    false,
};

enum store_result ledger_unpark(struct connection *connection, int16_t group, const struct event_id *ids, size_t count,
                                struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_ARRAY(PARAM_UUID, ids, count)};
    return connection_queue(connection, &statement_unpark, 2, params, error);
}

/* ---------------------------------------------------------------------------------------------------------- timers */

/* Locked in one order, whoever ends several of them. */
#define TIMERS_DELETED                                                                                                 \
    "delete from sluice.parked p using t where p.consumer_group = t.consumer_group and p.event_id = t.event_id"

static const struct statement statement_timers_cancel = {
    "with t as (select p.consumer_group, p.event_id from sluice.parked p where p.consumer_group = $1"
    "  and p.event_id = any ($2) order by p.event_id for update) " TIMERS_DELETED,
    false};
/* Whatever version of the row: it may have been taken again since, because its lane took its time. */
static const struct statement statement_timers_end = {
    "with t as (select p.consumer_group, p.event_id, u.place"
    "  from unnest($2, $3) with ordinality u(event_id, record, place) join sluice.parked p"
    "  on p.consumer_group = $1 and p.event_id = u.event_id and p.record = u.record"
    "  order by p.event_id for update of p) " TIMERS_DELETED " returning t.place",
    false};

enum store_result ledger_timers_cancel(struct connection *connection, int16_t group, const struct event_id *ids,
                                       size_t count, struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_ARRAY(PARAM_UUID, ids, count)};
    return connection_queue(connection, &statement_timers_cancel, 2, params, error);
}

enum store_result ledger_timers_end(struct connection *connection, int16_t group, struct timer_taken *timers,
                                    size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_COLUMN(PARAM_UUID, &timers[0].id, count, sizeof *timers),
                                         STORE_COLUMN(PARAM_BYTEA, &timers[0].record, count, sizeof *timers)};
    struct rows *rows = NULL;
    enum store_result result = connection_exec(connection, &statement_timers_end, 3, params, &rows, error);
    for (size_t r = 0; result == STORE_OK && r < rows_count(rows); r++)
        timers[rows_int64(rows, r, 0) - 1].ended = true;
    return result;
}

static const struct statement statement_timers_close = {
    "delete from sluice.parked p using sluice.name n where n.kind = 'g' and n.name = any ($1)"
    " and p.consumer_group = n.number and p.event_id = any ($2)",
    false,
};

enum store_result ledger_timers_close(struct connection *connection, const struct span *groups, size_t group_count,
                                      const struct event_id *ids, size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, groups, group_count),
                                         STORE_ARRAY(PARAM_UUID, ids, count)};
    return connection_queue(connection, &statement_timers_close, 2, params, error);
}
