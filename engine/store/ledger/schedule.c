/*
 * schedule.c - which process runs a tick of a schedule.
 *
 * The row of a schedule has the slot of its last tick. The process that updates it does the work in the same
 * transaction.
 */
#include "store/ledger_schedule.h"

#include "store/ledger/inner.h"

#include "base/clock.h"

/* $2: how long ago, on the process's clock, the slot began; $3: the period. So the slot is one of the server's clock,
 * however far the process's is from it. A row that is ahead of the server's clock (it was set back) does not stop the
 * ticks: they are numbered on from it, since no slot may come twice. Skip locked: another transaction has the row, and
 * therefore the tick. */
#define SLOT "(select (round((extract(epoch from now()) * 1000 - $2) / $3) * $3)::bigint as slot) t"
static const struct statement statement_tick = {
    "with mine as (select s.schedule, case when s.slot < t.slot then t.slot else s.slot + 1 end as slot"
    "  from sluice.schedule s, " SLOT
    "  where s.schedule = $1 and (s.slot < t.slot or s.slot > t.slot + $3) for update of s skip locked) "
    "update sluice.schedule s set slot = mine.slot, at = now() from mine where s.schedule = mine.schedule "
    "returning s.slot",
    false,
};
static const struct statement statement_tick_first = {
    "insert into sluice.schedule (schedule, slot) select $1, t.slot from " SLOT
    /* else the insert would wait for the transaction of a tick */
    " where not exists (select from sluice.schedule where schedule = $1)"
    " on conflict (schedule) do nothing returning slot",
    false,
};

/* $2: the tick's time. */
static const struct statement statement_tick_at = {
    "with mine as (select s.schedule from sluice.schedule s"
    "  where s.schedule = $1 and s.slot < $2 and $2 <= extract(epoch from now()) * 1000 for update of s skip locked) "
    "update sluice.schedule s set slot = $2, at = now() from mine where s.schedule = mine.schedule returning s.slot",
    false,
};
static const struct statement statement_tick_at_first = {
    "insert into sluice.schedule (schedule, slot) select $1, $2"
    " where $2 <= extract(epoch from now()) * 1000 and not exists (select from sluice.schedule where schedule = $1)"
    " on conflict (schedule) do nothing returning slot",
    false,
};

/* The row's update, or its first insert; *ret_rows has a row when the tick is this transaction's. */
static enum store_result claim(struct connection *connection, const struct statement *update,
                               const struct statement *insert, size_t count, const struct store_param *params,
                               struct rows **ret_rows, struct error *error)
{
    enum store_result result = connection_exec(connection, update, count, params, ret_rows, error);
    if (result == STORE_OK && rows_count(*ret_rows) == 0) /* another process's, or the schedule's first tick */
        result = connection_exec(connection, insert, count, params, ret_rows, error);
    return result;
}

enum store_result ledger_tick(struct connection *connection, int16_t schedule, int64_t period_ms, int64_t *slot_ms,
                              bool *ret, struct error *error)
{
    int64_t age_ms = clock_wall_ms() - *slot_ms;
    const struct store_param every[] = {STORE_VALUE(PARAM_INT2, &schedule), STORE_VALUE(PARAM_INT8, &age_ms),
                                        STORE_VALUE(PARAM_INT8, &period_ms)};
    const struct store_param at[] = {STORE_VALUE(PARAM_INT2, &schedule), STORE_VALUE(PARAM_INT8, slot_ms)};
    struct rows *rows;
    enum store_result result = period_ms > 0
                                   ? claim(connection, &statement_tick, &statement_tick_first, 3, every, &rows, error)
                                   : claim(connection, &statement_tick_at, &statement_tick_at_first, 2, at, &rows,
                                           error);
    if (result != STORE_OK)
        return result;
    *ret = rows_count(rows) == 1;
    if (*ret)
        *slot_ms = rows_int64(rows, 0, 0);
    return STORE_OK;
}

static const struct statement statement_begin = {
    "insert into sluice.schedule (schedule, slot) values ($1, $2) on conflict (schedule) do nothing",
    false,
};

enum store_result ledger_schedule_begin(struct connection *connection, int16_t schedule, int64_t slot_ms,
                                        struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &schedule), STORE_VALUE(PARAM_INT8, &slot_ms)};
    struct rows *rows;
    return connection_run(connection, &statement_begin, 2, params, &rows, error);
}

static const struct statement statement_slots = {
    "select coalesce(s.slot, 0), (extract(epoch from clock_timestamp()) * 1000)::int8"
    "  from unnest($1) with ordinality as u(schedule, place)"
    "  left join sluice.schedule s on s.schedule = u.schedule order by u.place",
    false,
};

enum store_result ledger_slots(struct connection *connection, const int16_t *schedules, size_t count,
                               int64_t *ret_slots_ms, int64_t *ret_now_ms, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, schedules, count)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_slots, 1, params, &rows, error);
    for (size_t i = 0; result == STORE_OK && i < count; i++)
        ret_slots_ms[i] = rows_int64(rows, i, 0), *ret_now_ms = rows_int64(rows, i, 1);
    return result;
}
