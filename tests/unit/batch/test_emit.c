/*
 * test_emit.c - after COMMIT: outputs go to a bus that is not part of the transaction, or wait in their row.
 */
#include "lane_test.h"

#include "base/clock.h"
#include "event/record_batch.h"

#define TOPICS                                                                                                         \
    "topics:\n"                                                                                                        \
    "  order.new: {handler: work.handle, routes: {done: order.done, later: order.later}}\n"                            \
    "  order.done: {final: true}\n"                                                                                    \
    "  order.later: {final: true}\n"                                                                                   \
    "schedules:\n"                                                                                                     \
    "  sweep: {every: 1s, handler: work.tick, routes: {done: order.done}}\n"                                           \
    "http: {listen: '127.0.0.1:0', requests: {'POST /orders': {handler: work.ask, routes: {done: order.done}}}}\n"

static const char yaml[] = "store: {url: 'postgres://x'}\n" TOPICS;

static void the_row_goes_with_the_next_transaction(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct record *records;
    size_t count;
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{\"do\":\"later\"}");
    lane_test_run_all(test);
    assert_int_equal(test->bus.publishes, 1); /* all of them in one */
    assert_int_equal(test->bus.count, 2);
    assert_int_equal(test->store->tables.outbox_count, 1);
    assert_int_equal(test->store->tables.outbox[0].owner, LANE_TEST_OWNER);
    assert_int_equal(record_batch_read(test->store->tables.outbox[0].batch, test->arena, &records, &count, NULL), 0);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_true(span_equal(records[i].value, test->bus.records[i].value));
    fake_store_calls(test->store);

    lane_test_event(test, "order.new", "k", "a", "{}"); /* a duplicate: a transaction all the same */
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_run(test);
    assert_int_equal(test->env.outbox.published_count, 1);
    lane_test_run(test);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outbox_of_claims:1 outbox_done:1 commit rollback "
                                                       "begin claim:1 outbox_of_claims:1 outbox_done:1 commit");
    assert_int_equal(test->store->tables.outbox_count, 0);
    assert_int_equal(test->env.outbox.published_count, 0);
    lane_test_destroy(test);
}

/* Or soon, by itself, when there is no other. */
static void or_in_one_of_its_own(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    for (int i = 0; i < 20; i++) {
        lane_test_event(test, "order.new", "k", arena_format(test->arena, "e%d", i), "{}");
        lane_test_run(test);
    }
    fake_store_calls(test->store);
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "the server is gone");
    outbox_settle(&test->env);
    assert_int_equal(test->env.outbox.published_count, 1);
    outbox_settle(&test->env);
    outbox_settle(&test->env);
    assert_string_equal(fake_store_calls(test->store),
                        "begin outbox_done:1 commit rollback begin outbox_done:1 commit");
    assert_int_equal(test->store->tables.outbox_count, 0);
    lane_test_destroy(test);
}

/* The bus is down: the lane waits with what is committed, so that a key's outputs stay in order. */
static void the_bus_is_down(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->bus.down = 5;
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outbox_add commit");
    assert_int_equal(test->sleep_count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(test->slept_ms[i], 200);
    assert_int_equal(test->bus.count, 1);
    assert_int_equal(test->env.outbox.published_count, 1);
    assert_string_equal(lane_test_ends(test), "0");
    assert_true(fake_log_has("outputs are not published now: the fake bus is down; their keys wait"));
    lane_test_destroy(test);
}

static bool stops_after_two(struct lane_test *test, int64_t ms)
{
    (void)ms;
    return test->sleep_count < 2;
}

/* The engine stops while it waits: the row stands, and its next owner publishes it. */
static void stopped_while_it_is_down(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->bus.down = -1;
    test->on_sleep = stops_after_two;
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->sleep_count, 2);
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->store->tables.outbox_count, 1);
    assert_int_equal(test->env.outbox.published_count, 0);
    lane_test_destroy(test);
}

/* What the bus refuses for good stays in its row, alone, with the reason; nothing waits for it. */
static void refused_for_good(void **state)
{
    static const int codes[] = {-EMSGSIZE, -ENOENT, -EACCES, -EBADMSG, -EINVAL};
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
        struct record *records;
        size_t count;
        fake_bus_refuse(&test->bus, "order.later", codes[i]);
        lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\",\"n\":1}");
        lane_test_event(test, "order.new", "k2", "b", "{}");
        lane_test_event(test, "order.new", "k3", "c", "{\"do\":\"later\",\"n\":3}");
        assert_int_equal(lane_test_run(test), 3);
        assert_string_equal(fake_store_calls(test->store),
                            "begin claim:3 outcomes:2 outbox_add commit begin outbox_refuse commit");
        assert_int_equal(test->bus.publishes, codes[i] == -ENOENT ? 3 : 4); /* a topic that is not there: asked once */
        assert_int_equal(test->bus.count, 1);
        assert_published(test, "order.done", 0);
        assert_int_equal(test->store->tables.outbox_count, 1);
        const struct fake_outbox *row = &test->store->tables.outbox[0];
        assert_true(row->refused);
        assert_true(span_is(row->reason, "order.later is refused"));
        assert_int_equal(record_batch_read(row->batch, test->arena, &records, &count, NULL), 0);
        assert_int_equal(count, 2);
        assert_holds(&records[0], "\"n\":1");
        assert_holds(&records[1], "\"n\":3");
        assert_string_equal(lane_test_ends(test), "0 1 2");
        assert_int_equal(test->env.outbox.published_count, 0); /* nobody deletes it */
        assert_int_equal(test->sleep_count, 0);
        lane_test_destroy(test);
    }
}

/* Until that is written down the lane goes on trying: nobody else will. */
static void refused_and_not_written_down(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    fake_bus_refuse(&test->bus, "order.later", -EMSGSIZE);
    fake_store_fail(test->store, "outbox_refuse", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\"}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outcomes:1 outbox_add commit "
                                                       "begin outbox_refuse commit rollback "
                                                       "begin outbox_refuse commit");
    assert_int_equal(test->sleep_count, 1);
    assert_true(test->store->tables.outbox[0].refused);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* Without a store nothing remembers it: the event is a dead letter. */
static void refused_without_a_store(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    fake_bus_refuse(&test->bus, "order.later", -ENOENT);
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\"}");
    lane_test_event(test, "order.new", "k2", "b", "{}");
    assert_int_equal(lane_test_run(test), 2);
    assert_string_equal(lane_test_ends(test), "");
    lane_test_run_all(test);
    assert_header(assert_dead(test, "order.new-dlt", 0, "bad_output"), HEADER_DLT_REASON, "order.later is refused");
    assert_published(test, "order.done", 0);
    assert_string_equal(lane_test_ends(test), "0 1");
    lane_test_destroy(test);
}

static void down_without_a_store(void **state)
{
    struct lane_test *test = lane_test_create(TOPICS, LANE_TEST_OUTBOX);
    (void)state;
    test->bus.down = 2;
    lane_test_event(test, "order.new", "k", "a", "{}");
    for (int i = 0; i < 3; i++)
        assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[a] [a] [a]"); /* at least once */
    assert_int_equal(test->sleep_count, 2);
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

/* ----------------------------------------------------------------------------------------------- requests and ticks */

static void answer_and_emit(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++) {
        call->host->outcome(call, i, 0);
        call->host->reply(call, i, 202, (struct sluice_text){"{}", 2}, 0);
    }
}

static void is_answered(struct fake_bus *bus, void *context)
{
    const struct lane_test_request *request = context;
    (void)bus;
    assert_int_equal(request->status, 202);
}

/* Who asked is answered first: what is committed will be published. */
static void a_request_is_answered_first(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct lane_test_request request = {.request.body = SPAN("{\"seat\":7}")};
    (void)state;
    lane_test_of_gateway(test);
    test->handle = answer_and_emit;
    test->bus.on_publish = is_answered;
    test->bus.context = &request;
    lane_test_ask(test, &request);
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin outbox_add commit");
    assert_holds(assert_published(test, "order.done", 0), "\"data\":{\"seat\":7}");
    assert_int_equal(test->store->tables.outbox[0].owner, 0);
    assert_int_equal(test->env.outbox.published_count, 1);
    lane_test_destroy(test);
}

/* The bus is down: their lanes are not held, their rows are the sweeper's, and for a while nobody even tries. */
static void rows_for_the_sweeper(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct lane_test_request requests[4] = {0};
    (void)state;
    lane_test_of_gateway(test);
    test->handle = answer_and_emit;
    test->bus.down = 1;
    for (int i = 0; i < 4; i++) {
        lane_test_ask(test, &requests[i]);
        assert_int_equal(lane_test_run(test), 1);
        assert_int_equal(requests[i].status, 202);
        assert_int_equal(test->bus.publishes, i < 2 ? 1 : i);
        assert_int_equal(test->bus.count, i < 2 ? 0 : i - 1);
        assert_int_equal(test->sleep_count, 0);
        fake_clock_advance(i == 1 ? 2000 : 0);
    }
    assert_int_equal(test->env.outbox.published_count, 1);
    assert_int_equal(test->store->tables.outbox_count, 3); /* two for the sweeper, the last for the next transaction */
    assert_string_equal(lane_test_ends(test), "0 1 2 3");
    assert_true(fake_log_has("outputs are not published now: the fake bus is down; the sweeper publishes them"));
    lane_test_destroy(test);
}

/* ---------------------------------------------------------------------------------------------- transactional buses */

static void in_the_transaction(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_TRANSACTIONAL);
    (void)state;
    fake_store_fail(test->store, "append", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run(test);
    assert_int_equal(test->bus.woken, 0);
    assert_int_equal(test->store->tables.log_count, 0);
    lane_test_wait(test);
    lane_test_run_all(test);
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:1 append commit rollback begin claim:1 append commit");
    assert_int_equal(test->bus.woken, 1);
    assert_int_equal(test->store->tables.log_count, 1);
    assert_int_equal(test->store->tables.outbox_count, 0);
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(series_value(test->env.topics[pipeline_topic(test->config, "order.done")->index].emitted), 1);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_row_goes_with_the_next_transaction),
        cmocka_unit_test(or_in_one_of_its_own),
        cmocka_unit_test(the_bus_is_down),
        cmocka_unit_test(stopped_while_it_is_down),
        cmocka_unit_test(refused_for_good),
        cmocka_unit_test(refused_and_not_written_down),
        cmocka_unit_test(refused_without_a_store),
        cmocka_unit_test(down_without_a_store),
        cmocka_unit_test(a_request_is_answered_first),
        cmocka_unit_test(rows_for_the_sweeper),
        cmocka_unit_test(in_the_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
