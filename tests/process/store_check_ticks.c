/*
 * store_check_ticks.c - which transaction runs a tick of a schedule, against a real database.
 */
#include "store_harness.h"

#include "store/ledger_schedule.h"

enum { PERIOD_MS = 60000 };

/* The tick of `slots` periods after the last whole one, as a process sees it whose clock is right. */
static bool tick(struct connection *connection, int16_t schedule, int slots, int64_t *ret_slot_ms)
{
    bool mine = false;
    *ret_slot_ms = (clock_wall_ms() / PERIOD_MS + slots) * PERIOD_MS;
    OK(ledger_tick(connection, schedule, PERIOD_MS, ret_slot_ms, &mine, &error));
    return mine;
}

static void a_tick_runs_in_one_process(void **state)
{
    (void)state;
    int16_t schedule = next_number++;
    struct connection *one = open_connection(), *two = open_connection();
    int64_t first_ms, slot_ms;
    begin(one);
    assert_true(tick(one, schedule, -5, &first_ms));
    OK(connection_commit(one, &error));
    begin(one);
    begin(two);
    assert_true(tick(one, schedule, -3, &slot_ms));
    assert_int_equal(slot_ms, first_ms + 2 * PERIOD_MS);
    assert_false(tick(two, schedule, -3, &slot_ms)); /* has it now: no waiting */
    connection_rollback(one);
    connection_rollback(two);
    begin(two);
    assert_true(tick(two, schedule, -3, &slot_ms)); /* was rolled back */
    OK(connection_commit(two, &error));
    begin(one);
    assert_false(tick(one, schedule, -3, &slot_ms));
    assert_false(tick(one, schedule, -4, &slot_ms));
    connection_destroy(one);
    connection_destroy(two);
}

static bool tick_at(struct connection *connection, int16_t schedule, int64_t slot_ms)
{
    bool mine = false;
    int64_t claimed_ms = slot_ms;
    OK(ledger_tick(connection, schedule, 0, &claimed_ms, &mine, &error));
    assert_int_equal(claimed_ms, slot_ms);
    return mine;
}

/* Of a schedule with `cron`: each slot once, in order, and none before its time. */
static void a_slot_with_a_time_of_its_own_runs_once(void **state)
{
    (void)state;
    int16_t schedule = next_number++;
    struct connection *one = open_connection(), *two = open_connection();
    int64_t past_ms = clock_wall_ms() - PERIOD_MS, seen_ms = 0, now_ms = 0;
    begin(one);
    assert_true(tick_at(one, schedule, past_ms)); /* the first, without a row */
    OK(connection_commit(one, &error));
    begin(one);
    assert_false(tick_at(one, schedule, past_ms));
    assert_false(tick_at(one, schedule, past_ms - 1));
    assert_false(tick_at(one, schedule, clock_wall_ms() + PERIOD_MS));
    assert_true(tick_at(one, schedule, past_ms + 1));
    begin(two);
    assert_false(tick_at(two, schedule, past_ms + 1)); /* another has it now: no waiting */
    connection_rollback(one);
    connection_rollback(two);
    begin(two);
    assert_true(tick_at(two, schedule, past_ms + 1)); /* was rolled back */
    OK(connection_commit(two, &error));
    begin(one);
    assert_false(tick_at(one, schedule, past_ms + 1)); /* was done meanwhile */
    connection_rollback(one);
    OK(ledger_schedule_begin(one, schedule, past_ms - 5, &error)); /* it has a row: nothing */
    OK(ledger_slots(one, &schedule, 1, &seen_ms, &now_ms, &error));
    assert_int_equal(seen_ms, past_ms + 1);
    assert_in_range(now_ms, past_ms, past_ms + 60 * PERIOD_MS);
    schedule = next_number++;
    OK(ledger_schedule_begin(one, schedule, past_ms, &error));
    begin(one);
    assert_false(tick_at(one, schedule, past_ms));
    assert_true(tick_at(one, schedule, past_ms + 1));
    connection_destroy(one);
    connection_destroy(two);
}

/* A row that is ahead of the server's clock, and what the next ticks are. */
static void ticks_go_on_after_the_servers_clock_was_set_back(void **state)
{
    (void)state;
    int16_t schedule = next_number++;
    struct connection *connection = open_connection();
    int64_t slot_ms, ahead_ms;
    begin(connection);
    assert_true(tick(connection, schedule, 60, &ahead_ms));
    assert_true(tick(connection, schedule, 0, &slot_ms));
    assert_int_equal(slot_ms, ahead_ms + 1);
    assert_true(tick(connection, schedule, 1, &slot_ms));
    assert_int_equal(slot_ms, ahead_ms + 2);
    assert_true(tick(connection, schedule, 61, &slot_ms));
    assert_int_equal(slot_ms, ahead_ms + PERIOD_MS);
    connection_destroy(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tick_runs_in_one_process),
        cmocka_unit_test(a_slot_with_a_time_of_its_own_runs_once),
        cmocka_unit_test(ticks_go_on_after_the_servers_clock_was_set_back),
    };
    if (harness_open() != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    harness_close();
    return failed;
}
