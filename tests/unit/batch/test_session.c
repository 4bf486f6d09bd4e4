/*
 * test_session.c - a handler that changes its database session: named once, and no other handler behind it.
 */
#include "lane_test.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.query, routes: {done: drop, later: drop}}\n"
                           "  order.typed: {handler: work.typed, routes: {done: drop, later: drop}}\n"
                           "  order.plain: {handler: work.handle, routes: {done: drop, later: drop}}\n";

static void query(struct lane_test *test, struct sluice_call *call)
{
    static const struct sluice_sql sql = {"update"};
    bool plain = memmem(call->events[0].topic.at, call->events[0].topic.length, "plain", 5) != NULL;
    (void)test;
    if (!plain && call->host->query(call, &sql, 0, NULL) == NULL)
        return;
    for (uint32_t i = 0; i < call->count; i++)
        call->host->outcome(call, i, 0);
}

static const char named[] = "handler work.query of plugin work changes its database session: role; it is put back";

static void named_once(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = query;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_false(fake_log_has("changes its database session"));
    test->store->changed = "role";
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_run_all(test);
    assert_true(fake_log_has(named));
    fake_base_reset();
    lane_test_event(test, "order.new", "k", "c", "{}");
    lane_test_run_all(test);
    assert_false(fake_log_has("changes its database session"));
    lane_test_destroy(test);
}

/* A rollback keeps advisory locks, for one. */
static void named_after_a_rollback(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = query;
    test->store->changed = "role";
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run(test);
    assert_true(fake_log_has(named));
    lane_test_destroy(test);
}

static void of_two_nobody_in_particular(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = query;
    test->store->changed = "role";
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.typed", "l", "b", "{\"seat\":1}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a] [b]");
    assert_true(fake_log_has("one of the handlers work.typed, work.query, ... changes its database session: role"));
    lane_test_destroy(test);
}

/* What it leaves inside the transaction fails the next handler's first statement: nothing of that is committed. */
static void left_to_the_next_one(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = query;
    test->store->leaves = "role";
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.typed", "l", "b", "{\"seat\":1}");
    lane_test_event(test, "order.new", "m", "c", "{}");
    assert_int_equal(lane_test_run(test), 3);
    assert_string_equal(lane_test_calls(test), "[a c] [b]");
    assert_string_equal(lane_test_ends(test), "");
    assert_true(
        fake_log_has("handler work.query of plugin work changes its database session: role; handlers behind it"));
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a c] [b]");
    assert_string_equal(lane_test_ends(test), "0 2 1");
    assert_int_equal(test->store->tables.attempt_count, 0);
    lane_test_destroy(test);
}

/* Once it is known, other handlers of its batch get a transaction of their own, or go before it. */
static void nobody_behind_it(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = query;
    test->store->changed = "role";
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    (void)lane_test_calls(test);
    lane_test_event(test, "order.new", "k1", "b", "{}");
    lane_test_event(test, "order.typed", "k2", "c", "{\"seat\":1}");
    lane_test_event(test, "order.new", "k3", "d", "{}");
    lane_test_event(test, "order.plain", "k4", "p", "{}"); /* has nothing to do with the database */
    (void)fake_store_calls(test->store);
    assert_int_equal(lane_test_run(test), 4);
    assert_string_equal(lane_test_calls(test), "[b d] [p]");
    lane_test_event(test, "order.new", "k5", "e", "{}");
    assert_int_equal(lane_test_run(test), 2);
    assert_string_equal(lane_test_calls(test), "[c] [e]");
    assert_string_equal(lane_test_ends(test), "0 1 3 4 2 5");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_once),
        cmocka_unit_test(named_after_a_rollback),
        cmocka_unit_test(of_two_nobody_in_particular),
        cmocka_unit_test(left_to_the_next_one),
        cmocka_unit_test(nobody_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
