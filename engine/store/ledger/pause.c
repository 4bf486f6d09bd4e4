/*
 * pause.c - what operators have paused, and breakers that are open.
 *
 * Its times are the server's, which alone says whether it is in effect.
 */
#include "store/ledger/inner.h"

/* One that is in effect keeps its beginning. */
static const struct statement statement_pause = {
    "insert into sluice.pause as p (pipeline, kind, name, until, actor, reason) "
    "values ($1, $2, $3, now() + nullif($4::int8, 0) * interval '1 millisecond', $5, nullif($6, '')) "
    "on conflict on constraint pause_pkey do update set until = excluded.until, actor = excluded.actor,"
    " reason = excluded.reason, at = case when p.until <= now() then now() else p.at end",
    false,
};

enum store_result ledger_pause(struct connection *connection, struct span pipeline, struct span kind, struct span name,
                               int64_t for_ms, struct span actor, struct span reason, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &pipeline), STORE_VALUE(PARAM_TEXT, &kind),  STORE_VALUE(PARAM_TEXT, &name),
        STORE_VALUE(PARAM_INT8, &for_ms),   STORE_VALUE(PARAM_TEXT, &actor), STORE_VALUE(PARAM_TEXT, &reason),
    };
    return connection_queue(connection, &statement_pause, 6, params, error);
}

static const struct statement statement_resume = {
    "delete from sluice.pause where pipeline = $1 and kind = $2 and name = $3",
    false,
};

enum store_result ledger_resume(struct connection *connection, struct span pipeline, struct span kind, struct span name,
                                bool *ret_found, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &pipeline), STORE_VALUE(PARAM_TEXT, &kind),
                                         STORE_VALUE(PARAM_TEXT, &name)};
    enum store_result result = connection_exec(connection, &statement_resume, 3, params, &rows, error);
    if (result == STORE_OK)
        *ret_found = rows_affected(rows) > 0;
    return result;
}

static const struct statement statement_pauses = {
    "select kind, name, actor, reason, at, until, kind = 'breaker' and until <= now() from sluice.pause "
    "where pipeline = $1 and (until is null or until > now() or kind = 'breaker') order by at, kind, name",
    false,
};

enum store_result ledger_pauses(struct connection *connection, struct span pipeline, struct arena *arena,
                                struct pause **ret, size_t *ret_count, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &pipeline)};
    struct rows *rows = NULL;
    size_t count = 0;
    enum store_result result = connection_run(connection, &statement_pauses, 1, params, &rows, error);
    if (result != STORE_OK)
        return result;
    struct pause *pauses = arena_array(arena, struct pause, rows_count(rows) + 1);
    for (size_t i = 0; i < rows_count(rows); i++) {
        struct pause *pause = &pauses[count];
        if (!pause_kind_of(rows_span(rows, i, 0), &pause->kind))
            continue; /* a later version's */
        pause->name = arena_string(arena, rows_span(rows, i, 1));
        pause->actor = arena_string(arena, rows_span(rows, i, 2));
        pause->reason = rows_null(rows, i, 3) ? NULL : arena_string(arena, rows_span(rows, i, 3));
        pause->since_ms = rows_int64(rows, i, 4);
        pause->until_ms = rows_null(rows, i, 5) ? INT64_MAX : rows_int64(rows, i, 5);
        pause->half_open = rows_int64(rows, i, 6) != 0;
        count++;
    }
    *ret = pauses;
    *ret_count = count;
    return STORE_OK;
}

static const struct statement statement_pauses_rename = {
    "update sluice.pause p set pipeline = $2 where p.pipeline = $1 and not exists"
    " (select from sluice.pause q where q.pipeline = $2 and q.kind = p.kind and q.name = p.name)",
    false,
};

enum store_result ledger_pauses_rename(struct connection *connection, struct span old, struct span new_name,
                                       struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &old), STORE_VALUE(PARAM_TEXT, &new_name)};
    return connection_queue(connection, &statement_pauses_rename, 2, params, error);
}

static const struct statement statement_pause_rename = {
    "update sluice.pause p set name = $3 where p.pipeline = $1 and p.name = $2 and not exists"
    " (select from sluice.pause q where q.pipeline = $1 and q.kind = p.kind and q.name = $3)",
    false,
};

enum store_result ledger_pause_rename(struct connection *connection, struct span pipeline, struct span old,
                                      struct span new_name, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &pipeline), STORE_VALUE(PARAM_TEXT, &old),
                                         STORE_VALUE(PARAM_TEXT, &new_name)};
    return connection_queue(connection, &statement_pause_rename, 3, params, error);
}

static const struct statement statement_parked_resume = {
    "update sluice.parked set state = 0, due = now(), taken_by = null, paused = null "
    "where consumer_group = $1 and state = 3 and paused <> all ($2)",
    false,
};

enum store_result ledger_parked_resume(struct connection *connection, int16_t group, const struct span *paused,
                                       size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_ARRAY(PARAM_TEXT, paused, count)};
    struct rows *rows = NULL;
    return connection_run(connection, &statement_parked_resume, 2, params, &rows, error);
}
