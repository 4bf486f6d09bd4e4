/*
 * test_pause.c - what operators have paused: its events wait with their keys, in their order, and no try is counted.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "base/map.h"
#include "batch/pause.h"

#define TOPICS                                                                                                         \
    "topics:\n"                                                                                                        \
    "  order.new: {handler: work.handle, routes: {done: order.done, later: {retry: order.again, initial_interval: "    \
    "1s, max_retries: 2, exhausted: order.done}}}\n"                                                                   \
    "  order.other: {handler: work.handle, routes: {done: order.done, later: order.done}}\n"                           \
    "  order.done: {final: true}\n"                                                                                    \
    "taps:\n"                                                                                                          \
    "  look: {topics: [order.new], handler: work.watch, routes: {done: drop}}\n"                                       \
    "http:\n"                                                                                                          \
    "  listen: 127.0.0.1:0\n"                                                                                          \
    "  requests: {\"POST /ask\": {handler: work.ask, routes: {done: order.new}}}\n"
static const char with_store[] = "store: {url: 'postgres://x'}\n" TOPICS;
static const char without_store[] = TOPICS;

static atomic_uint pauses;

static struct lane_test *pause_test(const char *yaml)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    atomic_store(&pauses, 0);
    test->env.pauses = &pauses;
    return test;
}

/* As run/pauses does, and the lane finds out. */
static void set_paused(struct lane_test *test, const char *topic, bool paused)
{
    atomic_store(&test->env.topics[pipeline_topic(test->config, topic)->index].paused, paused);
    atomic_fetch_add(&pauses, paused ? 1u : -1u);
    pause_resume(&test->env);
}

static void with_a_store(void **state)
{
    struct lane_test *test = pause_test(with_store);
    const struct fake_tables *tables = &test->store->tables;
    (void)state;
    set_paused(test, "order.new", true);
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "l", "b", "{}");
    lane_test_event(test, "order.other", "m", "c", "{}");
    lane_test_event(test, "order.other", "k", "d", "{}"); /* behind its key */
    assert_int_equal(lane_test_run(test), 4);
    assert_string_equal(lane_test_calls(test), "[c]");
    assert_string_equal(lane_test_ends(test), "0 1 2 3"); /* no position waits */
    assert_int_equal(tables->held_count, 3);
    assert_int_equal(tables->held_key_count, 2);
    assert_int_equal(tables->attempt_count, 0);
    assert_int_equal(tables->claim_count, 1);
    assert_true(span_is(tables->held_keys[0].key.paused, "order.new"));
    assert_int_equal(tables->held_keys[0].due_ms, 0);
    assert_int_equal(lane_waiting(test->env.lane), 0);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), INT64_MAX);

    /* What comes is appended; a pause of something else that ends changes nothing. */
    lane_test_event(test, "order.new", "k", "e", "{}");
    assert_int_equal(lane_test_run(test), 1);
    set_paused(test, "order.other", true);
    set_paused(test, "order.other", false);
    assert_int_equal(lane_test_run_all(test), 0);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(tables->held_count, 4);

    set_paused(test, "order.new", false);
    lane_test_event(test, "order.new", "k", "f", "{}");
    lane_test_run_all(test);
    const char *calls = lane_test_calls(test);
    static const char *const order[] = {"a", "d", "e", "f"};
    const char *at = calls;
    for (size_t i = 0; i < 4; i++) {
        at = strstr(at, order[i]);
        assert_non_null(at);
    }
    assert_non_null(strstr(calls, "b"));
    assert_int_equal(tables->held_count, 0);
    assert_int_equal(tables->held_key_count, 0);
    assert_int_equal(tables->claim_count, 6);
    assert_int_equal(lane_held_keys(test->env.lane), 0);
    lane_test_destroy(test);
}

/* Paused again while its events come back: the same order, later. */
static void paused_again(void **state)
{
    struct lane_test *test = pause_test(with_store);
    (void)state;
    set_paused(test, "order.new", true);
    for (char id[2] = "a"; id[0] < 'f'; id[0]++)
        lane_test_event(test, "order.new", "k", id, "{}");
    assert_int_equal(lane_test_run(test), 5);
    set_paused(test, "order.new", false);
    held_fetch(&test->env);
    arena_reset(test->env.arena);
    set_paused(test, "order.new", true);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(test->store->tables.held_count, 5);
    set_paused(test, "order.new", false);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a] [b] [c] [d] [e]");
    lane_test_destroy(test);
}

/* A process that knows nothing: it learns which keys wait for what, and what does not wait any more is due. */
static void another_process(void **state)
{
    (void)state;
    for (int resumed = 0; resumed < 2; resumed++) {
        struct lane_test *test = pause_test(with_store);
        set_paused(test, "order.new", true);
        lane_test_event(test, "order.new", "k", "a", "{}");
        lane_test_event(test, "order.new", "k", "b", "{}");
        assert_int_equal(lane_test_run(test), 2);
        lane_forget_stored(test->env.lane);
        if (resumed)
            set_paused(test, "order.new", false);
        assert_true(lane_test_load(test, true));
        assert_int_equal(lane_stored_keys(test->env.lane), 1);
        lane_test_run_all(test);
        assert_string_equal(lane_test_calls(test), resumed ? "[a] [b]" : "");
        if (!resumed) { /* nobody looks for what the lane knows */
            lane_forget_stored(test->env.lane);
            assert_true(lane_test_load(test, false));
            assert_int_equal(lane_stored_keys(test->env.lane), 0);
        }
        lane_test_destroy(test);
    }
}

/* What was delayed was due, and waits on. */
static void a_parked_event(void **state)
{
    struct lane_test *test = pause_test(with_store);
    const struct fake_tables *tables = &test->store->tables;
    (void)state;
    struct record record = {
        .topic = SPAN("order.new"), .key = SPAN("k"), .value = SPAN("{\"eventId\":\"a\",\"data\":{}}")};
    set_paused(test, "order.new", true);
    lane_test_parked(test, &record);
    lane_test_event(test, "order.other", "k", "b", "{}"); /* its key goes on */
    assert_int_equal(lane_test_run(test), 2);
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_int_equal(tables->parked_count, 1);
    assert_int_equal(tables->parked[0].state, PARKED_PAUSED);
    assert_true(span_is(tables->parked[0].paused, "order.new"));
    assert_int_equal(tables->parked[0].tries, 0);
    assert_int_equal(test->parked_ms, 0); /* no time to look for it again */
    lane_test_destroy(test);
}

/* In memory: without a store, or where no more keys may be stored. */
static void in_memory(void **state)
{
    (void)state;
    for (int stored = 0; stored < 2; stored++) {
        struct lane_test *test = pause_test(stored ? with_store : without_store);
        if (stored)
            lane_test_hold_in_memory(test);
        set_paused(test, "order.new", true);
        lane_test_event(test, "order.new", "k", "a", "{}");
        lane_test_event(test, "order.new", "k", "b", "{}");
        lane_test_event(test, "order.other", "l", "c", "{}");
        lane_test_run_all(test);
        assert_string_equal(lane_test_calls(test), "[c]");
        assert_string_equal(lane_test_ends(test), "2");
        assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), INT64_MAX);
        set_paused(test, "order.new", false);
        lane_test_run_all(test);
        assert_string_equal(lane_test_calls(test), "[a] [b]");
        assert_string_equal(lane_test_ends(test), "0 1");
        lane_test_destroy(test);
    }
}

static void a_tap(void **state)
{
    struct lane_test *test = pause_test(with_store);
    (void)state;
    lane_test_of_tap(test, 0);
    set_paused(test, "order.new", true); /* which the pipeline's own group does not handle; the tap does */
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a]");
    atomic_store(&test->env.bindings[test->config->taps[0].binding->index].paused, true);
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "");
    atomic_store(&test->env.bindings[test->config->taps[0].binding->index].paused, false);
    pause_resume(&test->env);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b]");
    lane_test_destroy(test);
}

static void a_request(void **state)
{
    struct lane_test *test = pause_test(with_store);
    struct lane_test_request ask = {.request = {.body = SPAN("{\"seat\":1}")}};
    (void)state;
    lane_test_of_gateway(test);
    atomic_store(&test->env.bindings[test->config->requests[0].binding->index].paused, true);
    atomic_store(&pauses, 1);
    lane_test_ask(test, &ask);
    lane_test_run_all(test);
    assert_int_equal(ask.status, 503);
    assert_int_equal(ask.answers, 1);
    assert_non_null(strstr(ask.json, "\"error\":\"paused\""));
    assert_string_equal(lane_test_calls(test), "");
    assert_int_equal(test->store->tables.claim_count, 0);
    lane_test_destroy(test);
}

/* A COMMIT whose reply was lost may have handled it: its claim tells, and then it is paused or over. */
static void an_uncertain_commit(void **state)
{
    static const enum fake_commit lost[] = {FAKE_COMMIT_APPLIED, FAKE_COMMIT_DROPPED};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct lane_test *test = pause_test(with_store);
        lane_test_event(test, "order.new", "k", "a", "{}");
        test->store->lost = lost[i];
        assert_int_equal(lane_test_run(test), 1);
        assert_string_equal(lane_test_calls(test), "[a]");
        set_paused(test, "order.new", true);
        lane_test_wait(test);
        lane_test_run_all(test);
        assert_string_equal(lane_test_calls(test), "");
        assert_int_equal(test->store->tables.held_count, lost[i] == FAKE_COMMIT_APPLIED ? 0 : 1);
        assert_int_equal(test->store->tables.claim_count, lost[i] == FAKE_COMMIT_APPLIED ? 1 : 0);
        set_paused(test, "order.new", false);
        lane_test_run_all(test);
        assert_string_equal(lane_test_calls(test), lost[i] == FAKE_COMMIT_APPLIED ? "" : "[a]");
        lane_test_destroy(test);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_a_store),   cmocka_unit_test(paused_again),        cmocka_unit_test(another_process),
        cmocka_unit_test(a_parked_event), cmocka_unit_test(in_memory),           cmocka_unit_test(a_tap),
        cmocka_unit_test(a_request),      cmocka_unit_test(an_uncertain_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
