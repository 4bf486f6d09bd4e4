/*
 * test_retry.c - events that come again: in place, with their key held until then, or from the database.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "base/map.h"
#include "event/record_batch.h"

#define TOPICS                                                                                                         \
    "defaults: {retry: {max_retries: 2, backoff: {initial_interval: 100ms, multiplier: 3, jitter: 0}}}\n"              \
    "topics:\n"                                                                                                        \
    "  order.new:\n"                                                                                                   \
    "    handler: work.handle\n"                                                                                       \
    "    routes:\n"                                                                                                    \
    "      done: order.done\n"                                                                                         \
    "      later: {retry: order.retry, initial_interval: 5s, max_retries: 1, exhausted: order.failed}\n"               \
    "  order.done: {final: true}\n"                                                                                    \
    "  order.failed: {final: true}\n"

static const char yaml[] = "store: {url: 'postgres://x'}\n" TOPICS;

/* The first `failures` tries of an id that begins with r fail. */
static int failures;
static void fail_first(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++)
        if (call->events[i].id.at[0] == 'r' && (int)call->events[i].attempt <= failures)
            call->host->retry(call, i, "locked\nelsewhere");
        else
            call->host->outcome(call, i, 0);
}

static void a_try_counts(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    failures = 2;
    test->handle = fail_first;
    struct item *item = lane_test_event(test, "order.new", "k", "r", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 unclaim:1 attempts_save:1 commit");
    assert_int_equal(test->store->tables.claim_count, 0);
    assert_int_equal(test->store->tables.attempts[0].attempts, 1);
    assert_true(span_is(test->store->tables.attempts[0].reason, "locked elsewhere"));
    assert_int_equal(item->tries, 1);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 100);
    fake_clock_advance(99);
    assert_int_equal(lane_test_run(test), 0);
    fake_clock_advance(1);
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 300);
    assert_int_equal(test->store->tables.attempt_count, 1);
    assert_int_equal(test->store->tables.attempts[0].attempts, 2);
    fake_clock_advance(300);
    fake_store_calls(test->store);
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 attempts_clear:1 outbox_add commit");
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_int_equal(series_value(test->env.bindings[0].retries), 2);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

static void tries_are_exhausted(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    failures = 100;
    test->handle = fail_first;
    lane_test_event(test, "order.new", "k", "r", "{}");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(lane_test_run(test), 1);
        if (i < 2)
            lane_test_wait(test);
    }
    const struct record *dead = assert_dead(test, "order.new-dlt", 0, "retries_exhausted");
    assert_header(dead, HEADER_DLT_REASON, "locked elsewhere; tried 3 times");
    assert_header(dead, HEADER_ATTEMPTS, "3");
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_int_equal(fake_store_claim(test->store, "r")->outcome, OUTCOME_DEAD);
    lane_test_destroy(test);
}

/* What an earlier owner of the partition counted goes on. */
static void tries_of_an_earlier_owner(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    struct intmap *map = intmap_create(4);
    intmap_set(map, attempt_key(test->env.bindings[0].number, event_id_of(SPAN("r"))), (void *)2);
    intmap_set(map, attempt_key(99, event_id_of(SPAN("other"))), (void *)2);
    atomic_store(&test->attempts, map);
    failures = 100;
    test->handle = fail_first;
    lane_test_event(test, "order.new", "k", "r", "{}");
    lane_test_event(test, "order.new", "k2", "rother", "{}");
    assert_int_equal(lane_test_run(test), 2);
    assert_header(assert_dead(test, "order.new-dlt", 0, "retries_exhausted"), HEADER_ATTEMPTS, "3");
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->store->tables.attempts[0].attempts, 1);
    lane_test_destroy(test);
}

/* The keys of a batch: what is behind one that comes again waits, and in order; all others go on. */
static void a_key_is_held(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    failures = 1;
    test->handle = fail_first;
    lane_test_event(test, "order.new", "k", "r", "{}");
    lane_test_event(test, "order.new", "other", "a", "{}");
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_event(test, "order.new", "k", "not json", "}");
    lane_test_event(test, "order.done", "k", "nobody", "{}");
    assert_int_equal(lane_test_run(test), 5);
    assert_string_equal(lane_test_calls(test), "[r a]");
    assert_string_equal(lane_test_ends(test), "1");
    assert_int_equal(lane_waiting(test->env.lane), 4);
    assert_int_equal(lane_held_keys(test->env.lane), 1);
    lane_test_event(test, "order.new", "k", "c", "{}");
    lane_test_event(test, "order.new", "other", "d", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[d]");
    lane_test_wait(test);
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[r] [b] [c]");
    assert_string_equal(lane_test_ends(test), "6 0 2 3 4 5");
    lane_test_destroy(test);
}

/* A duplicate, too: whatever it once emitted, what is behind it stays behind what is before it. */
static void a_duplicate_waits_too(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    failures = 1;
    test->handle = fail_first;
    lane_test_event(test, "order.new", "k", "d", "{}");
    lane_test_run(test);
    lane_test_event(test, "order.new", "k", "r", "{}");
    lane_test_event(test, "order.new", "k", "d", "{}");
    lane_test_event(test, "order.new", "k", "b", "{}");
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(lane_test_calls(test), "[d] [r]");
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_wait(test);
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(lane_test_calls(test), "[r] [b]");
    assert_string_equal(lane_test_ends(test), "1 2 3");
    lane_test_destroy(test);
}

static void unavailable(struct lane_test *test, struct sluice_call *call)
{
    lane_test_obey(test, call);
    if (failures-- > 0)
        call->host->unavailable(call, "the target is down");
}

/* Nothing of the call is kept, nothing is counted, and pauses double up to 30 s. */
static void something_is_unavailable(void **state)
{
    static const int64_t pauses[] = {200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    failures = 10;
    test->handle = unavailable;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{}");
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(lane_test_run(test), 2);
        int64_t due = lane_due(test->env.lane, clock_monotonic_ms()) - clock_monotonic_ms();
        if (due < pauses[i] || due > pauses[i] + pauses[i] / 5)
            fail_msg("pause %zu is %lld ms", i, (long long)due);
        assert_int_equal(test->store->tables.held_count, pauses[i] >= 1000 ? 2 : 0); /* a moment waits in memory */
        fake_clock_advance(due);
    }
    assert_memory_equal(lane_test_ends(test), "0 1 ", 4); /* their positions have not waited */
    assert_int_equal(test->store->tables.claim_count, 0);
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_int_equal(test->bus.count, 0);
    assert_int_equal(lane_test_run(test), 2);
    assert_int_equal(test->store->tables.claim_count, 2);
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_run(test);
    assert_int_equal(lane_held_keys(test->env.lane), 0);
    lane_test_ends(test);
    failures = 1; /* a good call ends the outage: the next one begins at 200 ms */
    lane_test_event(test, "order.new", "k", "c", "{}");
    lane_test_run(test);
    assert_in_range(lane_due(test->env.lane, clock_monotonic_ms()) - clock_monotonic_ms(), 200, 240);
    lane_test_destroy(test);
}

static struct record not_due(struct lane_test *test, const char *id, int64_t ms)
{
    struct header *headers = arena_array(test->arena, struct header, 1);
    headers[0] = (struct header){SPAN(HEADER_NOT_BEFORE),
                                 span_of(arena_format(test->arena, "%lld", (long long)(clock_wall_ms() + ms)))};
    return (struct record){.topic = SPAN("order.retry"),
                           .key = SPAN("k"),
                           .value = span_of(arena_format(test->arena,
                                                         "{\"eventId\":\"%s\",\"eventName\":\"x\",\"timestamp\":"
                                                         "\"2025-01-02T03:04:05Z\",\"data\":{\"retryCount\":1}}",
                                                         id)),
                           .headers = headers,
                           .header_count = 1};
}

/* With a store a step that is not due waits in the database, and its key goes on. */
static void a_step_that_is_not_due(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct record *records, early = not_due(test, "a", 3000), late = not_due(test, "b", 3600000),
                            now = not_due(test, "c", 2);
    size_t count;
    int64_t due = clock_wall_ms() + 3000;
    (void)state;
    lane_test_offer(test, &early);
    lane_test_offer(test, &late); /* never for longer than the ladder could say: 5 s */
    lane_test_offer(test, &now);
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 park:2 outbox_add commit");
    assert_string_equal(lane_test_calls(test), "[c]");
    assert_string_equal(lane_test_ends(test), "0 1 2");
    assert_int_equal(test->parked_ms, due);
    assert_int_equal(test->store->tables.parked[0].due_ms, due);
    assert_int_equal(test->store->tables.parked[0].state, PARKED_WAITING);
    assert_int_equal(test->store->tables.parked[1].due_ms, clock_wall_ms() + 5000);
    assert_int_equal(record_batch_read(test->store->tables.parked[0].record, test->arena, &records, &count, NULL), 0);
    assert_int_equal(records[0].header_count, 1);

    /* It comes from there when it is due (or early, by another clock), and its row goes with its end. */
    fake_store_calls(test->store);
    lane_test_parked(test, &records[0]);
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 unpark:1 outbox_add outbox_done:1 commit");
    assert_int_equal(test->store->tables.parked_count, 1);
    assert_string_equal(lane_test_calls(test), "[a]");
    lane_test_destroy(test);
}

/* Only parked events: a transaction all the same. */
static void only_steps_that_are_not_due(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct record early = not_due(test, "a", 3000);
    (void)state;
    lane_test_offer(test, &early);
    fake_store_fail(test->store, "park", 0, 1, STORE_DOWN, "the server is gone");
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->parked_ms, 0);
    assert_string_equal(lane_test_ends(test), "");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin park:1 commit rollback begin park:1 commit");
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_try_counts),
        cmocka_unit_test(tries_are_exhausted),
        cmocka_unit_test(tries_of_an_earlier_owner),
        cmocka_unit_test(a_key_is_held),
        cmocka_unit_test(a_duplicate_waits_too),
        cmocka_unit_test(something_is_unavailable),
        cmocka_unit_test(a_step_that_is_not_due),
        cmocka_unit_test(only_steps_that_are_not_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
