/*
 * schedule.c - which process runs a tick of a schedule.
 *
 * The row of a schedule has the slot of its last tick. The process that updates it does the work in the same
 * transaction.
 */
#include "store/ledger/inner.h"

/* Skip locked: another transaction has the row, and therefore the tick. */
static const struct statement statement_tick = {
    "with mine as (select schedule from sluice.schedule where schedule = $1 and slot < $2 for update skip locked) "
    "update sluice.schedule s set slot = $2, at = now() from mine where s.schedule = mine.schedule returning "
    "s.schedule",
    false,
};
static const struct statement statement_tick_first = {
    "insert into sluice.schedule (schedule, slot) select $1, $2"
    /* else the insert would wait for the transaction of a tick */
    " where not exists (select from sluice.schedule where schedule = $1)"
    " on conflict (schedule) do nothing returning schedule",
    false,
};

enum store_result ledger_tick(struct connection *connection, int16_t schedule, int64_t slot_ms, bool *ret,
                              struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &schedule), STORE_VALUE(PARAM_INT8, &slot_ms)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_tick, 2, params, &rows, error);
    if (result == STORE_OK && rows_count(rows) == 0) /* another process's, or the schedule's first tick */
        result = connection_exec(connection, &statement_tick_first, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_count(rows) == 1;
    return result;
}

static const struct statement statement_slots = {
    "select coalesce(s.slot, 0) from unnest($1) with ordinality as u(schedule, place)"
    "  left join sluice.schedule s on s.schedule = u.schedule order by u.place",
    false,
};

enum store_result ledger_slots(struct connection *connection, const int16_t *schedules, size_t count,
                               int64_t *ret_slots_ms, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, schedules, count)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_slots, 1, params, &rows, error);
    for (size_t i = 0; result == STORE_OK && i < count; i++)
        ret_slots_ms[i] = rows_int64(rows, i, 0);
    return result;
}
