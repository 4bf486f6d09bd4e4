/*
 * test_outbox_table.c - rows for Debezium's outbox event router: which events, what is in them, and in which
 * transaction.
 */
#include "lane_test.h"

#include "base/clock.h"

#define YAML(format)                                                                                                   \
    "store: {url: 'postgres://x'}\n"                                                                                   \
    "engine: {event_format: " format "}\n"                                                                             \
    "outbox_table: {name: outgoing, topics: [order.done, 'order.u*', 'order.r*']}\n"                                   \
    "topics:\n"                                                                                                        \
    "  order.new:\n"                                                                                                   \
    "    handler: work.handle\n"                                                                                       \
    "    routes:\n"                                                                                                    \
    "      done: [order.other, order.done]\n"                                                                          \
    "      later: {retry: order.retry, initial_interval: 1s, max_retries: 1, counter: tries, exhausted: "              \
    "order.other}\n"                                                                                                   \
    "  order.done: {key: '{n}', final: true}\n"                                                                        \
    "  order.other: {final: true}\n"                                                                                   \
    "chains:\n"                                                                                                        \
    "  sale:\n"                                                                                                        \
    "    correlate: sale\n"                                                                                            \
    "    steps: [{name: order, done: order.paid, undo: order.undo}]\n"                                                 \
    "    abort_on: [order.cancelled]\n"

static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static const char *row(const struct lane_test *test, size_t n)
{
    assert_true(n < test->store->tables.outgoing_count);
    return arena_string(test->arena, test->store->tables.outgoing[n]);
}

static struct span id_of(struct lane_test *test, const struct record *record)
{
    struct span id = record_header(record, "ce_id");
    struct json_object object;
    if (id.length > 0)
        return id;
    assert_int_equal(json_scan(record->value, test->arena, &object, NULL), 0);
    const struct json_member *member = json_find(&object, SPAN("eventId"));
    if (member == NULL)
        member = json_find(&object, SPAN("id"));
    assert_non_null(member);
    return (struct span){member->value.at + 1, member->value.length - 2};
}

/* The same row, whatever the form of what is emitted. */
static void one_topic_of_two(void **state)
{
    static const char *const yamls[] = {YAML("sluice"), YAML("cloudevents"), YAML("cloudevents_binary")};
    (void)state;
    for (size_t i = 0; i < sizeof yamls / sizeof yamls[0]; i++) {
        struct lane_test *test = lane_test_create(yamls[i], i == 1 ? LANE_TEST_TRANSACTIONAL : LANE_TEST_OUTBOX);
        struct header headers[] = {{SPAN("traceparent"), span_of(trace)}};
        struct record record = {.topic = SPAN("order.new"),
                                .value = SPAN("{\"eventId\":\"a\",\"data\":{\"n\": 7, \"x\":{\"y\":\"}\"}}}"),
                                .headers = headers,
                                .header_count = 1};
        lane_test_offer(test, &record);
        lane_test_run_all(test);
        assert_int_equal(test->store->tables.outgoing_count, 1);
        const struct record *made = i == 1 ? NULL : assert_published(test, "order.done", 0);
        const char *rest = row(test, 0) + 36;
        if (made != NULL) {
            struct span id = id_of(test, made), parent = record_header(made, "traceparent");
            assert_memory_equal(row(test, 0), id.at, id.length);
            assert_string_equal(
                rest, arena_format(test->arena, " order.done 7 {\"n\": 7, \"x\":{\"y\":\"}\"}} %lld traceparent=%.*s\n",
                                   (long long)clock_wall_ms(), (int)parent.length, parent.at));
        } else {
            assert_non_null(strstr(rest, " order.done 7 {\"n\": 7, \"x\":{\"y\":\"}\"}} "));
        }
        assert_non_null(strstr(fake_store_calls(test->store), "outbox_table_add:1"));
        lane_test_destroy(test);
    }
}

/* A step of a ladder and an undo are emitted, too; without a key, the id is the key. */
static void ladders_and_undos(void **state)
{
    struct lane_test *test = lane_test_create(YAML("sluice"), LANE_TEST_OUTBOX);
    (void)state;
    struct record keyless = {.topic = SPAN("order.new"),
                             .value = SPAN("{\"eventId\":\"a\",\"data\":{\"do\":\"later\"}}")};
    lane_test_offer(test, &keyless);
    lane_test_run_all(test);
    assert_int_equal(test->store->tables.outgoing_count, 1);
    const char *id = arena_format(test->arena, "%.36s", row(test, 0));
    const char *wanted = arena_format(test->arena, "%s order.retry %s {\"do\":\"later\",\"tries\":1} ", id, id);
    assert_memory_equal(row(test, 0), wanted, strlen(wanted));
    lane_test_event(test, "order.paid", "k", "b", "{\"sale\":\"s\"}");
    lane_test_event(test, "order.cancelled", "k", "c", "{\"sale\":\"s\"}");
    lane_test_run_all(test);
    assert_int_equal(test->store->tables.outgoing_count, 2);
    assert_non_null(strstr(row(test, 1), " order.undo k {\"sale\":\"s\","));
    lane_test_destroy(test);
}

/* What is rolled back leaves no row, and the batch that runs again writes the same one. */
static void once_when_it_runs_again(void **state)
{
    struct lane_test *test = lane_test_create(YAML("sluice"), LANE_TEST_OUTBOX);
    (void)state;
    fake_store_fail(test->store, "commit", 0, 1, STORE_TRANSIENT, "deadlock");
    for (int i = 0; i < 3; i++)
        lane_test_event(test, "order.new", arena_format(test->arena, "k%d", i), arena_format(test->arena, "e%d", i),
                        "{\"n\":1}");
    lane_test_run_all(test);
    assert_int_equal(test->store->tables.outgoing_count, 3);
    lane_test_destroy(test);
}

/* The database refuses the row of one event: that event is a dead letter in the end, and the others go on. */
static void a_row_that_is_refused(void **state)
{
    struct lane_test *test = lane_test_create(YAML("sluice") "defaults: {retry: {max_retries: 0}}\n", LANE_TEST_OUTBOX);
    (void)state;
    fake_store_fail(test->store, "outbox_table_add", 0, 1, STORE_DATA, "value too long");
    lane_test_event(test, "order.new", "k", "a", "{\"n\":1}");
    lane_test_run_all(test);
    assert_dead(test, "order.new-dlt", 0, "database");
    assert_int_equal(test->store->tables.outgoing_count, 0);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_topic_of_two),
        cmocka_unit_test(ladders_and_undos),
        cmocka_unit_test(once_when_it_runs_again),
        cmocka_unit_test(a_row_that_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
