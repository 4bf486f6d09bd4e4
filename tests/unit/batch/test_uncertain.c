/*
 * test_uncertain.c - COMMIT was sent and its reply was lost: the batch runs again, and its claims tell whether the row
 * in sluice.outbox is there.
 */
#include "lane_test.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.handle, routes: {done: order.done, later: drop}}\n"
                           "  order.done: {final: true}\n"
                           "taps:\n"
                           "  audit: {topics: ['order.*'], handler: work.watch}\n"
                           "schedules:\n"
                           "  sweep: {every: 1s, handler: work.tick, routes: {done: order.done}}\n";

static struct lane_test *after_a_lost_reply(enum fake_commit lost)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    test->store->lost = lost;
    lane_test_event(test, "order.new", "k", "a", "{\"n\":1}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outbox_add commit rollback");
    assert_int_equal(test->bus.publishes, 0); /* nobody knows yet */
    assert_string_equal(lane_test_ends(test), "");
    assert_int_equal(test->env.outbox.uncertain_count, 1);
    assert_int_equal(test->slept_ms[0], 60);
    assert_int_equal(test->store->tables.outbox_count, lost == FAKE_COMMIT_APPLIED);
    return test;
}

/* It was committed: the handler is not asked again, and the row is published before anything behind it. */
static void it_was_committed(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    lane_test_event(test, "order.new", "k", "b", "{\"n\":2}");
    assert_int_equal(lane_test_run(test), 2);
    assert_string_equal(fake_store_calls(test->store), "begin claim:2 outbox_of_claims:1 outbox_add commit "
                                                       "begin outbox_lock:1 outbox_done:1 commit");
    assert_string_equal(lane_test_calls(test), "[a] [b]");
    assert_string_equal(lane_test_ends(test), "0 1");
    assert_holds(assert_published(test, "order.done", 0), "\"n\":1");
    assert_holds(assert_published(test, "order.done", 1), "\"n\":2");
    assert_int_equal(test->bus.count, 2);
    assert_int_equal(test->env.outbox.uncertain_count, 0);

    lane_test_event(test, "order.new", "k", "c", "{\"do\":\"later\"}");
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outcomes:1 outbox_done:1 commit");
    assert_int_equal(test->store->tables.outbox_count, 0);
    lane_test_destroy(test);
}

/* It was not: the batch just happens, once. */
static void it_was_not(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_DROPPED);
    (void)state;
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outbox_add commit begin outbox_lock:1 rollback");
    assert_string_equal(lane_test_calls(test), "[a] [a]");
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->bus.count, 1);
    assert_holds(assert_published(test, "order.done", 0), "\"n\":1");
    assert_int_equal(test->env.outbox.uncertain_count, 0);
    assert_int_equal(test->store->tables.outbox_count, 1); /* that of the second batch */
    lane_test_destroy(test);
}

/* Again lost, and again: each row is asked for. */
static void lost_twice(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_DROPPED);
    (void)state;
    test->store->lost = FAKE_COMMIT_APPLIED;
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->env.outbox.uncertain_count, 2);
    fake_store_calls(test->store);
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:1 outbox_of_claims:1 commit begin outbox_lock:2 outbox_done:1 commit");
    assert_int_equal(test->bus.count, 1);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* A batch without claims says nothing about the row: it stays uncertain. */
static void only_claims_tell(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    struct lane_entry *taken[1];
    (void)state;
    assert_int_equal(lane_take(test->env.lane, INT64_MAX - 1, 1, taken), 1);
    lane_done(test->env.lane, taken[0]);
    lane_test_event(test, "order.done", "k", "x", "{}"); /* nobody handles it */
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "");
    assert_int_equal(test->env.outbox.uncertain_count, 1);
    assert_int_equal(test->bus.publishes, 0);
    struct item *item = (struct item *)taken[0];
    items_free(&item, 1);
    lane_test_destroy(test);
}

static bool bus_comes_back(struct lane_test *test, int64_t ms)
{
    (void)ms;
    assert_true(test->sleep_count <= 4);
    return true;
}

/* Bus and database are waited for: nothing behind it goes ahead. */
static void waits_for_bus_and_database(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    test->on_sleep = bus_comes_back;
    test->bus.down = 2;
    fake_store_fail(test->store, "outbox_lock", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:1 outbox_of_claims:1 commit begin outbox_lock:1 rollback "
                        "begin outbox_lock:1 rollback begin outbox_lock:1 rollback "
                        "begin outbox_lock:1 outbox_done:1 commit");
    assert_int_equal(test->sleep_count, 4);
    assert_int_equal(test->slept_ms[3], 200);
    assert_int_equal(test->bus.count, 1);
    assert_int_equal(test->env.outbox.uncertain_count, 0);
    assert_true(fake_log_has("what an earlier COMMIT emitted must be published before these keys go on"));
    lane_test_destroy(test);
}

/* The sweeper tells apart what is refused. */
static void refused(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    fake_bus_refuse(&test->bus, "order.done", -EMSGSIZE);
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:1 outbox_of_claims:1 commit begin outbox_lock:1 outbox_release:1 commit");
    assert_int_equal(test->store->tables.outbox_count, 1);
    assert_int_equal(test->store->tables.outbox[0].owner, 0);
    assert_int_equal(test->env.outbox.uncertain_count, 0);
    assert_int_equal(test->env.outbox.published_count, 0);
    lane_test_destroy(test);
}

/* Its partition is revoked: whoever takes it over publishes the row. */
static void released(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    fake_store_fail(test->store, "outbox_release", 0, 1, STORE_DOWN, "the server is gone");
    outbox_release_uncertain(&test->env);
    assert_string_equal(fake_store_calls(test->store), "begin outbox_release:1 commit rollback");
    assert_int_equal(test->store->tables.outbox[0].owner, LANE_TEST_OWNER);
    assert_int_equal(test->env.outbox.uncertain_count, 1); /* later, then */
    assert_true(outbox_needs_settling(&test->env.outbox));
    outbox_release_uncertain(&test->env);
    assert_int_equal(test->store->tables.outbox[0].owner, 0);
    assert_false(outbox_needs_settling(&test->env.outbox));
    outbox_release_uncertain(&test->env);
    assert_string_equal(fake_store_calls(test->store), "begin outbox_release:1 commit"); /* nothing twice */
    lane_test_destroy(test);
}

static void release_at_once(struct lane_test *test)
{
    outbox_release_uncertain(&test->env);
    assert_string_equal(fake_store_calls(test->store), "begin outbox_release:1 commit");
}

static void release_late(struct lane_test *test)
{
    fake_store_fail(test->store, "outbox_release", 0, 1, STORE_DOWN, "the server is gone");
    outbox_release_uncertain(&test->env);
    outbox_settle(&test->env);
    assert_string_equal(fake_store_calls(test->store), "begin outbox_release:1 commit rollback "
                                                       "begin outbox_release:1 commit");
}

/* Other partitions were revoked, or its own came back before the row was released: nobody else may have published it
 * when its events come again, and the row does not say any more that it is theirs. */
static void released_and_met_again(void **state)
{
    static void (*const releases[])(struct lane_test * test) = {release_at_once, release_late};
    (void)state;
    for (size_t i = 0; i < sizeof releases / sizeof releases[0]; i++) {
        struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
        releases[i](test);
        lane_test_event(test, "order.new", "k", "b", "{\"n\":2}");
        assert_int_equal(lane_test_run(test), 2);
        assert_string_equal(fake_store_calls(test->store), "begin claim:2 outbox_of_claims:1 outbox_add commit "
                                                           "begin outbox_lock:1 outbox_done:1 commit");
        assert_string_equal(lane_test_ends(test), "0 1");
        assert_holds(assert_published(test, "order.done", 0), "\"n\":1");
        assert_holds(assert_published(test, "order.done", 1), "\"n\":2");
        assert_int_equal(test->env.outbox.uncertain_count, 0);
        lane_test_destroy(test);
    }
}

/* Whoever took its events over has published it: there is nothing to do, and no trace of it is left. */
static void released_and_published_elsewhere(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    outbox_release_uncertain(&test->env);
    test->store->tables.outbox_count = 0;
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store), "begin outbox_release:1 commit "
                                                       "begin claim:1 outbox_of_claims:1 commit "
                                                       "begin outbox_lock:1 rollback");
    assert_int_equal(test->bus.publishes, 0);
    assert_int_equal(test->env.outbox.uncertain_count, 0);
    lane_test_destroy(test);
}

/* Another process did the event and ended before it published: that comes before what is behind the duplicate. */
static void left_by_another_process(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    test->env.outbox.uncertain_count = 0;
    test->store->tables.outbox[0].owner = LANE_TEST_OWNER + 1;
    lane_test_event(test, "order.new", "k", "b", "{\"n\":2}");
    assert_int_equal(lane_test_run(test), 2);
    assert_string_equal(fake_store_calls(test->store), "begin claim:2 outbox_of_claims:1 outbox_add commit "
                                                       "begin outbox_lock:1 outbox_done:1 commit");
    assert_string_equal(lane_test_calls(test), "[a] [b]");
    assert_holds(assert_published(test, "order.done", 0), "\"n\":1");
    assert_holds(assert_published(test, "order.done", 1), "\"n\":2");
    assert_int_equal(test->env.outbox.published_count, 1);
    assert_int_equal(test->env.outbox.uncertain_count, 0);
    lane_test_destroy(test);
}

/* They cannot be looked up: the batch runs again. */
static void lookup_fails(void **state)
{
    struct lane_test *test = after_a_lost_reply(FAKE_COMMIT_APPLIED);
    (void)state;
    test->env.outbox.uncertain_count = 0;
    test->store->tables.outbox[0].owner = LANE_TEST_OWNER + 1;
    fake_store_fail(test->store, "outbox_of_claims", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_run(test);
    assert_string_equal(lane_test_ends(test), "");
    assert_int_equal(test->bus.count, 0);
    lane_test_run(test);
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

static void add_one(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    assert_int_equal(call->host->add(call, 0), 1);
}

/* Rows of requests and ticks have no owner: they are the sweeper's already. */
static void of_a_tick(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_of_gateway(test);
    test->handle = add_one;
    test->store->lost = FAKE_COMMIT_APPLIED;
    lane_test_tick(test, 0, 1000);
    lane_test_run(test);
    assert_int_equal(test->env.outbox.uncertain_count, 0);
    assert_int_equal(test->store->tables.outbox[0].owner, 0);
    assert_string_equal(lane_test_ends(test), "0!"); /* the next one comes by itself */
    lane_test_destroy(test);
}

/* With a bus that is part of the transaction there is no row to look for. */
static void on_a_transactional_bus(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_TRANSACTIONAL);
    (void)state;
    test->store->lost = FAKE_COMMIT_APPLIED;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 append commit rollback begin claim:1 commit");
    assert_int_equal(test->store->tables.log_count, 1);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_was_committed),
        cmocka_unit_test(it_was_not),
        cmocka_unit_test(lost_twice),
        cmocka_unit_test(only_claims_tell),
        cmocka_unit_test(waits_for_bus_and_database),
        cmocka_unit_test(refused),
        cmocka_unit_test(released),
        cmocka_unit_test(released_and_met_again),
        cmocka_unit_test(released_and_published_elsewhere),
        cmocka_unit_test(left_by_another_process),
        cmocka_unit_test(lookup_fails),
        cmocka_unit_test(of_a_tick),
        cmocka_unit_test(on_a_transactional_bus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
