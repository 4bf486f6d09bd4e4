/*
 * ledger_wait.c - what waits: outputs to be published, parked events, ticks; and the broom.
 */
#include <errno.h>

#include "base/clock.h"
#include "store/ledger_inner.h"

/* ----------------------------------------------------------------------------------------------------------- outbox */

static const struct statement statement_outbox_id = {"SELECT nextval('sluice.outbox_id')", false};
static const struct statement statement_outbox_add = {
    "INSERT INTO sluice.outbox (id, owner, batch) VALUES ($1, $2, $3)", false};

enum store_result ledger_outbox_add(struct connection *connection, int64_t owner, struct span record_batch,
                                    int64_t *ret_id, struct error *error)
{
    if (connection->outbox_id == connection->outbox_id_end) {
        struct rows *rows;
        enum store_result result = connection_exec(connection, &statement_outbox_id, 0, NULL, &rows, error);
        if (result != STORE_OK)
            return result;
        connection->outbox_id = rows_int64(rows, 0, 0);
        connection->outbox_id_end = connection->outbox_id + OUTBOX_ID_BLOCK;
    }
    int64_t id = connection->outbox_id++; /* never used again, also when the transaction fails */
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &id), STORE_VALUE(PARAM_INT8, &owner),
                                         STORE_VALUE(PARAM_BYTEA, &record_batch)};
    enum store_result result = connection_queue(connection, &statement_outbox_add, 3, params, error);
    if (result == STORE_OK)
        *ret_id = id;
    return result;
}

static const struct statement statement_outbox_done = {"DELETE FROM sluice.outbox WHERE id = ANY ($1)", false};

enum store_result ledger_outbox_done(struct connection *connection, const int64_t *ids, size_t count,
                                     struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT8, ids, count)};
    return connection_queue(connection, &statement_outbox_done, 1, params, error);
}

static const struct statement statement_outbox_take = {
    "SELECT id, batch FROM sluice.outbox "
    "WHERE owner <> $1 AND created_at <= now() - $2 * interval '1 millisecond'"
    "  AND (refused IS NULL OR tried_at <= now() - interval '30 seconds') "
    "ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED",
    false,
};

enum store_result ledger_outbox_take(struct connection *connection, int64_t but_owner, int64_t age_ms, int32_t limit,
                                     struct rows **ret, struct error *error)
{
    double age = (double)age_ms;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &but_owner), STORE_VALUE(PARAM_DOUBLE, &age),
                                         STORE_VALUE(PARAM_INT4, &limit)};
    return connection_exec(connection, &statement_outbox_take, 3, params, ret, error);
}

static const struct statement statement_outbox_find = {
    "SELECT id, batch FROM sluice.outbox WHERE id = ANY ($1) ORDER BY id", false};
static const struct statement statement_outbox_leave = {"UPDATE sluice.outbox SET owner = 0 WHERE id = ANY ($1)",
                                                        false};

enum store_result ledger_outbox_find(struct connection *connection, const int64_t *ids, size_t count, struct rows **ret,
                                     struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT8, ids, count)};
    return connection_exec(connection, &statement_outbox_find, 1, params, ret, error);
}

enum store_result ledger_outbox_leave(struct connection *connection, const int64_t *ids, size_t count,
                                      struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT8, ids, count)};
    return connection_queue(connection, &statement_outbox_leave, 1, params, error);
}

static const struct statement statement_outbox_refuse = {
    "UPDATE sluice.outbox SET owner = 0, batch = $2, refused = $3, tried_at = now() WHERE id = $1", false};

enum store_result ledger_outbox_refuse(struct connection *connection, int64_t id, struct span record_batch,
                                       struct span reason, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &id), STORE_VALUE(PARAM_BYTEA, &record_batch),
                                         STORE_VALUE(PARAM_TEXT, &reason)};
    return connection_queue(connection, &statement_outbox_refuse, 3, params, error);
}

/* ----------------------------------------------------------------------------------------------------------- parked */

/* Twice in one call is once: the last one given counts. Again later is once, too, with the new time and reason. */
static const struct statement statement_park = {
    "INSERT INTO sluice.parked (consumer_group, state, event_id, due, record, reason) "
    "SELECT DISTINCT ON (u.consumer_group, u.event_id)"
    "       u.consumer_group, u.state, u.event_id, u.due, u.record, u.reason "
    "FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY"
    "     AS u(consumer_group, state, event_id, due, record, reason, place) "
    "ORDER BY u.consumer_group, u.event_id, u.place DESC "
    "ON CONFLICT ON CONSTRAINT parked_pkey DO UPDATE"
    " SET state = excluded.state, due = excluded.due, record = excluded.record, reason = excluded.reason,"
    " taken_by = NULL",
    false,
};

enum store_result ledger_park(struct connection *connection, const struct parked *parked, size_t count,
                              struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &parked[0].group, count, sizeof *parked),
        STORE_COLUMN(PARAM_INT2, &parked[0].state, count, sizeof *parked),
        STORE_COLUMN(PARAM_UUID, &parked[0].id, count, sizeof *parked),
        STORE_COLUMN(PARAM_TIMESTAMP, &parked[0].due_ms, count, sizeof *parked),
        STORE_COLUMN(PARAM_BYTEA, &parked[0].record, count, sizeof *parked),
        STORE_COLUMN(PARAM_TEXT, &parked[0].reason, count, sizeof *parked),
    };
    return connection_queue(connection, &statement_park, 6, params, error);
}

/* Per group, along its index: a group that nobody runs any more does not slow the others down. */
static const struct statement statement_parked_take = {
    "WITH due AS (SELECT d.consumer_group, d.event_id FROM unnest($1) AS g(consumer_group)"
    "  CROSS JOIN LATERAL (SELECT p.consumer_group, p.event_id FROM sluice.parked p"
    "    WHERE p.consumer_group = g.consumer_group AND p.state = 0 AND p.due <= now()"
    "    ORDER BY p.due LIMIT $3 FOR UPDATE SKIP LOCKED) d LIMIT $3) "
    "UPDATE sluice.parked p SET due = now() + $2 * interval '1 millisecond', taken_by = $4 FROM due d "
    "WHERE p.consumer_group = d.consumer_group AND p.event_id = d.event_id "
    "RETURNING p.consumer_group, p.event_id, p.record",
    false,
};
static const struct statement statement_parked_next = {
    "SELECT min(n.due) FROM unnest($1) AS g(consumer_group)"
    "  CROSS JOIN LATERAL (SELECT p.due FROM sluice.parked p"
    "    WHERE p.consumer_group = g.consumer_group AND p.state = 0 ORDER BY p.due LIMIT 1) n",
    false,
};

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
    *ret_next_ms = rows_null(rows[1], 0, 0) ? INT64_MAX : rows_int64(rows[1], 0, 0);
    return STORE_OK;
}

static const struct statement statement_parked_release = {
    "UPDATE sluice.parked SET due = now(), taken_by = NULL WHERE consumer_group = $1 AND state = 0 AND taken_by <> $2",
    false,
};

enum store_result ledger_parked_release(struct connection *connection, int16_t group, int64_t but_owner,
                                        struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_VALUE(PARAM_INT8, &but_owner)};
    return connection_queue(connection, &statement_parked_release, 2, params, error);
}

static const struct statement statement_unpark = {
    "DELETE FROM sluice.parked WHERE consumer_group = $1 AND event_id = ANY ($2)",
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

/* -------------------------------------------------------------------------------------------------------- schedules */

/* SKIP LOCKED: who has the tick now will have had it. */
static const struct statement statement_tick = {
    "WITH mine AS (SELECT schedule FROM sluice.schedule WHERE schedule = $1 AND slot < $2 FOR UPDATE SKIP LOCKED) "
    "UPDATE sluice.schedule s SET slot = $2, at = now() FROM mine WHERE s.schedule = mine.schedule RETURNING "
    "s.schedule",
    false,
};
static const struct statement statement_tick_first = {
    "INSERT INTO sluice.schedule (schedule, slot) SELECT $1, $2"
    " WHERE NOT EXISTS (SELECT FROM sluice.schedule WHERE schedule = $1)" /* or it would wait for a tick */
    " ON CONFLICT (schedule) DO NOTHING RETURNING schedule",
    false,
};

enum store_result ledger_tick(struct connection *connection, int16_t schedule, int64_t slot_ms, bool *ret,
                              struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &schedule), STORE_VALUE(PARAM_INT8, &slot_ms)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_tick, 2, params, &rows, error);
    if (result == STORE_OK && rows_count(rows) == 0) /* not ours, or the schedule's very first tick */
        result = connection_exec(connection, &statement_tick_first, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_count(rows) == 1;
    return result;
}

/* ------------------------------------------------------------------------------------------------------------ broom */

enum { PRUNE_ROWS_PER_BLOCK = 100 /* about: 8 KiB of inbox rows with their line pointers hold 136 */ };

/*
 * The inbox has no index on its time: every event would pay for it. Rows lie in about the order they came, so a walk
 * round the table, a window of blocks a step, finds the old ones. The walk's place is a row, locked while a step runs:
 * two brooms take turns.
 */
static const struct statement statement_prune = {
    "WITH here AS (SELECT p.block, least(p.block + $2, size.blocks) AS stop, size.blocks"
    "              FROM sluice.prune p, (SELECT pg_relation_size('sluice.inbox') / current_setting('block_size')::int8"
    "                                    AS blocks) size FOR UPDATE OF p),"
    "     moved AS (UPDATE sluice.prune p SET block = CASE WHEN h.stop >= h.blocks THEN 0 ELSE h.stop END FROM here h) "
    "DELETE FROM sluice.inbox i "
    "WHERE i.ctid >= (SELECT format('(%s,0)', block)::tid FROM here) AND i.ctid < (SELECT format('(%s,0)', stop)::tid "
    "FROM here)"
    "  AND i.at < " LEDGER_NOW " - $1",
    false,
};

enum store_result ledger_prune(struct connection *connection, int64_t keep_ms, size_t limit, size_t *ret,
                               struct error *error)
{
    int64_t keep_s = keep_ms / 1000, blocks = (int64_t)(limit / PRUNE_ROWS_PER_BLOCK) + 1;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &keep_s), STORE_VALUE(PARAM_INT8, &blocks)};
    struct rows *rows;
    enum store_result result = ledger_run(connection, &statement_prune, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = (size_t)strtoull(PQcmdTuples(rows->result), NULL, 10);
    return result;
}

static const struct statement statement_health = {
    "SELECT coalesce((SELECT extract(epoch FROM now() - min(created_at)) * 1000 FROM sluice.outbox), 0)::int8,"
    "       (SELECT count(*) FROM sluice.parked), (SELECT count(*) FROM sluice.chain WHERE state = 3),"
    "       (SELECT count(*) FROM sluice.parked WHERE state = 1),"
    "       (SELECT count(*) FROM sluice.outbox WHERE refused IS NOT NULL)",
    false,
};

enum store_result ledger_health(struct connection *connection, struct ledger_health *ret, struct error *error)
{
    struct rows *rows;
    enum store_result result = ledger_run(connection, &statement_health, 0, NULL, &rows, error);
    if (result == STORE_OK)
        *ret = (struct ledger_health){.outbox_age_ms = rows_int64(rows, 0, 0),
                                      .parked = rows_int64(rows, 0, 1),
                                      .chains_stuck = rows_int64(rows, 0, 2),
                                      .parked_stuck = rows_int64(rows, 0, 3),
                                      .outbox_refused = rows_int64(rows, 0, 4)};
    return result;
}
