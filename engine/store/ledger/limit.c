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

/* Of buckets that nobody asked for lately: a row each, its first slot is now. Those that have one are left out. */
static const struct statement statement_begin = {
    "with asked as materialized (select a.bucket, a.ns, clock_timestamp() as now,"
    "    least(a.want, 1 + floor($5 * 1e6::float8 / a.ns))::int4 as slots"
    "  from unnest($2, $3, $4) as a(bucket, ns, want)),"
    " made as (insert into sluice.limit_slot (consumer_group, bucket, next)"
    "  select $1, a.bucket, a.now + make_interval(secs => a.slots * (a.ns / 1e9)::float8) from asked a order by 2"
    "  on conflict on constraint limit_slot_pkey do nothing returning bucket) "
    "select a.bucket, a.slots, (extract(epoch from a.now - clock_timestamp())::float8 * 1e6)::int8"
    " from asked a join made m on m.bucket = a.bucket",
    false,
};

/* What is answered gets `want` 0. */
static enum store_result answer(struct connection *connection, const struct statement *statement, int16_t group,
                                struct slots *slots, size_t count, int64_t ahead_ms, struct error *error)
{
    struct rows *rows = NULL;
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &group), STORE_COLUMN(PARAM_INT8, &slots[0].bucket, count, sizeof *slots),
        STORE_COLUMN(PARAM_INT8, &slots[0].step_ns, count, sizeof *slots),
        STORE_COLUMN(PARAM_INT4, &slots[0].want, count, sizeof *slots), STORE_VALUE(PARAM_INT8, &ahead_ms)};
    enum store_result result = count == 0 ? STORE_OK : connection_run(connection, statement, 5, params, &rows, error);
    size_t found = count == 0 || result != STORE_OK ? 0 : rows_count(rows);
    for (size_t r = 0; r < found; r++)
        for (size_t i = 0; i < count; i++)
            if (slots[i].bucket == rows_int64(rows, r, 0)) {
                slots[i].given = (int32_t)rows_int64(rows, r, 1);
                slots[i].in_us = rows_int64(rows, r, 2);
                slots[i].want = 0;
                break;
            }
    return result;
}

static bool is_new(const struct slots *slots)
{
    return slots->is_new && slots->want > 0;
}

static bool is_open(const struct slots *slots)
{
    return slots->want > 0;
}

/* Those that are, before the others; their number. */
static size_t put_first(struct slots *slots, size_t count, bool (*is)(const struct slots *slots))
{
    size_t first = 0;
    for (size_t i = 0; i < count; i++)
        if (is(&slots[i])) {
            struct slots one = slots[i];
            slots[i] = slots[first];
            slots[first++] = one;
        }
    return first;
}

enum store_result ledger_limit_take(struct connection *connection, int16_t group, struct slots *slots, size_t count,
                                    int64_t ahead_ms, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        slots[i].given = 0;
    /* Mostly the first of these answers all that are new, and the second one the others. */
    size_t first = put_first(slots, count, is_new);
    enum store_result result = answer(connection, &statement_begin, group, slots, first, ahead_ms, error);
    for (int i = 0; i < 2 && result == STORE_OK && (first = put_first(slots, count, is_open)) > 0; i++) {
        result = answer(connection, &statement_take, group, slots, first, ahead_ms, error);
        first = put_first(slots, count, is_open);
        if (result == STORE_OK)
            result = answer(connection, &statement_begin, group, slots, first, ahead_ms, error);
    }
    return result;
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
