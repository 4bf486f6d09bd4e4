/*
 * test_fail.c - batches whose transaction did not happen: who runs alone, who waits, and whose try is counted.
 */
#include "lane_test.h"

#include "base/clock.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "defaults: {timeout: 5s, retry: {max_retries: 1, backoff: {initial_interval: 100ms, "
                           "multiplier: 2, jitter: 0}}}\n"
                           "topics:\n"
                           "  order.new: {handler: work.query, routes: {done: order.done, later: drop}}\n"
                           "  order.done: {final: true}\n"
                           "schedules:\n"
                           "  sweep: {every: 1s, handler: work.tick, routes: {done: order.done}}\n";

static struct lane_test *three(void)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    lane_test_event(test, "order.new", "k1", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{}");
    lane_test_event(test, "order.new", "k1", "c", "{}");
    return test;
}

/* The statement of a call that has event b fails with `bad`, after `takes_ms`. */
static enum store_result bad;
static int64_t takes_ms;
static void fail_on_b(struct lane_test *test, struct sluice_call *call)
{
    static const struct sluice_sql sql = {"update"};
    for (uint32_t i = 0; i < call->count; i++)
        if (call->events[i].id.at[0] == 'b')
            fake_store_fail(test->store, "exec", 0, 1, bad, "value too long");
    fake_clock_advance(takes_ms);
    if (call->host->query(call, &sql, 0, NULL) == NULL)
        return;
    for (uint32_t i = 0; i < call->count; i++)
        call->host->outcome(call, i, 0);
}

/* Runs what may run, then waits for what is due, `times` times. */
static void run_and_wait(struct lane_test *test, int times)
{
    for (int i = 0; i < times; i++) {
        lane_test_run_all(test);
        lane_test_wait(test);
    }
    lane_test_run_all(test);
}

/* Only the culprit pays, by its `retry:`; each try is counted in a transaction that calls no handler. */
static void bad_data_of_one(void **state)
{
    struct lane_test *test = three();
    (void)state;
    test->handle = fail_on_b;
    bad = STORE_DATA;
    takes_ms = 0;
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(fake_store_calls(test->store), "begin claim:3 exec rollback");
    assert_int_equal(lane_test_run(test), 1);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a b] [a] [b] [c]");
    assert_int_equal(test->store->tables.attempt_count, 1);
    assert_string_equal(lane_test_ends(test), "0 2");
    lane_test_wait(test);
    lane_test_event(test, "order.new", "k3", "d", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[d] [b]"); /* never with others again */
    const struct record *dead = assert_dead(test, "order.new-dlt", 0, "database");
    assert_header(dead, HEADER_DLT_REASON, "handler work.query: value too long; tried 2 times");
    assert_header(dead, HEADER_ATTEMPTS, "2");
    assert_int_equal(test->store->tables.effect_count, 3);
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_string_equal(lane_test_ends(test), "3 1");
    assert_int_equal(test->sleep_count, 0);
    assert_int_equal(test->env.store_failures, 0);
    lane_test_destroy(test);
}

/* The transaction that counts the try fails, too: a dead letter at once. */
static void a_try_that_cannot_be_counted(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = fail_on_b;
    bad = STORE_DATA;
    takes_ms = 0;
    lane_test_event(test, "order.new", "k", "b", "{}");
    assert_int_equal(lane_test_run(test), 1);
    fake_store_fail(test->store, "attempts_save", 0, 1, STORE_DATA, "reason too long");
    lane_test_run_all(test);
    assert_dead(test, "order.new-dlt", 0, "database");
    assert_string_equal(lane_test_calls(test), "[b]");
    lane_test_destroy(test);
}

/* Bad data at COMMIT is nobody's in particular, until each was alone. */
static void bad_data_at_commit(void **state)
{
    struct lane_test *test = three();
    (void)state;
    fake_store_fail(test->store, "commit", 0, 1, STORE_DATA, "deferred check");
    assert_int_equal(lane_test_run(test), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[a b] [c] [a] [b] [c]");
    assert_string_equal(lane_test_ends(test), "0 1 2");
    assert_int_equal(test->bus.count, 3);
    lane_test_destroy(test);
}

/* Twice a whole batch may lose against another; after the third time its events run alone. */
static void transient(void **state)
{
    struct lane_test *test = three();
    (void)state;
    fake_store_fail(test->store, "claim", 0, 3, STORE_TRANSIENT, "deadlock detected");
    for (int i = 0; i < 3; i++)
        assert_int_equal(lane_test_run(test), 3);
    assert_int_equal(test->env.store_failures, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[a] [b] [c]");
    assert_string_equal(lane_test_ends(test), "0 1 2");
    assert_int_equal(test->sleep_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_in_range(test->slept_ms[i], 1, 21);
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_int_equal(test->env.store_failures, 0);
    lane_test_destroy(test);
}

/* An event alone whose call runs past its deadline has failed a try; one that is in time has met an outage. */
static void past_its_deadline(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_hold_in_memory(test);
    test->handle = fail_on_b;
    bad = STORE_TRANSIENT;
    takes_ms = 5000;
    struct item *item = lane_test_event(test, "order.new", "k", "b", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(item->failed, DEAD_DEADLINE);
    assert_int_equal(test->store->deadline_ms, 5000000 + 5000);
    takes_ms = 4990;
    for (int i = 0; i < 3; i++)
        run_and_wait(test, 1);
    assert_int_equal(item->tries, 1);
    bad = STORE_DEADLINE; /* the server's limit, whenever it was */
    takes_ms = 0;
    run_and_wait(test, 1);
    assert_header(assert_dead(test, "order.new-dlt", 0, "deadline"), HEADER_DLT_REASON,
                  "handler work.query: value too long; tried 2 times");
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* Nothing was answered before the deadline: the first time, it may be the server that hangs. */
static void no_answer_before_its_deadline(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = fail_on_b;
    test->store->lost_socket = true;
    bad = STORE_TRANSIENT;
    takes_ms = 5000;
    struct item *item = lane_test_event(test, "order.new", "k", "b", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(item->failed, 0);
    lane_test_wait(test);
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(item->failed, DEAD_DEADLINE);
    lane_test_destroy(test);
}

static void waiting_for_a_claim(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->store->takes_ms = 3000; /* begin and claim: past the deadline, and no handler was called */
    fake_store_fail(test->store, "claim", 0, 5, STORE_TRANSIENT, "lock timeout");
    struct item *item = lane_test_event(test, "order.new", "k", "a", "{}");
    for (int i = 0; i < 5; i++)
        assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(item->failed, 0);
    lane_test_run(test);
    assert_string_equal(lane_test_ends(test), "0");
    assert_published(test, "order.done", 0);
    lane_test_destroy(test);
}

static void commit_late(struct lane_test *test, struct sluice_call *call)
{
    lane_test_obey(test, call);
    fake_clock_advance(60000);
}

static void of_many_nobody_is_past_it(void **state)
{
    struct lane_test *test = three();
    (void)state;
    test->handle = commit_late;
    fake_store_fail(test->store, "commit", 0, 4, STORE_TRANSIENT, "canceled");
    for (int i = 0; i < 3; i++)
        assert_int_equal(lane_test_run(test), 3);
    assert_int_equal(lane_test_run(test), 1); /* alone from here on */
    lane_test_run_all(test);
    assert_null(fake_bus_record(&test->bus, "order.new-dlt", 0));
    assert_string_equal(lane_test_ends(test), "1 0 2");
    lane_test_destroy(test);
}

/* An outage is waited for, with pauses that grow to a second, and costs nobody anything. */
static void the_server_is_down(void **state)
{
    static const int64_t pauses[] = {60, 120, 240, 480, 960, 1000, 1000, 1000};
    static const char *const functions[] = {"begin", "claim", "outbox_add", "commit"};
    (void)state;
    for (size_t f = 0; f < 4; f++) {
        struct lane_test *test = three();
        fake_store_fail(test->store, functions[f], 0, f < 2 ? 8 : 1, STORE_DOWN, "connection refused");
        if (f >= 2) /* lost while a batch ran; then there is no server */
            fake_store_fail(test->store, "begin", 1, 7, STORE_DOWN, "connection refused");
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(lane_test_run(test), 3);
            assert_int_equal(test->sleep_count, i + 1);
            assert_int_equal(test->slept_ms[i], pauses[i]);
        }
        assert_string_equal(lane_test_ends(test), "");
        assert_true(fake_log_has("down: connection refused; the batch runs again"));
        assert_int_equal(test->store->tables.claim_count, 0);
        assert_int_equal(lane_test_run(test), 3);
        assert_string_equal(lane_test_ends(test), "0 1 2");
        assert_int_equal(test->store->tables.attempt_count, 0);
        assert_int_equal(test->bus.count, 3);
        assert_int_equal(test->env.store_failures, 0);
        lane_test_destroy(test);
    }
}

static enum store_result ending; /* what the server's answer to a call that has event b is */
static void end_session(struct lane_test *test, struct sluice_call *call)
{
    bad = ending;
    takes_ms = 0;
    test->store->lost_socket = false;
    for (uint32_t i = 0; i < call->count; i++)
        if (call->events[i].id.at[0] == 'b')
            test->store->lost_socket = true;
    fail_on_b(test, call);
}

/* Batches with event b lose their connection, and no others: after three of them each event runs alone, and after five
 * that are b's own it is a dead letter. Only its key waits meanwhile. */
static void one_that_ends_its_session(void **state)
{
    struct lane_test *test = three();
    (void)state;
    test->handle = end_session;
    ending = STORE_DOWN;
    for (int i = 0; i < 3; i++)
        assert_int_equal(lane_test_run(test), 3);
    assert_int_equal(test->sleep_count, 3);
    lane_test_run_all(test);
    assert_string_equal(lane_test_ends(test), "0 2");
    run_and_wait(test, 4);
    assert_int_equal(test->sleep_count, 3);
    assert_header(assert_dead(test, "order.new-dlt", 0, "database"), HEADER_DLT_REASON,
                  "its handler ended the connection to the database, alone, 5 times: handler work.query: value too "
                  "long");
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_string_equal(lane_test_ends(test), "1");
    lane_test_destroy(test);
}

/* Others lose theirs, too: an outage, however often it meets the same event. */
static void one_that_outages_meet(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_hold_in_memory(test);
    test->handle = end_session;
    ending = STORE_DOWN;
    struct item *item = lane_test_event(test, "order.new", "k", "b", "{}");
    for (int i = 0; i < 20; i++) {
        test->store->outages += i % 4 == 2;
        run_and_wait(test, 1);
    }
    assert_int_equal(item->condemned, 0);
    assert_int_equal(item->tries, 0);
    assert_true(fake_log_has("down: handler work.query: value too long; event b on order.new waits, and its key"));
    ending = STORE_TRANSIENT; /* refused, as by a server that it asks in turn: its key waits as long as that takes */
    for (int i = 0; i < 20; i++)
        run_and_wait(test, 1);
    assert_int_equal(item->condemned, 0);
    assert_string_equal(lane_test_ends(test), "");
    test->handle = lane_test_obey;
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* --------------------------------------------------------------------------------------- handlers that are refused */

static int64_t stopped(const struct lane_test *test)
{
    return series_value(test->env.bindings[pipeline_topic(test->config, "order.new")->binding->index].stop.series);
}

/* The table is not there yet: everybody waits, tried again every two seconds, and nobody's try is counted. */
static void a_handler_stops_and_runs_again(void **state)
{
    struct lane_test *test = three();
    (void)state;
    lane_test_hold_in_memory(test);
    test->handle = lane_test_refused;
    lane_test_refuse = "abcd";
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a b] [a] [b]"); /* the second one stops the handler; c is behind a */
    assert_int_equal(stopped(test), 1);
    assert_true(fake_log_has("handler work.query of plugin work has stopped: handler work.query: no such table; its "
                             "events wait and are tried again every 2 s"));
    lane_test_event(test, "order.new", "k4", "d", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "");
    for (int i = 0; i < 5; i++) {
        lane_test_wait(test);
        lane_test_run_all(test);
        assert_true(strlen(lane_test_calls(test)) < 24); /* together, and one or two alone */
        assert_int_equal(lane_waiting(test->env.lane), 4);
    }
    lane_test_refuse = "";
    run_and_wait(test, 2);
    assert_string_equal(lane_test_ends(test), "1 3 0 2");
    assert_int_equal(stopped(test), 0);
    assert_true(fake_log_has("handler work.query runs again"));
    assert_int_equal(test->store->tables.attempt_count, 0);
    assert_int_equal(test->sleep_count, 0);
    lane_test_destroy(test);
}

/* The same statement passes for others: what this event does to it is its own fault. */
static void one_that_is_refused(void **state)
{
    struct lane_test *test = three();
    (void)state;
    lane_test_hold_in_memory(test);
    test->handle = lane_test_refused;
    lane_test_refuse = "b";
    lane_test_run_all(test);
    assert_string_equal(lane_test_ends(test), "0 2");
    assert_int_equal(stopped(test), 0); /* until it was refused, and c passed */
    run_and_wait(test, 2);
    assert_header(assert_dead(test, "order.new-dlt", 0, "database"), HEADER_DLT_REASON,
                  "handler work.query: no such table; tried 2 times");
    assert_string_equal(lane_test_ends(test), "1");
    lane_test_destroy(test);
}

/* Nobody else is there to tell: it waits. */
static void a_single_one_that_is_refused(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_hold_in_memory(test);
    test->handle = lane_test_refused;
    lane_test_refuse = "b";
    struct item *item = lane_test_event(test, "order.new", "k", "b", "{}");
    run_and_wait(test, 10);
    assert_int_equal(stopped(test), 1);
    assert_int_equal(item->failed, 0);
    lane_test_event(test, "order.new", "k2", "a", "{}");
    lane_test_run(test); /* and nobody waits with it */
    assert_string_equal(lane_test_ends(test), "1");
    assert_int_equal(stopped(test), 0);
    lane_test_destroy(test);
}

static void the_schema_is_another(void **state)
{
    struct lane_test *test = three();
    (void)state;
    fake_store_fail(test->store, "claim", 0, 5, STORE_DEPLOY, "relation sluice.inbox does not exist");
    for (int i = 0; i < 5; i++)
        assert_int_equal(lane_test_run(test), 3); /* and never alone */
    assert_int_equal(test->slept_ms[0], 1000);
    assert_true(fake_log_has("the database schema does not match this version; processing has stopped: relation "
                             "sluice.inbox does not exist"));
    assert_int_equal(lane_test_run(test), 3);
    lane_test_destroy(test);
}

/* A peer removed this process's membership: nothing is committed until it has joined again. */
static void fenced(void **state)
{
    struct lane_test *test = three();
    (void)state;
    atomic_store(&test->member, 9);
    test->store->fenced = true;
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(fake_store_calls(test->store), "begin claim:3 rollback");
    assert_string_equal(lane_test_calls(test), "");
    assert_true(fake_log_has("fenced: member 9 is removed; the batch runs again"));
    test->store->fenced = false;
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(lane_test_ends(test), "0 1 2");
    lane_test_destroy(test);
}

static bool stops(struct lane_test *test, int64_t ms)
{
    (void)test, (void)ms;
    return false;
}

/* The engine stops meanwhile: its items are back in the lane, from where they are dropped. */
static void stopped_meanwhile(void **state)
{
    struct lane_test *test = three();
    (void)state;
    test->on_sleep = stops;
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "connection refused");
    assert_int_equal(lane_test_run(test), 3);
    assert_int_equal(test->sleep_count, 1);
    assert_int_equal(lane_waiting(test->env.lane), 3);
    assert_string_equal(lane_test_ends(test), "");
    lane_test_destroy(test);
}

/* A tick is dropped: the next one comes by itself. */
static void a_tick(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_of_gateway(test);
    fake_store_fail(test->store, "tick", 0, 1, STORE_DOWN, "connection refused");
    lane_test_tick(test, 0, 1000);
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin tick rollback");
    assert_string_equal(lane_test_calls(test), "");
    assert_string_equal(lane_test_ends(test), "0!");
    assert_int_equal(lane_waiting(test->env.lane), 0);
    lane_test_tick(test, 0, 2000);
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[sweep-2000]");
    assert_string_equal(lane_test_ends(test), "1");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_data_of_one),       cmocka_unit_test(a_try_that_cannot_be_counted),
        cmocka_unit_test(bad_data_at_commit),    cmocka_unit_test(transient),
        cmocka_unit_test(past_its_deadline),     cmocka_unit_test(no_answer_before_its_deadline),
        cmocka_unit_test(waiting_for_a_claim),   cmocka_unit_test(of_many_nobody_is_past_it),
        cmocka_unit_test(the_server_is_down),    cmocka_unit_test(one_that_ends_its_session),
        cmocka_unit_test(one_that_outages_meet), cmocka_unit_test(a_handler_stops_and_runs_again),
        cmocka_unit_test(one_that_is_refused),   cmocka_unit_test(a_single_one_that_is_refused),
        cmocka_unit_test(the_schema_is_another), cmocka_unit_test(fenced),
        cmocka_unit_test(stopped_meanwhile),     cmocka_unit_test(a_tick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
