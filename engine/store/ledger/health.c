/*
 * health.c - the figures of the ledger that metrics show.
 */
#include "store/ledger/inner.h"

/* Beyond this many what waits is not counted one by one every few seconds: the server's estimate will do. */
#define PARKED_COUNTED "100000"

static const struct statement statement_health = {
    "select coalesce((select extract(epoch from now() - min(created_at)) * 1000 from sluice.outbox), 0)::int8,"
    "       (select case when c.counted < " PARKED_COUNTED " then c.counted else greatest(c.counted,"
    "          (select t.reltuples::int8 from pg_class t where t.oid = 'sluice.parked'::regclass)) end"
    "        from (select count(*) as counted from (select from sluice.parked limit " PARKED_COUNTED ") p) c),"
    "       (select count(*) from sluice.chain where state = 3),"
    "       (select count(*) from sluice.outbox where refused is not null),"
    "       (select count(*) from sluice.parked where state = 2),"
    "       h.keys, h.events, h.age,"
    "       coalesce((select " LEDGER_NOW " - min(began) from sluice.chain"
    "                 where state in (1, 3) or missing <> 0 and state = 0), 0)::int8,"
    "       (select count(*) from sluice.parked where state = 3) "
    "from (select count(*) as keys, coalesce(sum(events), 0)::int8 as events,"
    "             coalesce(extract(epoch from now() - min(held_at)) * 1000, 0)::int8 as age from sluice.held_key) h",
    false,
};

enum store_result ledger_health(struct connection *connection, struct ledger_health *ret, struct error *error)
{
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_health, 0, NULL, &rows, error);
    if (result == STORE_OK)
        *ret = (struct ledger_health){.outbox_age_ms = rows_int64(rows, 0, 0),
                                      .parked = rows_int64(rows, 0, 1),
                                      .chains_stuck = rows_int64(rows, 0, 2),
                                      .outbox_refused = rows_int64(rows, 0, 3),
                                      .parked_unknown = rows_int64(rows, 0, 4),
                                      .held_keys = rows_int64(rows, 0, 5),
                                      .chain_age_ms = 1000 * rows_int64(rows, 0, 8),
                                      .held_events = rows_int64(rows, 0, 6),
                                      .held_age_ms = rows_int64(rows, 0, 7),
                                      .parked_paused = rows_int64(rows, 0, 9)};
    return result;
}
