/*
 * breaker.c - breakers of dependencies.
 *
 * A breaker is closed when sluice.pause has no row of it, open until that row's time, and half-open from then on. Who
 * holds the lock of a half-open row tries the dependency; the lock ends with its transaction, or with its process.
 */
#include "store/ledger/inner.h"

#include "store/ledger_breaker.h"

static const struct statement statement_known = {
    "insert into sluice.dependency (pipeline, name) values ($1, $2) on conflict on constraint dependency_pkey do "
    "nothing",
    false,
};

/* Two processes that count at the same time do so one after the other: the row is locked, and looked at again. */
static const struct statement statement_failed = {
    "with recent as (select d.pipeline, d.name, array_fill(clock_timestamp(), array[least($3, $4)::int]) ||"
    "    array(select f.at from unnest(d.failed) as f(at) where f.at > clock_timestamp() - $5 * interval '1 "
    "millisecond' limit $4) as failed"
    "  from sluice.dependency d where d.pipeline = $1 and d.name = $2 for update),"
    " counted as (update sluice.dependency d set failed = case when cardinality(r.failed) >= $4 then '{}'"
    "    else r.failed end"
    "  from recent r where d.pipeline = r.pipeline and d.name = r.name returning cardinality(r.failed) >= $4 as open) "
    "insert into sluice.pause (pipeline, kind, name, until, actor, reason) "
    "select $1, 'breaker', $2, clock_timestamp() + $6 * interval '1 millisecond', 'sluice', $7 from counted where open "
    "on conflict on constraint pause_pkey do nothing",
    false,
};

enum store_result ledger_breaker_failed(struct connection *connection, const struct breaker *breaker, int32_t failures,
                                        struct span reason, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &breaker->pipeline),
                                         STORE_VALUE(PARAM_TEXT, &breaker->name),
                                         STORE_VALUE(PARAM_INT4, &failures),
                                         STORE_VALUE(PARAM_INT4, &breaker->failures),
                                         STORE_VALUE(PARAM_INT8, &breaker->window_ms),
                                         STORE_VALUE(PARAM_INT8, &breaker->open_ms),
                                         STORE_VALUE(PARAM_TEXT, &reason)};
    enum store_result result = connection_run(connection, &statement_known, 2, params, &rows, error);
    return result != STORE_OK ? result : connection_run(connection, &statement_failed, 7, params, &rows, error);
}

static const struct statement statement_try = {
    "select 1 from sluice.pause where pipeline = $1 and kind = 'breaker' and name = $2 and until <= clock_timestamp() "
    "for update skip locked",
    false,
};

enum store_result ledger_breaker_try(struct connection *connection, const struct breaker *breaker, bool *ret,
                                     struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &breaker->pipeline),
                                         STORE_VALUE(PARAM_TEXT, &breaker->name)};
    enum store_result result = connection_exec(connection, &statement_try, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_count(rows) > 0;
    return result;
}

static const struct statement statement_close = {
    "delete from sluice.pause where pipeline = $1 and kind = 'breaker' and name = $2",
    false,
};

enum store_result ledger_breaker_close(struct connection *connection, const struct breaker *breaker,
                                       struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &breaker->pipeline),
                                         STORE_VALUE(PARAM_TEXT, &breaker->name)};
    return connection_queue(connection, &statement_close, 2, params, error);
}

static const struct statement statement_reopen = {
    "update sluice.pause set until = clock_timestamp() + $3 * interval '1 millisecond', reason = $4 "
    "where pipeline = $1 and kind = 'breaker' and name = $2 and until <= clock_timestamp()",
    false,
};

enum store_result ledger_breaker_reopen(struct connection *connection, const struct breaker *breaker,
                                        struct span reason, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &breaker->pipeline),
                                         STORE_VALUE(PARAM_TEXT, &breaker->name),
                                         STORE_VALUE(PARAM_INT8, &breaker->open_ms), STORE_VALUE(PARAM_TEXT, &reason)};
    return connection_run(connection, &statement_reopen, 4, params, &rows, error);
}

static const struct statement statement_parked_resume_one = {
    "update sluice.parked set state = 0, due = now(), taken_by = null, paused = null where ctid = any (array("
    "  select p.ctid from sluice.parked p where p.consumer_group = $1 and p.state = 3 and p.paused = any ($2)"
    "  limit 1 for update skip locked))",
    false,
};

enum store_result ledger_parked_resume_one(struct connection *connection, int16_t group, const struct span *topics,
                                           size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group), STORE_ARRAY(PARAM_TEXT, topics, count)};
    struct rows *rows = NULL;
    return connection_run(connection, &statement_parked_resume_one, 2, params, &rows, error);
}
