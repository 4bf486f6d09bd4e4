/*
 * reply.c - answers that are given again to the same request under the same Idempotency-Key.
 */
#include "store/ledger/inner.h"

static const struct statement statement_reply_save = {
    "insert into sluice.reply (handler, status, at, event_id, body) "
    "select u.handler, u.status, " LEDGER_NOW
    ", u.event_id, u.body from unnest($1, $2, $3, $4) as u(handler, status, event_id, body) "
    "on conflict on constraint reply_pkey do nothing",
    false,
};
static const struct statement statement_reply_get = {
    "select status, body from sluice.reply where handler = $1 and event_id = $2",
    false,
};
static const struct statement statement_reply_prune = {
    "delete from sluice.reply where at < " LEDGER_NOW " - $1::int8 / 1000",
    false,
};

enum store_result ledger_replies_save(struct connection *connection, const struct kept_reply *replies, size_t count,
                                      struct error *error)
{
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &replies[0].handler, count, sizeof *replies),
        STORE_COLUMN(PARAM_INT2, &replies[0].status, count, sizeof *replies),
        STORE_COLUMN(PARAM_UUID, &replies[0].id, count, sizeof *replies),
        STORE_COLUMN(PARAM_BYTEA, &replies[0].body, count, sizeof *replies),
    };
    return count == 0 ? STORE_OK : connection_queue(connection, &statement_reply_save, 4, params, error);
}

enum store_result ledger_reply_get(struct connection *connection, struct kept_reply *reply, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &reply->handler), STORE_VALUE(PARAM_UUID, &reply->id)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_reply_get, 2, params, &rows, error);
    if (result == STORE_OK) {
        bool found = rows_count(rows) > 0;
        reply->status = found ? (int16_t)rows_int64(rows, 0, 0) : 0;
        reply->body = found ? rows_span(rows, 0, 1) : (struct span){NULL, 0};
    }
    return result;
}

enum store_result ledger_replies_prune(struct connection *connection, int64_t keep_ms, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT8, &keep_ms)};
    struct rows *rows;
    return connection_run(connection, &statement_reply_prune, 1, params, &rows, error);
}
