/*
 * test_after.c - events that need another one before them, as a lane sees it: one that came too early is written down
 * with its key's later ones, and comes when the other was handled, or when its time is over.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "batch/after.h"

#define TOPICS                                                                                                         \
    "store: {url: 'postgres://x'}\n"                                                                                   \
    "topics:\n"                                                                                                        \
    "  try: {handler: work.handle, routes: {done: out, later: {retry: climb, max_retries: 2, exhausted: out}}}\n"      \
    "  in: {handler: work.handle, after: {topic: try, correlate: id, at_most: 10m},"                                   \
    " routes: {done: out, later: out}}\n"                                                                              \
    "  kind: {handler: work.handle, after: {topic: try, correlate: id, at_most: 10m, then: handle},"                   \
    " routes: {done: out, later: out}}\n"                                                                              \
    "  out: {final: true}\n"

/* As the worker does. */
static void look(struct lane_test *test)
{
    after_look(&test->env);
    arena_reset(test->env.arena);
    lane_test_run_all(test);
}

/* Everything that is due until then. */
static void advance(struct lane_test *test, int64_t ms)
{
    fake_clock_advance(ms);
    lane_test_run_all(test);
}

static void waits_and_comes(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    struct fake_tables *tables = &test->store->tables;
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 7}");
    lane_test_event(test, "in", "k", "b", "{\"id\": 8}");  /* behind its key */
    lane_test_event(test, "try", "k", "z", "{\"id\": 9}"); /* the same key of another topic is not held up */
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[z]");
    assert_int_equal(tables->held_count, 2);
    assert_int_equal(tables->held_key_count, 1);
    assert_true(span_is(tables->held_keys[0].key.reason, "waits for try with id=7; then dead letter"));
    assert_int_equal(tables->held_keys[0].due_ms - clock_wall_ms(), 600000);
    assert_int_equal(tables->claim_count, 1); /* what waits has no claim */
    assert_int_equal(lane_waiting(test->env.lane), 0);
    assert_int_equal(test->ready_count, 0);
    look(test);
    assert_string_equal(lane_test_calls(test), "");

    lane_test_event(test, "try", "other", "y", "{\"id\": \"7\"}"); /* the same value, written in another way */
    lane_test_run_all(test);
    assert_int_equal(test->ready_count, 1);
    assert_true(after_due_ms(&test->env) != INT64_MAX);
    look(test);
    assert_string_equal(lane_test_calls(test), "[y] [a]");
    assert_int_equal(tables->held_count, 1); /* the other one waits for itself */
    assert_true(span_is(tables->held_keys[0].key.reason, "waits for try with id=8; then dead letter"));
    lane_test_event(test, "try", "other", "x", "{\"id\": 8}");
    lane_test_run_all(test);
    look(test);
    assert_string_equal(lane_test_calls(test), "[x] [b]");
    assert_int_equal(tables->held_count, 0);
    look(test);
    assert_int_equal(after_due_ms(&test->env), INT64_MAX); /* nobody looks while nothing waits */
    lane_test_event(test, "in", "k", "c", "{\"id\": 8}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[c]");
    lane_test_destroy(test);
}

/* In one batch, in whatever order: nothing is written down. */
static void in_one_batch(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_event(test, "try", "l", "b", "{\"id\": 1}");
    lane_test_event(test, "in", "m", "c", "{\"id\": 1}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b] [a c]");
    assert_null(strstr(test->store->calls, "hold"));
    lane_test_destroy(test);
}

static void time_is_over(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_event(test, "kind", "k", "b", "{\"id\": 1}");
    lane_test_run_all(test);
    advance(test, 590000);
    lane_test_event(test, "in", "k", "c", "{\"id\": 2}"); /* its own time counts from here */
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(test->store->tables.held_count, 3);
    advance(test, 10000);
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_dead(test, "in-dlt", 0, "too_early");
    assert_int_equal(test->store->tables.held_count, 1);
    assert_int_equal(test->store->tables.held_keys[0].due_ms - clock_wall_ms(), 590000);
    advance(test, 590000);
    assert_int_equal(test->store->tables.held_count, 0);
    assert_dead(test, "in-dlt", 1, "too_early");
    lane_test_destroy(test);
}

/* A handler that climbs a ladder has not handled its event yet; the retry's end is that of the event. */
static void a_retry_is_no_end(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_run_all(test);
    lane_test_event(test, "try", "k", "b", "{\"id\": 1, \"do\":\"later\"}");
    lane_test_run_all(test);
    assert_int_equal(test->ready_count, 0);
    lane_test_event(test, "climb", "k", "c", "{\"id\": 1, \"retryCount\": 1}");
    lane_test_run_all(test);
    assert_int_equal(test->ready_count, 1);
    look(test);
    assert_string_equal(lane_test_calls(test), "[b] [c] [a]");
    lane_test_destroy(test);
}

static void no_value(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": null}");
    lane_test_event(test, "try", "k", "b", "{}"); /* nobody can wait for it */
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_dead(test, "in-dlt", 0, "bad_correlation");
    lane_test_destroy(test);
}

/* Delivered again: what is written down already waits, and is handled once. */
static void duplicates(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_run_all(test);
    lane_test_event(test, "try", "k", "b", "{\"id\": 1}");
    lane_test_event(test, "try", "k", "b", "{\"id\": 1}");
    lane_test_run_all(test);
    look(test);
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b] [a]");
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_destroy(test);
}

/* The lane begins again, with what is in the table: its rows say who waits, and who need not. */
static void found_in_the_table(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_event(test, "in", "l", "b", "{\"id\": 2}");
    lane_test_run_all(test);
    lane_forget_stored(test->env.lane);
    test->env.some_wait = false;
    lane_test_event(test, "try", "m", "c", "{\"id\": 1}"); /* the process ends before anybody is told */
    lane_test_run_all(test);
    assert_true(lane_test_load(test, true));
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[c] [a]");
    assert_true(test->env.some_wait);
    lane_test_event(test, "try", "m", "d", "{\"id\": 2}");
    lane_test_run_all(test);
    look(test);
    assert_string_equal(lane_test_calls(test), "[d] [b]");
    lane_test_destroy(test);
}

/* Nothing is asked for topics that nobody waits with. */
static void no_cost(void **state)
{
    struct lane_test *test = lane_test_create("store: {url: 'postgres://x'}\n"
                                              "topics:\n"
                                              "  in: {handler: work.handle, routes: {done: out, later: out}}\n"
                                              "  out: {final: true}\n",
                                              LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_run_all(test);
    assert_null(strstr(test->store->calls, "after"));
    lane_test_destroy(test);
}

/* The reply to the COMMIT that wrote it down is lost: it is looked for all the same. */
static void uncertain(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    test->store->lost = FAKE_COMMIT_APPLIED;
    lane_test_event(test, "in", "k", "a", "{\"id\": 1}");
    lane_test_run(test);
    assert_true(test->env.some_wait);
    lane_test_run_all(test);
    lane_test_event(test, "try", "m", "b", "{\"id\": 1}");
    lane_test_run_all(test);
    look(test);
    assert_string_equal(lane_test_calls(test), "[b] [a]");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_and_comes),    cmocka_unit_test(in_one_batch), cmocka_unit_test(time_is_over),
        cmocka_unit_test(a_retry_is_no_end),  cmocka_unit_test(no_value),     cmocka_unit_test(duplicates),
        cmocka_unit_test(found_in_the_table), cmocka_unit_test(no_cost),      cmocka_unit_test(uncertain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
