/*
 * test_names.c - events of topics that the file does not have: they never end in silence.
 */
#include "lane_test.h"

#include "event/record_batch.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.handle, routes: {done: drop, later: drop}}\n"
                           "  order.end: {final: true}\n"
                           "taps:\n"
                           "  audit: {topics: ['order.*'], handler: work.watch}\n"
                           "retired: {order.old: dead_letter}\n";

static struct record parked_record(struct lane_test *test, const char *topic, const char *value)
{
    return (struct record){
        .topic = span_of(topic), .key = SPAN("k"), .value = span_of(arena_format(test->arena, "%s", value))};
}

static const char event[] =
    "{\"eventId\":\"a\",\"eventName\":\"x\",\"timestamp\":\"2025-01-02T03:04:05Z\",\"data\":{}}";

/* Whatever it is: a retry that was due, one that cannot be read, one on a topic that nothing handles any more. */
static void parked_stays_parked(void **state)
{
    static const struct {
        const char *topic, *value;
    } cases[] = {{"gone", event}, {"gone", "no event"}, {"order.end", event}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
        struct record *records, record = parked_record(test, cases[i].topic, cases[i].value);
        size_t count;
        lane_test_parked(test, &record);
        assert_int_equal(lane_test_run_all(test), 1);
        assert_string_equal(fake_store_calls(test->store), "begin park:1 commit");
        assert_int_equal(test->store->tables.parked_count, 1);
        assert_int_equal(test->store->tables.parked[0].state, PARKED_UNKNOWN);
        assert_int_equal(record_batch_read(test->store->tables.parked[0].record, test->arena, &records, &count, NULL),
                         0);
        assert_true(span_equal(records[0].topic, record.topic));
        assert_true(span_equal(records[0].value, record.value));
        assert_string_equal(lane_test_ends(test), "0");
        assert_int_equal(test->parked_ms, 0); /* nothing is due by itself */
        lane_test_destroy(test);
    }
}

/* Read because an earlier file handled its topic. */
static void unread_is_parked(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_TRANSACTIONAL);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"done\"}");
    lane_test_event(test, "gone", "k", "b", "{}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_int_equal(test->store->tables.parked_count, 1);
    assert_int_equal(test->store->tables.parked[0].state, PARKED_UNKNOWN);
    assert_string_equal(lane_test_ends(test), "0 1");
    lane_test_destroy(test);
}

/* A tap's pattern brings topics that the file does not have; what its handler rejects has no dead letter topic. */
static void rejected_by_a_tap(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_TRANSACTIONAL);
    (void)state;
    lane_test_of_tap(test, 0);
    lane_test_event(test, "order.gone", "k", "a", "{\"do\":\"reject\"}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[a]");
    assert_int_equal(test->store->tables.parked_count, 1);
    assert_int_equal(test->store->tables.parked[0].state, PARKED_UNKNOWN);
    lane_test_destroy(test);
}

static void retired(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    int16_t handler = 100;
    (void)state;
    test->numbers.retired_topics = test->numbers.retired_taps = &handler;
    struct item *item = lane_test_event(test, "order.old", "k", "a", "{}");
    item->topic = test->config->answers[0].topic;
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "");
    assert_header(assert_dead(test, "order.old-dlt", 0, "retired"), HEADER_DLT_TOPIC, "order.old");
    assert_int_equal(test->store->tables.parked_count, 0);

    /* Once: it is recorded under the handler that it had. */
    item = lane_test_event(test, "order.old", "k", "a", "{}");
    item->topic = test->config->answers[0].topic;
    assert_int_equal(lane_test_run_all(test), 1);
    assert_null(fake_bus_record(&test->bus, "order.old-dlt", 1));
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parked_stays_parked), cmocka_unit_test(unread_is_parked),
                                       cmocka_unit_test(rejected_by_a_tap), cmocka_unit_test(retired)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
