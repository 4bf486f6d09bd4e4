/*
 * attempt.c - failed tries of an event, kept so that the count survives a restart.
 */
#include "store/ledger/inner.h"

static const struct statement statement_attempts_save = {
    "insert into sluice.attempt as a (handler, event_id, attempts, reason) "
    "select distinct on (u.handler, u.event_id) u.handler, u.event_id, u.attempts, u.reason "
    "from unnest($1, $2, $3, $4) as u(handler, event_id, attempts, reason) "
    "order by u.handler, u.event_id, u.attempts desc "
    "on conflict on constraint attempt_pkey"
    " do update set attempts = greatest(a.attempts, excluded.attempts), at = excluded.at, reason = excluded.reason",
    false,
};

enum store_result ledger_attempts_save(struct connection *connection, const struct attempt *attempts, size_t count,
                                       struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &attempts[0].handler, count, sizeof *attempts),
        STORE_COLUMN(PARAM_UUID, &attempts[0].id, count, sizeof *attempts),
        STORE_COLUMN(PARAM_INT4, &attempts[0].attempts, count, sizeof *attempts),
        STORE_COLUMN(PARAM_TEXT, &attempts[0].reason, count, sizeof *attempts),
    };
    return connection_queue(connection, &statement_attempts_save, 4, params, error);
}

static const struct statement statement_attempts_clear = {
    "delete from sluice.attempt a using unnest($1, $2) as u(handler, event_id) "
    "where a.handler = u.handler and a.event_id = u.event_id",
    false,
};

enum store_result ledger_attempts_clear(struct connection *connection, const struct attempt *attempts, size_t count,
                                        struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &attempts[0].handler, count, sizeof *attempts),
        STORE_COLUMN(PARAM_UUID, &attempts[0].id, count, sizeof *attempts),
    };
    return connection_queue(connection, &statement_attempts_clear, 2, params, error);
}

static const struct statement statement_attempts_load = {
    "select handler, event_id, attempts from sluice.attempt",
    false,
};

enum store_result ledger_attempts_load(struct connection *connection, struct rows **ret, struct error *error)
{
    return connection_run(connection, &statement_attempts_load, 0, NULL, ret, error);
}

/* The table is small: it holds what is being tried again, and what was left over. */
static const struct statement statement_attempts_prune = {
    "delete from sluice.attempt where at < now() - $1 * interval '1 millisecond'",
    false,
};

enum store_result ledger_attempts_prune(struct connection *connection, int64_t keep_ms, struct error *error)
{
    double keep = (double)keep_ms;
    const struct store_param params[] = {STORE_VALUE(PARAM_DOUBLE, &keep)};
    struct rows *rows;
    return connection_run(connection, &statement_attempts_prune, 1, params, &rows, error);
}
