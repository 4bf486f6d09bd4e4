/*
 * test_server_crash.c - a statement that crashes its server process takes every session with it. Only the crashed one's
 * connection is closed without a word: so its event is told from those that met the crash, and from an outage.
 */
#include "lane_test.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics: {order.new: {handler: work.query, routes: {done: drop, later: drop}}}\n";

static void lose_connection(struct lane_test *test, struct sluice_call *call)
{
    static const struct sluice_sql sql = {"update"};
    test->store->lost_socket = true;
    fake_store_fail(test->store, "exec", 0, 1, STORE_DOWN, "server closed the connection unexpectedly");
    assert_null(call->host->query(call, &sql, 0, NULL));
}

static struct item *one(struct lane_test *test)
{
    lane_test_hold_in_memory(test);
    test->handle = lose_connection;
    return lane_test_event(test, "order.new", "k", "a", "{}");
}

static void again(struct lane_test *test)
{
    lane_test_run_all(test);
    if (lane_waiting(test->env.lane) > 0)
        lane_test_wait(test);
}

/* Every time, another connection is told of the crash, and others are lost. */
static void one_that_crashes_the_server(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    struct item *item = one(test);
    for (int i = 0; i < 2; i++) {
        again(test);
        assert_int_equal(item->condemned, 0);
        assert_int_equal(item->quarantined, i > 0);
        test->store->outages += 3;
        test->store->crashes += 2;
    }
    lane_test_run_all(test);
    assert_header(assert_dead(test, "order.new-dlt", 0, "database"), HEADER_DLT_REASON,
                  "its handler crashed the server process of its database session, alone, 3 times: handler work.query: "
                  "server closed the connection unexpectedly");
    lane_test_destroy(test);
}

/* The server said that it was another one. */
static void one_that_crashes_meet(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    struct item *item = one(test);
    test->store->crash_elsewhere = true;
    for (int i = 0; i < 20; i++) {
        again(test);
        test->store->outages += 3;
        test->store->crashes += 2;
    }
    assert_int_equal(item->condemned, 0);
    assert_int_equal(item->quarantined, 0);
    test->handle = lane_test_obey;
    test->store->lost_socket = test->store->crash_elsewhere = false;
    again(test);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* A machine that stops again and again tells nobody. */
static void one_that_outages_meet(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    struct item *item = one(test);
    test->store->crashes = 1; /* long ago */
    for (int i = 0; i < 20; i++) {
        again(test);
        test->store->outages += 3;
        test->store->crashes += i % 4 == 0; /* now and then a real crash, too */
    }
    assert_int_equal(item->condemned, 0);
    test->handle = lane_test_obey;
    test->store->lost_socket = false;
    again(test);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_crashes_the_server),
        cmocka_unit_test(one_that_crashes_meet),
        cmocka_unit_test(one_that_outages_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
