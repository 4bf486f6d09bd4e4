/*
 * suspect.c - see ledger_suspect.h.
 */
#include "store/ledger_suspect.h"

#include "store/ledger/inner.h"

static const struct statement statement_note = {
    "with old as (delete from sluice.suspect where ctid = any (array(select ctid from sluice.suspect"
    "   where at < now() - interval '1 day' limit 1000 for update skip locked))) "
    "insert into sluice.suspect (handler, event_id, times, reason)"
    " select distinct on (u.handler, u.event_id) u.handler, u.event_id, u.times, u.reason"
    " from unnest($1, $2, $3, $4) u(handler, event_id, times, reason) order by u.handler, u.event_id, u.times desc"
    " on conflict on constraint suspect_pkey"
    " do update set times = excluded.times, reason = excluded.reason, at = excluded.at",
    false,
};

enum store_result ledger_suspects_note(struct connection *connection, const struct noted_suspect *suspects,
                                       size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &suspects[0].handler, count, sizeof *suspects),
                                         STORE_COLUMN(PARAM_UUID, &suspects[0].id, count, sizeof *suspects),
                                         STORE_COLUMN(PARAM_INT4, &suspects[0].times, count, sizeof *suspects),
                                         STORE_COLUMN(PARAM_TEXT, &suspects[0].reason, count, sizeof *suspects)};
    struct rows *rows;
    return connection_run(connection, &statement_note, 4, params, &rows, error);
}

static const struct statement statement_clear = {
    "delete from sluice.suspect s using unnest($1, $2) as u(handler, event_id) "
    "where s.handler = u.handler and s.event_id = u.event_id",
    false,
};

enum store_result ledger_suspects_clear(struct connection *connection, const struct noted_suspect *suspects,
                                        size_t count, struct error *error)
{
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &suspects[0].handler, count, sizeof *suspects),
                                         STORE_COLUMN(PARAM_UUID, &suspects[0].id, count, sizeof *suspects)};
    return connection_queue(connection, &statement_clear, 2, params, error);
}
