/*
 * test_limit.c - the limit of a topic as a lane sees it: who has a slot is handled, who gets one soon waits in memory,
 * who gets none is written down and comes in turn; keys in order, and no try is counted.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "batch/limit.h"

#define TOPICS                                                                                                         \
    "store: {url: 'postgres://x'}\n"                                                                                   \
    "topics:\n"                                                                                                        \
    "  in: {handler: work.handle, limit: {rate: 10/s}, routes: {done: out, later: out}}\n"                             \
    "  each: {handler: work.handle, limit: {rate: 10/s, per: '{tenant}'}, routes: {done: out, later: out}}\n"          \
    "  few: {handler: work.handle, limit: {concurrency: 2}, routes: {done: out, later: out}}\n"                        \
    "  calls: {handler: work.query, routes: {done: out, later: out}}\n"                                                \
    "  free: {handler: work.handle, routes: {done: out, later: out}}\n"                                                \
    "  out: {final: true}\n"

/* As the worker does. */
static void run_until_idle(struct lane_test *test, size_t most)
{
    for (size_t i = 0; i < most; i++) {
        int64_t now_ms = clock_monotonic_ms(), limit_ms = limit_due_ms(&test->env);
        int64_t lane_ms = lane_due(test->env.lane, now_ms);
        if (limit_ms == INT64_MAX && lane_ms == INT64_MAX)
            return;
        int64_t due_ms = limit_ms < lane_ms ? limit_ms : lane_ms;
        if (due_ms > now_ms)
            fake_clock_advance(due_ms - now_ms);
        if (limit_due_ms(&test->env) <= clock_monotonic_ms())
            limit_resume(&test->env);
        arena_reset(test->env.arena);
        lane_test_run_all(test);
    }
}

static void in_turn(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    struct fake_tables *tables = &test->store->tables;
    (void)state;
    for (char id[2] = "a"; id[0] < 'g'; id[0]++)
        lane_test_event(test, "in", id, id, "{}");
    lane_test_event(test, "in", "f", "g", "{}"); /* behind its key */
    lane_test_event(test, "free", "z", "z", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a] [z]");
    assert_int_equal(tables->held_count, 4); /* d, e, f and g: b and c have slots within 200 ms */
    assert_int_equal(tables->held_key_count, 3);
    assert_int_equal(lane_waiting(test->env.lane), 2);
    assert_true(span_is(tables->held_keys[0].key.paused, "in"));
    assert_true(span_is(tables->held_keys[0].key.reason, "the limit of topic in, 10/s"));
    int64_t began_ms = clock_monotonic_ms();
    run_until_idle(test, 200);
    const char *calls = lane_test_calls(test);
    assert_non_null(strstr(calls, "[b]"));
    assert_non_null(strstr(calls, "f"));
    assert_true(strstr(calls, "f") < strstr(calls, "g"));
    assert_int_equal(tables->claim_count, 8);
    assert_int_equal(tables->held_count, 0);
    assert_int_equal(tables->attempt_count, 0);
    assert_in_range(clock_monotonic_ms() - began_ms, 500, 2000); /* six more, ten a second */
    lane_test_destroy(test);
}

/* Each value has its own; one event alone is never late. */
static void each_its_own(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "each", "a", "a", "{\"tenant\": \"x\"}");
    lane_test_run(test);
    test->store->next_slot_us = 0; /* another bucket */
    lane_test_event(test, "each", "b", "b", "{\"tenant\": \"y\"}");
    lane_test_run(test);
    test->store->next_slot_us = 0;
    lane_test_event(test, "each", "c", "c", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a] [b] [c]");
    lane_test_destroy(test);
}

static void unavailable_after_a_statement(struct lane_test *test, struct sluice_call *call)
{
    static const struct sluice_sql sql = {"insert into effect"};
    (void)test;
    assert_non_null(call->host->query(call, &sql, 0, NULL));
    call->host->unavailable(call, "the target is down");
}

/* The batch is rolled back for the target: who waits for a slot in it waits for a slot still, not for a time. */
static void beside_one_that_is_unavailable(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    const struct fake_tables *tables = &test->store->tables;
    (void)state;
    lane_test_event(test, "in", "a", "a", "{}");
    lane_test_run(test);
    test->store->next_slot_us += 60000000;
    test->handle = unavailable_after_a_statement;
    atomic_store(&test->env.bindings[pipeline_topic(test->config, "calls")->binding->index].unavailable, 6);
    lane_test_event(test, "in", "b", "b", "{}");
    lane_test_event(test, "calls", "c", "c", "{}");
    lane_test_run_all(test);
    assert_int_equal(tables->held_count, 2);
    size_t waiting = 0;
    for (size_t i = 0; i < tables->held_key_count; i++) {
        const struct fake_held_key *row = &tables->held_keys[i];
        bool limited = span_is(row->key.reason, "the limit of topic in, 10/s");
        if (limited)
            assert_true(span_is(row->key.paused, "in"));
        else
            assert_in_range(row->due_ms - clock_wall_ms(), 1000, 60000);
        waiting += limited;
    }
    assert_int_equal(waiting, 1);
    lane_test_destroy(test);
}

/* What was handled before takes no slot. */
static void duplicates(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "a", "a", "{}");
    lane_test_run(test);
    fake_clock_advance(1000);
    lane_test_event(test, "in", "a", "a", "{}");
    lane_test_run(test);
    lane_test_event(test, "in", "b", "b", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a] [b]");
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_destroy(test);
}

/* The store does not say: nothing is handled, nothing is lost. */
static void nobody_knows(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    fake_store_fail(test->store, "limit_take", 0, 1, STORE_DOWN, "away");
    lane_test_event(test, "in", "a", "a", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(test->store->tables.held_count, 1);
    run_until_idle(test, 20);
    assert_string_equal(lane_test_calls(test), "[a]");
    lane_test_destroy(test);
}

/* Of two places others have one, then both, then none; what waits has no try counted, and its key's order. */
static void at_once(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    struct fake_tables *tables = &test->store->tables;
    (void)state;
    test->store->taken = 1;
    for (char id[2] = "a"; id[0] < 'd'; id[0]++)
        lane_test_event(test, "few", id, id, "{}");
    lane_test_event(test, "few", "b", "e", "{}"); /* behind its key */
    lane_test_event(test, "free", "z", "z", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a] [z]");
    assert_int_equal(tables->held_count, 3);
    assert_true(span_is(tables->held_keys[0].key.reason, "the limit of topic few, 2 at once"));
    test->store->taken = 2;
    run_until_idle(test, 20);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(tables->held_count, 3);
    test->store->taken = 0;
    run_until_idle(test, 200);
    const char *calls = lane_test_calls(test);
    assert_true(strstr(calls, "b") < strstr(calls, "e"));
    assert_int_equal(tables->claim_count, 5);
    assert_int_equal(tables->held_count, 0);
    assert_int_equal(tables->attempt_count, 0);
    lane_test_destroy(test);
}

/* The store does not give places: the batch is rolled back and comes again. */
static void no_places_known(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    fake_store_fail(test->store, "limit_places", 0, 1, STORE_DOWN, "away");
    lane_test_event(test, "few", "a", "a", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "");
    run_until_idle(test, 20);
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_int_equal(test->store->tables.claim_count, 1);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_turn),
                                       cmocka_unit_test(each_its_own),
                                       cmocka_unit_test(duplicates),
                                       cmocka_unit_test(nobody_knows),
                                       cmocka_unit_test(at_once),
                                       cmocka_unit_test(no_places_known),
                                       cmocka_unit_test(beside_one_that_is_unavailable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
