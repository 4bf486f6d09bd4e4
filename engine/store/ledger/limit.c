/*
 * limit.c - slots and places of topics with a limit.
 *
 * A place is an advisory lock that ends with its transaction, and so with its process: nobody has to give it back, and
 * no row can say that it is taken when it is not. Two buckets of one number, which is a hash, would share theirs.
 *
 * A bucket's row says when its next slot is. Who asks gets those from there on, or from now on, up to a moment ahead;
 * the row is locked while it is changed, and in the order of the buckets. Nothing is saved up while nobody asks. A slot
 * further ahead than this rate gives any was left by a lower one, or by a clock that was ahead.
 */
#include "store/ledger/inner.h"

#include "store/ledger_limit.h"

static const struct statement statement_take = {
    "with locked as materialized ("
    "  select s.bucket, a.ns, a.want, clock_timestamp() as now,"
    "    least(s.next, clock_timestamp() + make_interval(secs => $5 / 1e3::float8 + a.ns / 1e9::float8)) as next"
    "  from unnest($2, $3, $4) as a(bucket, ns, want)"
    "  join sluice.limit_slot s on s.consumer_group = $1 and s.bucket = a.bucket order by s.bucket for update of s),"
    " given as (select l.bucket, l.ns, greatest(l.next, l.now) as first, greatest(0, least(l.want, 1 + floor("
    "    extract(epoch from l.now + $5 * interval '1 millisecond' - greatest(l.next, l.now))::float8 * 1e9 / "
    "l.ns)))::int4 as slots"
    "  from locked l) "
    "update sluice.limit_slot s set next = g.first + make_interval(secs => g.slots * (g.ns / 1e9)::float8) "
    "from given g where s.consumer_group = $1 and s.bucket = g.bucket "
    "returning s.bucket, g.slots, (extract(epoch from g.first - clock_timestamp())::float8 * 1e6)::int8",
    false,
};

static const struct statement statement_known = {
    "insert into sluice.limit_slot (consumer_group, bucket, next) select $1, u.bucket, now() from unnest($2) as "
    "u(bucket) order by 2 on conflict on constraint limit_slot_pkey do nothing",
    false,
};

static enum store_result take(struct connection *connection, int16_t group, struct slots *slots, size_t count,
                              int64_t ahead_ms, size_t *ret_found, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &group), STORE_COLUMN(PARAM_INT8, &slots[0].bucket, count, sizeof *slots),
        STORE_COLUMN(PARAM_INT8, &slots[0].step_ns, count, sizeof *slots),
        STORE_COLUMN(PARAM_INT4, &slots[0].want, count, sizeof *slots), STORE_VALUE(PARAM_INT8, &ahead_ms)};
    enum store_result result = connection_run(connection, &statement_take, 5, params, &rows, error);
    *ret_found = result == STORE_OK ? rows_count(rows) : 0;
    for (size_t r = 0; r < *ret_found; r++)
        for (size_t i = 0; i < count; i++)
            if (slots[i].bucket == rows_int64(rows, r, 0)) {
                slots[i].given = (int32_t)rows_int64(rows, r, 1);
                slots[i].in_us = rows_int64(rows, r, 2);
                slots[i].want = 0; /* answered */
            }
    return result;
}

enum store_result ledger_limit_take(struct connection *connection, int16_t group, struct slots *slots, size_t count,
                                    int64_t ahead_ms, struct error *error)
{
    struct rows *rows = NULL;
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        slots[i].given = 0;
    enum store_result result = take(connection, group, slots, count, ahead_ms, &found, error);
    if (result != STORE_OK || found == count)
        return result;
    struct slots *answered = slots; /* those first, and the others behind them */
    for (size_t i = 0; i < count; i++)
        if (slots[i].want == 0) {
            struct slots one = slots[i];
            slots[i] = *answered;
            *answered++ = one;
        }
    count -= (size_t)(answered - slots);
    slots = answered;
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &group),
                                         STORE_COLUMN(PARAM_INT8, &slots[0].bucket, count, sizeof *slots)};
    result = connection_run(connection, &statement_known, 2, params, &rows, error);
    return result != STORE_OK ? result : take(connection, group, slots, count, ahead_ms, &found, error);
}

static const struct statement statement_prune = {
    "delete from sluice.limit_slot where ctid = any (array(select s.ctid from sluice.limit_slot s"
    "  where s.next < now() - interval '1 minute' limit 10000 for update skip locked))",
    false,
};

enum store_result ledger_limit_prune(struct connection *connection, struct error *error)
{
    struct rows *rows = NULL;
    return connection_run(connection, &statement_prune, 0, NULL, &rows, error);
}

/* The inner LIMIT ends the search: no more locks are taken than are wanted. */
static const struct statement statement_places = {
    "select (select count(*) from (select from generate_series(0, a.most - 1) as p(place)"
    "    where pg_try_advisory_xact_lock(a.first + p.place) limit a.want) as taken)::int4"
    " from unnest($1, $2, $3) with ordinality as a(first, most, want, number) order by a.number",
    false,
};

typedef enum store_result run_statement(struct connection *connection, const struct statement *statement,
                                        size_t param_count, const struct store_param *params, struct rows **ret,
                                        struct error *error);

static enum store_result find_places(struct connection *connection, run_statement *run, struct places *places,
                                     size_t count, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT8, &places[0].first, count, sizeof *places),
                                         STORE_COLUMN(PARAM_INT4, &places[0].most, count, sizeof *places),
                                         STORE_COLUMN(PARAM_INT4, &places[0].want, count, sizeof *places)};
    enum store_result result = run(connection, &statement_places, 3, params, &rows, error);
    for (size_t i = 0; i < count && result == STORE_OK; i++)
        places[i].given = (int32_t)rows_int64(rows, i, 0);
    return result;
}

enum store_result ledger_limit_places(struct connection *connection, struct places *places, size_t count,
                                      struct error *error)
{
    return find_places(connection, connection_exec, places, count, error);
}

enum store_result ledger_limit_free(struct connection *connection, struct places *places, size_t count,
                                    struct error *error)
{
    return find_places(connection, connection_run, places, count, error);
}
