/*
 * test_held.c - keys that wait for longer than a moment: what is written down, what is not handled meanwhile, and how
 * it comes back.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "base/map.h"
#include "event/record_batch.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "defaults: {retry: {max_retries: 5, backoff: {initial_interval: 60s, multiplier: 1, "
                           "max_interval: 60s, jitter: 0}}}\n"
                           "topics:\n"
                           "  order.new: {handler: work.handle, routes: {done: order.done, later: order.done}}\n"
                           "  order.done: {final: true}\n"
                           "taps:\n"
                           "  look: {topics: [order.new], handler: work.watch, routes: {done: drop}}\n";

/* The first `failures` tries of an id that begins with r fail. */
static int failures;
static void fail_first(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++)
        if (call->events[i].id.at[0] == 'r' && (int)call->events[i].attempt <= failures)
            call->host->retry(call, i, "locked elsewhere");
        else
            call->host->outcome(call, i, 0);
}

static struct lane_test *held_test(enum lane_test_kind kind, int fail)
{
    struct lane_test *test = lane_test_create(yaml, kind);
    failures = fail;
    test->handle = fail_first;
    return test;
}

static void the_head_and_what_is_behind_it(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_OUTBOX, 2);
    const struct fake_tables *tables = &test->store->tables;
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "k", "r", "{}");
    lane_test_event(test, "order.new", "other", "o", "{}");
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_event(test, "order.new", "k", "not json", "}");
    assert_int_equal(lane_test_run(test), 5);
    assert_string_equal(lane_test_calls(test), "[a o] [r]");
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:5 hold:3 unclaim:3 attempts_save:1 outbox_add commit");
    assert_string_equal(lane_test_ends(test), "0 1 2 3 4"); /* no position waits */
    assert_int_equal(tables->held_count, 3);
    assert_int_equal(tables->held_key_count, 1);
    assert_int_equal(tables->held_keys[0].key.events, 3);
    assert_int_equal(tables->held_keys[0].due_ms, clock_wall_ms() + 60000);
    assert_true(span_is(tables->held_keys[0].key.reason, "locked elsewhere"));
    assert_true(span_is(tables->held_keys[0].key.stream, "3"));
    assert_int_equal(tables->held[0].row.partition, LANE_TEST_STREAM);
    assert_int_equal(tables->attempts[0].attempts, 1);
    assert_int_equal(lane_waiting(test->env.lane), 0);

    /* What comes later is appended without a call or a claim, in a batch with others. */
    lane_test_event(test, "order.new", "k", "c", "{}");
    lane_test_event(test, "order.new", "other", "p", "{}");
    lane_test_event(test, "order.new", "k", "d", "{}");
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(lane_test_calls(test), "[p]");
    assert_non_null(strstr(fake_store_calls(test->store), "claim:1 hold:2"));
    assert_int_equal(tables->held_count, 5);
    assert_int_equal(tables->held_keys[0].due_ms, clock_wall_ms() + 60000); /* as it was */

    /* It fails again: its row stays the first. */
    lane_test_wait(test);
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[r]");
    assert_int_equal(tables->held_count, 5);
    assert_int_equal(tables->attempts[0].attempts, 2);
    assert_int_equal(tables->held_keys[0].due_ms, clock_wall_ms() + 60000);
    lane_test_wait(test);
    assert_int_equal(lane_test_run_all(test), 2);
    assert_string_equal(lane_test_calls(test), "[r] [b] [c] [d]");
    assert_holds(assert_dead(test, "order.new-dlt", 0, "bad_json"), "}");
    assert_int_equal(tables->held_count, 0);
    assert_int_equal(tables->held_key_count, 0);
    assert_int_equal(tables->attempt_count, 0);
    assert_int_equal(lane_held_keys(test->env.lane), 0);
    lane_test_event(test, "order.new", "k", "e", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[e]");
    lane_test_destroy(test);
}

/* A process that knows nothing asks first; keys of streams that are not its own are nothing to it. */
static void another_process(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_OUTBOX, 1);
    (void)state;
    lane_test_event(test, "order.new", "k", "r", "{}");
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run(test), 2);
    lane_forget_stored(test->env.lane); /* it died */
    test->revoked = true;
    assert_true(lane_test_load(test, true));
    assert_int_equal(lane_held_keys(test->env.lane), 0);
    test->revoked = false;
    fake_store_fail(test->store, "held_keys", 0, 1, STORE_DOWN, "no database");
    assert_false(lane_test_load(test, true));
    assert_true(lane_test_load(test, true));
    assert_int_equal(lane_stored_keys(test->env.lane), 1);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 60000);
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_calls(test);
    lane_test_run_all(test);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[r] [a] [b]");
    lane_test_destroy(test);
}

/* However many keys are held, a statement that a lane waits for looks at a bounded number of them. */
static void page_by_page(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_OUTBOX, 1);
    struct held_page page = {0};
    char id[8];
    (void)state;
    for (int i = 0; i < LANE_TEST_STORED_MAX; i++) {
        snprintf(id, sizeof id, "r%d", i);
        lane_test_event(test, "order.new", id, id, "{}");
    }
    lane_test_run_all(test);
    lane_forget_stored(test->env.lane);
    test->store->page_most = 3;
    for (size_t known = 3; known < LANE_TEST_STORED_MAX; known += 3) {
        assert_true(held_load(&test->env, false, &page));
        assert_true(page.under_way);
        assert_int_equal(lane_stored_keys(test->env.lane), known);
        fake_store_fail(test->store, "held_keys", 0, 1, STORE_DOWN, "no database");
        assert_false(held_load(&test->env, false, &page)); /* and goes on where it was */
    }
    assert_true(held_load(&test->env, false, &page));
    assert_false(page.under_way);
    assert_int_equal(lane_stored_keys(test->env.lane), LANE_TEST_STORED_MAX);
    assert_in_range(test->store->page_asked, 1, 1000);

    test->revoked = true; /* nothing to look at: the walk is over */
    page.under_way = true;
    assert_true(held_load(&test->env, false, &page));
    assert_false(page.under_way);
    lane_test_destroy(test);
}

/* What was sent and not answered may be there: it is written again rather than overtaken, and found twice. */
static void a_commit_without_a_reply(void **state)
{
    static const enum fake_commit lost[] = {FAKE_COMMIT_APPLIED, FAKE_COMMIT_DROPPED};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct lane_test *test = held_test(LANE_TEST_TRANSACTIONAL, 1);
        lane_test_event(test, "order.new", "k", "r", "{}");
        lane_test_event(test, "order.new", "k", "a", "{}");
        test->store->lost = lost[i];
        assert_int_equal(lane_test_run(test), 2);
        lane_test_event(test, "order.new", "k", "b", "{}");
        lane_test_wait(test);
        lane_test_run_all(test);
        if (lane_due(test->env.lane, clock_monotonic_ms()) != INT64_MAX) { /* it was never tried: now it fails */
            lane_test_wait(test);
            lane_test_run_all(test);
        }
        assert_non_null(strstr(lane_test_calls(test), "[r] [a] [b]"));
        assert_int_equal(test->store->tables.held_count, 0);
        assert_int_equal(test->store->tables.claim_count, 3);
        assert_int_equal(test->store->tables.log_count > 0, true);
        lane_test_destroy(test);
    }
}

/* A process that was removed may not append either, though nothing of that is claimed. */
static void a_removed_process(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_TRANSACTIONAL, 1);
    (void)state;
    atomic_store(&test->member, 7);
    lane_test_event(test, "order.new", "k", "r", "{}");
    assert_int_equal(lane_test_run(test), 1);
    test->store->fenced = true;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_ends(test);
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_ends(test), "");
    assert_int_equal(test->store->tables.held_count, 1);
    test->store->fenced = false;
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_ends(test), "1");
    assert_int_equal(test->store->tables.held_count, 2);
    lane_test_destroy(test);
}

static void the_database_does_not_answer(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_OUTBOX, 1);
    (void)state;
    lane_test_event(test, "order.new", "k", "r", "{}");
    assert_int_equal(lane_test_run(test), 1);
    lane_test_wait(test);
    fake_store_fail(test->store, "held_fetch", 0, 1, STORE_DOWN, "no database");
    assert_int_equal(lane_test_run(test), 0);
    assert_true(fake_log_has("1 held keys are not read now: no database"));
    lane_test_wait(test);
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_destroy(test);
}

/* A row that cannot be read keeps its key, and only that. */
static void a_row_that_cannot_be_read(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_OUTBOX, 1);
    (void)state;
    lane_test_event(test, "order.new", "k", "r", "{}");
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run(test), 2);
    struct span whole = test->store->tables.held[0].row.record;
    test->store->tables.held[0].row.record.length = 3;
    lane_test_wait(test);
    assert_int_equal(lane_test_run(test), 0);
    assert_true(fake_log_has("of sluice.held cannot be read"));
    lane_test_event(test, "order.new", "other", "o", "{}");
    lane_test_calls(test);
    assert_int_equal(lane_test_run(test), 1);
    test->store->tables.held[0].row.record = whole;
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[o] [r] [a]");
    lane_test_destroy(test);
}

/* A handler that had run statements before it found out: they are rolled back, and the event waits without a call. */
static void unavailable_after_a_statement(struct lane_test *test, struct sluice_call *call)
{
    static const struct sluice_sql sql = {"insert into effect"};
    (void)test;
    assert_non_null(call->host->query(call, &sql, 0, NULL));
    call->host->unavailable(call, "the target is down");
}

static void unavailable_with_statements(void **state)
{
    static const char with_query[] = "store: {url: 'postgres://x'}\n"
                                     "topics:\n"
                                     "  order.new: {handler: work.query, routes: {done: drop, later: drop}}\n";
    struct lane_test *test = lane_test_create(with_query, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = unavailable_after_a_statement;
    atomic_store(&test->env.bindings[0].unavailable, 6); /* its pause is 12.8 s by now */
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_ends(test), "");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->store->tables.held_count, 1);
    assert_int_equal(test->store->tables.effect_count, 0);
    assert_in_range(test->store->tables.held_keys[0].due_ms - clock_wall_ms(), 12800, 12800 * 6 / 5);
    lane_test_destroy(test);
}

static const char refused_yaml[] =
    "store: {url: 'postgres://x'}\n"
    "defaults: {retry: {max_retries: 1, backoff: {initial_interval: 60s, max_interval: 60s, jitter: 0}}}\n"
    "topics:\n"
    "  order.new: {handler: work.query, routes: {done: drop, later: drop}}\n";

/* While a handler is stopped its events are written down as they come: other handlers' do not wait for them. */
static void a_handler_that_stopped(void **state)
{
    struct lane_test *test = lane_test_create(refused_yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = lane_test_refused;
    lane_test_refuse = "abcd";
    lane_test_event(test, "order.new", "k1", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{}");
    lane_test_event(test, "order.new", "k1", "c", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_ends(test), "0 1 2");
    for (int i = 0; i < 5; i++) {
        lane_test_wait(test);
        lane_test_run_all(test);
        assert_int_equal(lane_waiting(test->env.lane), 0);
        assert_int_equal(test->store->tables.held_count, 3);
    }
    lane_test_refuse = "";
    for (int i = 0; i < 3 && test->store->tables.held_count > 0; i++) {
        lane_test_wait(test);
        lane_test_run_all(test);
    }
    assert_int_equal(test->store->tables.held_count, 0);
    assert_int_equal(test->store->tables.claim_count, 3);
    assert_int_equal(test->store->tables.attempt_count, 0);
    lane_test_destroy(test);
}

/* The statement passes for others: what this event does to it is its own fault, which is known after it was held. */
static void one_that_is_refused(void **state)
{
    struct lane_test *test = lane_test_create(refused_yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = lane_test_refused;
    lane_test_refuse = "b";
    for (int i = 0; i < 6 && fake_bus_record(&test->bus, "order.new-dlt", 0) == NULL; i++) {
        char id[] = {(char)('p' + i), '\0'};
        lane_test_event(test, "order.new", id, id, "{}");
        if (i == 0)
            lane_test_event(test, "order.new", "k2", "b", "{}");
        lane_test_run_all(test);
        lane_test_wait(test);
        lane_test_run_all(test);
    }
    assert_header(assert_dead(test, "order.new-dlt", 0, "database"), HEADER_ATTEMPTS, "2");
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_destroy(test);
}

/* What was parked has left its key's order: it goes back there, its tries with it, and nobody waits. */
static void a_parked_event_is_parked_again(void **state)
{
    struct lane_test *test = held_test(LANE_TEST_OUTBOX, 5);
    struct record record = {.topic = SPAN("order.new"),
                            .key = SPAN("k"),
                            .value = SPAN("{\"eventId\":\"r\",\"eventName\":\"x\",\"timestamp\":"
                                          "\"2025-01-02T03:04:05Z\",\"data\":{}}")};
    (void)state;
    lane_test_parked(test, &record);
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[r] [a]");
    assert_int_equal(test->store->tables.held_count, 0);
    assert_int_equal(test->store->tables.parked_count, 1);
    assert_int_equal(test->store->tables.parked[0].tries, 1);
    assert_int_equal(test->store->tables.parked[0].due_ms, clock_wall_ms() + 60000);
    assert_int_equal(test->store->tables.attempts[0].attempts, 1);
    assert_int_equal(test->parked_ms, clock_wall_ms() + 60000);
    lane_test_destroy(test);
}

/* Without a store, in a tap that records nothing, and beyond the number of keys that a lane may store: in memory. */
static void what_is_held_in_memory(void **state)
{
    struct lane_test *test = lane_test_create(strchr(yaml, '\n') + 1, LANE_TEST_OUTBOX);
    (void)state;
    failures = 1;
    test->handle = fail_first;
    lane_test_event(test, "order.new", "k", "r", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(lane_waiting(test->env.lane), 1);
    lane_test_destroy(test);

    test = held_test(LANE_TEST_OUTBOX, 1);
    lane_test_of_tap(test, 0);
    lane_test_event(test, "order.new", "k", "r", "{}");
    test->config->groups[1].tap->binding->retry = test->config->defaults.retry;
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->store->tables.held_count, 0);
    lane_test_destroy(test);

    test = held_test(LANE_TEST_OUTBOX, 1);
    char key[8];
    for (int i = 0; i < LANE_TEST_STORED_MAX + 2; i++) {
        snprintf(key, sizeof key, "r%d", i);
        lane_test_event(test, "order.new", key, key, "{}");
        assert_int_equal(lane_test_run(test), 1);
    }
    assert_int_equal(test->store->tables.held_count, LANE_TEST_STORED_MAX);
    assert_int_equal(lane_waiting(test->env.lane), 2);
    assert_int_equal(lane_held_keys(test->env.lane), LANE_TEST_STORED_MAX + 2);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_and_what_is_behind_it), cmocka_unit_test(another_process),
        cmocka_unit_test(a_commit_without_a_reply),       cmocka_unit_test(a_removed_process),
        cmocka_unit_test(the_database_does_not_answer),   cmocka_unit_test(a_row_that_cannot_be_read),
        cmocka_unit_test(a_handler_that_stopped),         cmocka_unit_test(one_that_is_refused),
        cmocka_unit_test(unavailable_with_statements),    cmocka_unit_test(a_parked_event_is_parked_again),
        cmocka_unit_test(what_is_held_in_memory),         cmocka_unit_test(page_by_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
