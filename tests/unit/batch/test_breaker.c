/*
 * test_breaker.c - the breaker of a dependency as a lane sees it: calls that fail are counted, one event is let through
 * while it is half-open, and no try is counted.
 */
#include "lane_test.h"

#include "batch/breaker.h"
#include "batch/pause.h"

#define TOPICS                                                                                                         \
    "store: {url: 'postgres://x'}\n"                                                                                   \
    "dependencies: {gate: {failures: 3, window: 10s, open: 5s}}\n"                                                     \
    "topics:\n"                                                                                                        \
    "  in: {handler: work.single, dependency: gate, routes: {done: out, later: out}}\n"                                \
    "  free: {handler: work.handle, routes: {done: out, later: out}}\n"                                                \
    "  out: {final: true}\n"

static atomic_uint pauses;
static struct dependency_run gate;
static bool away;
static const char *words;

static void answer(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    if (away && call->events[0].topic.length == 2)
        call->host->unavailable(call, words);
    else
        for (size_t n = 0; n < call->count; n++)
            call->host->outcome(call, n, 0);
}

static struct lane_test *breaker_test(void)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    gate = (struct dependency_run){0};
    pthread_mutex_init(&gate.lock, NULL);
    atomic_store(&pauses, 0);
    test->env.pauses = &pauses;
    test->env.dependencies = &gate;
    test->handle = answer;
    away = true;
    words = "nobody there";
    return test;
}

/* As run/pauses does. */
static void tell(struct lane_test *test, int state)
{
    struct topic_run *run = &test->env.topics[pipeline_topic(test->config, "in")->index];
    test->store->tables.breaker = state;
    atomic_store(&run->paused, state != FAKE_CLOSED);
    atomic_store(&run->half_open, state == FAKE_HALF_OPEN);
    atomic_store(&pauses, state != FAKE_CLOSED);
    pause_resume(&test->env);
    arena_reset(test->env.arena);
}

static void failures_are_counted(void **state)
{
    struct lane_test *test = breaker_test();
    (void)state;
    lane_test_event(test, "in", "k", "a", "{}");
    lane_test_event(test, "in", "l", "b", "{}");
    lane_test_event(test, "free", "m", "c", "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a] [b] [c]");
    assert_int_equal(atomic_load(&gate.failures), 2);
    assert_string_equal(gate.words, "nobody there");
    assert_int_equal(test->store->tables.attempt_count, 0);
    away = false;
    for (int i = 0; i < 2; i++) { /* their waits are not of one length */
        lane_test_wait(test);
        lane_test_run_all(test);
    }
    assert_int_equal(strlen(lane_test_calls(test)), strlen("[a] [b]"));
    assert_int_equal(atomic_load(&gate.failures), 2);
    lane_test_destroy(test);
}

/* Longer than what is kept: it is cut, and no letter is torn, which the database would not take. */
static void a_long_answer_stays_text(void **state)
{
    char answers[2][401];
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct lane_test *test = breaker_test();
        for (size_t i = 0; i < 400; i++)
            answers[n][i] = i % 2 == n ? '\xc3' : i == 0 ? 'e' : '\xa9';
        answers[n][400] = '\0';
        words = answers[n];
        lane_test_event(test, "in", "k", "a", "{}");
        lane_test_run(test);
        struct span kept = span_of(gate.words);
        assert_int_equal(atomic_load(&gate.failures), 1);
        assert_int_equal(kept.length, DEPENDENCY_WORDS_MAX - 1);
        assert_int_equal(span_utf8(kept), kept.length);
        lane_test_destroy(test);
    }
}

static void one_is_let_through(void **state)
{
    struct lane_test *test = breaker_test();
    (void)state;
    tell(test, FAKE_OPEN);
    for (char id[2] = "a"; id[0] < 'e'; id[0]++)
        lane_test_event(test, "in", id, id, "{}");
    lane_test_event(test, "in", "a", "e", "{}");
    assert_int_equal(lane_test_run(test), 5);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(test->store->tables.held_count, 5);

    tell(test, FAKE_HALF_OPEN); /* it fails: open again, and what was let through waits as before */
    lane_test_run_all(test);
    assert_int_equal(strlen(lane_test_calls(test)), 3);
    assert_int_equal(test->store->tables.breaker, FAKE_OPEN);
    assert_int_equal(test->store->tables.held_count, 5);
    assert_false(atomic_load(&gate.trying));
    assert_int_equal(atomic_load(&gate.failures), 0);

    tell(test, FAKE_HALF_OPEN); /* another process has one */
    test->store->tables.breaker_locked = true;
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "");
    assert_false(atomic_load(&gate.trying));
    test->store->tables.breaker_locked = false;

    away = false;
    tell(test, FAKE_HALF_OPEN);
    lane_test_run_all(test);
    assert_int_equal(test->store->tables.breaker, FAKE_CLOSED);
    size_t length = strlen(lane_test_calls(test));
    assert_true(length == 3 || length == 0); /* what is behind it in its key waits for the keeper */
    tell(test, FAKE_CLOSED);
    lane_test_run_all(test);
    assert_int_equal(test->store->tables.claim_count, 5);
    assert_int_equal(test->store->tables.held_count, 0);
    assert_int_equal(test->store->tables.attempt_count, 0);
    lane_test_destroy(test);
}

/* Its transaction is lost after the call: nobody knows, and the next one tries. */
static void a_try_that_is_rolled_back(void **state)
{
    struct lane_test *test = breaker_test();
    (void)state;
    tell(test, FAKE_OPEN);
    lane_test_event(test, "in", "a", "a", "{}");
    lane_test_run(test);
    away = false;
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "away");
    tell(test, FAKE_HALF_OPEN);
    lane_test_run(test);
    assert_false(atomic_load(&gate.trying));
    assert_int_equal(test->store->tables.breaker, FAKE_HALF_OPEN);
    assert_int_equal(test->store->tables.held_count, 1);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_int_equal(test->store->tables.breaker, FAKE_CLOSED);
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(failures_are_counted),
                                       cmocka_unit_test(a_long_answer_stays_text), cmocka_unit_test(one_is_let_through),
                                       cmocka_unit_test(a_try_that_is_rolled_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
