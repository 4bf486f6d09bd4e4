/*
 * test_outputs.c - what a batch emits: routes, retry ladders, keys, ids, fields that a handler lays over, headers.
 */
#include "lane_test.h"

#include "base/clock.h"

#define YAML(format)                                                                                                   \
    "store: {url: 'postgres://x'}\n"                                                                                   \
    "engine: {hop_limit: 4, max_event_size: 2KiB, event_format: " format "}\n"                                         \
    "topics:\n"                                                                                                        \
    "  order.new:\n"                                                                                                   \
    "    handler: work.handle\n"                                                                                       \
    "    routes:\n"                                                                                                    \
    "      done: order.done\n"                                                                                         \
    "      later: {retry: order.retry, initial_interval: 1s, multiplier: 2, max_retries: 2, counter: tries, "          \
    "exhausted: "                                                                                                      \
    "order.failed}\n"                                                                                                  \
    "  order.plain: {handler: work.handle, routes: {done: drop, later: order.keyed}}\n"                                \
    "  order.keyed: {final: true, key: '{user}-{seat}'}\n"                                                             \
    "  order.done: {final: true}\n"                                                                                    \
    "  order.failed: {final: true}\n"                                                                                  \
    "schedules:\n"                                                                                                     \
    "  sweep: {every: 1s, handler: work.tick, routes: {done: order.keyed}}\n"                                          \
    "chains:\n"                                                                                                        \
    "  sale:\n"                                                                                                        \
    "    correlate: sale\n"                                                                                            \
    "    steps: [{name: order, done: order.paid, undo: order.undo}]\n"                                                 \
    "    abort_on: [order.cancelled]\n"

static const char yaml[] = YAML("sluice");

/* Member `name` of the envelope of a published event. */
static const char *envelope(struct lane_test *test, const struct record *record, const char *name)
{
    struct json_object object;
    assert_int_equal(json_scan(record->value, test->arena, &object, NULL), 0);
    const struct json_member *member = json_find(&object, span_of(name));
    assert_non_null(member);
    return arena_string(test->arena, member->value);
}

static void a_route_to_a_topic(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct header headers[] = {{SPAN("traceparent"), SPAN("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
                               {SPAN("tracestate"), SPAN("a=b")},
                               {SPAN("content-type"), SPAN("application/json")},
                               {SPAN("x-mine"), SPAN("1")}};
    struct record record = {.topic = SPAN("order.new"),
                            .key = SPAN("k"),
                            .value = SPAN("{\"eventId\":\"a\",\"eventName\":\"order.new\",\"timestamp\":"
                                          "\"2025-01-02T03:04:05Z\",\"data\":{\"sale\":\"s-1\", \"n\":1}}"),
                            .headers = headers,
                            .header_count = 4};
    (void)state;
    lane_test_offer(test, &record);
    lane_test_run_all(test);
    const struct record *made = assert_published(test, "order.done", 0);
    assert_true(span_is(made->key, "k")); /* no template: its source's */
    assert_int_equal(made->timestamp_ms, clock_wall_ms());
    assert_string_equal(envelope(test, made, "data"), "{\"sale\":\"s-1\", \"n\":1}");
    assert_string_equal(envelope(test, made, "eventName"), "\"order.done\"");
    assert_string_equal(envelope(test, made, "timestamp"), "\"2023-11-14T22:13:20.000Z\"");
    assert_header(made, HEADER_HOPS, "1");
    assert_header(made, HEADER_PARENT, "a");
    assert_header(made, HEADER_CORRELATION, "s-1"); /* the data's, of a chain that knows the field */
    assert_header(made, "x-mine", NULL);
    assert_header(made, "content-type", NULL);
    assert_header(made, "tracestate", "a=b");
    struct span trace = record_header(made, "traceparent");
    assert_memory_equal(trace.at, "00-0af7651916cd43dd8448eb211c80319c-", 36);
    assert_memory_not_equal(trace.at + 36, "b7ad6b7169203331", 16);
    assert_int_equal(series_value(test->env.topics[pipeline_topic(test->config, "order.done")->index].emitted), 1);

    lane_test_event(test, "order.plain", "k", "b", "{}"); /* a route that drops */
    lane_test_run_all(test);
    assert_int_equal(test->bus.count, 1);
    assert_string_equal(lane_test_ends(test), "0 1");
    lane_test_destroy(test);
}

/* Whatever runs again emits the same ids; another parent, handler or route another one. */
static void ids_are_derived(void **state)
{
    const char *ids[2] = {NULL};
    (void)state;
    struct lane_test *tests[2];
    for (int i = 0; i < 2; i++) {
        struct lane_test *test = tests[i] = lane_test_create(yaml, LANE_TEST_OUTBOX);
        if (i == 1) {
            fake_clock_advance(1234);
            fake_store_fail(test->store, "commit", 0, 1, STORE_TRANSIENT, "deadlock");
        }
        lane_test_event(test, "order.new", "k", "a", "{}");
        lane_test_event(test, "order.new", "k2", "b", "{}");
        lane_test_run_all(test);
        ids[i] = envelope(test, assert_published(test, "order.done", 0), "eventId");
        assert_string_not_equal(ids[i], envelope(test, assert_published(test, "order.done", 1), "eventId"));
    }
    assert_string_equal(ids[0], ids[1]);
    lane_test_event(tests[0], "order.new", "k", "c", "{\"do\":\"later\",\"tries\":0}");
    lane_test_run_all(tests[0]);
    assert_string_not_equal(ids[0], envelope(tests[0], assert_published(tests[0], "order.retry", 0), "eventId"));
    lane_test_destroy(tests[0]);
    lane_test_destroy(tests[1]);
}

static void lay_over(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    call->host->set_text(call, 0, "user", (struct sluice_text){"u\"1", 3});
    call->host->set_int64(call, 0, "seat", 41);
    call->host->set_int64(call, 0, "seat", -42);
    call->host->set_text(call, 0, "sale", (struct sluice_text){"first", 5});
    call->host->set_text(call, 0, "sale", (struct sluice_text){"s2", 2});
    call->host->set_json(call, 0, "list", (struct sluice_text){"[1, {}]", 7});
    call->host->outcome(call, 0, 1);
}

static void fields_laid_over(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = lay_over;
    lane_test_event(test, "order.plain", "k", "a", "{\"seat\":1,\"n\":2}");
    lane_test_run_all(test);
    const struct record *made = assert_published(test, "order.keyed", 0);
    assert_true(span_is(made->key, "u\"1--42")); /* the template sees them, too */
    assert_string_equal(envelope(test, made, "data"),
                        "{\"seat\":-42,\"n\":2,\"user\":\"u\\\"1\",\"sale\":\"s2\",\"list\":[1, {}]}");
    assert_header(made, HEADER_CORRELATION, "s2");
    lane_test_destroy(test);
}

/* Step by step up a retry ladder: a counter in the data, the time in a header, then the topic of the exhausted. */
static void a_retry_ladder(void **state)
{
    static const int64_t delays[] = {1000, 2000};
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\",\"n\":1}");
    lane_test_run_all(test);
    for (size_t step = 0; step < 2; step++) {
        const struct record *made = assert_published(test, "order.retry", step);
        assert_holds(made, step == 0 ? "\"tries\":1" : "\"tries\":2");
        assert_true(span_is(made->key, "k"));
        assert_header(made, HEADER_NOT_BEFORE,
                      arena_format(test->arena, "%lld", (long long)(clock_wall_ms() + delays[step])));
        fake_clock_advance(delays[step]);
        lane_test_calls(test);
        lane_test_offer(test, made);
        assert_int_equal(lane_test_run_all(test), 1);
        assert_string_not_equal(lane_test_calls(test), "");
    }
    const struct record *failed = assert_published(test, "order.failed", 0);
    assert_header(failed, HEADER_NOT_BEFORE, NULL);
    assert_header(failed, HEADER_HOPS, "3");
    assert_holds(failed, "\"tries\":2");
    assert_int_equal(test->bus.count, 3);
    lane_test_destroy(test);
}

static void a_counter_that_is_none(void **state)
{
    static const char *const data[] = {"{}", "{\"tries\":0}", "{\"tries\":3}", "{\"tries\":\"1\"}", "{\"tries\":1.5}"};
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    for (size_t i = 0; i < sizeof data / sizeof data[0]; i++) {
        lane_test_event(test, "order.retry", "k", arena_format(test->arena, "e%zu", i), data[i]);
        lane_test_run_all(test);
        assert_header(assert_dead(test, "order.retry-dlt", i, "bad_field"), HEADER_DLT_REASON,
                      "field 'tries': expected the ladder's step, an integer from 1 to 2");
    }
    assert_string_equal(lane_test_calls(test), "");
    lane_test_destroy(test);
}

static void a_cycle_ends(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct header hops[] = {{SPAN(HEADER_HOPS), SPAN("3")}};
    struct record record = {.topic = SPAN("order.new"),
                            .value = SPAN("{\"eventId\":\"a\",\"eventName\":\"x\",\"timestamp\":"
                                          "\"2025-01-02T03:04:05Z\",\"data\":{}}"),
                            .headers = hops,
                            .header_count = 1};
    (void)state;
    lane_test_offer(test, &record);
    lane_test_run_all(test);
    assert_header(assert_published(test, "order.done", 0), HEADER_HOPS, "4");
    assert_null(test->bus.records[0].key.at); /* no key, no template: none */
    hops[0].value = SPAN("4");
    record.value = SPAN("{\"eventId\":\"b\",\"eventName\":\"x\",\"timestamp\":\"2025-01-02T03:04:05Z\",\"data\":{}}");
    lane_test_offer(test, &record);
    assert_int_equal(lane_test_run_all(test), 2);
    assert_header(assert_dead(test, "order.new-dlt", 0, "hops"), HEADER_DLT_REASON,
                  "event would make hop 5; engine.hop_limit is 4: is there a cycle?");
    assert_int_equal(test->bus.count, 2);
    lane_test_destroy(test);
}

static void make_large(struct lane_test *test, struct sluice_call *call)
{
    char *text = arena_alloc(test->arena, 4000);
    memset(text, 'x', 4000);
    for (uint32_t i = 0; i < call->count; i++) {
        bool key = memmem(call->events[i].data.at, call->events[i].data.length, "key", 3) != NULL;
        call->host->set_text(call, i, "user", (struct sluice_text){text, key ? 1100 : 1});
        call->host->set_text(call, i, "text", (struct sluice_text){text, key ? 1 : 2000});
        call->host->set_int64(call, i, "seat", 1);
        call->host->outcome(call, i, 1);
    }
}

static void too_large_to_emit(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = make_large;
    lane_test_event(test, "order.plain", "k", "a", "{\"large\":1}");
    lane_test_event(test, "order.plain", "k2", "b", "{\"key\":1}");
    lane_test_run(test);
    lane_test_event(test, "order.plain", "k3", "c", "{}");
    lane_test_run_all(test);
    assert_dead(test, "order.plain-dlt", 0, "bad_output");
    assert_dead(test, "order.plain-dlt", 1, "bad_output");
    assert_dead(test, "order.plain-dlt", 2, "bad_output");
    assert_null(fake_bus_record(&test->bus, "order.keyed", 0));
    assert_string_equal(lane_test_ends(test), "0 1 2");
    lane_test_destroy(test);
}

static void many_from_a_tick(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (int64_t i = 0; i < 20; i++) {
        size_t n = call->host->add(call, 0);
        assert_true(n != SIZE_MAX);
        call->host->set_int64(call, n, "seat", i);
        call->host->set_text(call, n, "user", (struct sluice_text){"u", 1});
    }
}

static void what_a_tick_adds(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_of_gateway(test);
    test->handle = many_from_a_tick;
    lane_test_tick(test, 0, 1700000000000);
    lane_test_run_all(test);
    assert_string_equal(fake_store_calls(test->store), "begin tick outbox_add commit");
    assert_int_equal(test->bus.count, 20);
    for (size_t i = 0; i < 20; i++) {
        const struct record *made = assert_published(test, "order.keyed", i);
        assert_true(span_is(made->key, arena_format(test->arena, "u-%zu", i)));
        assert_string_equal(envelope(test, made, "data"),
                            arena_format(test->arena, "{\"seat\":%zu,\"user\":\"u\"}", i));
        assert_header(made, HEADER_PARENT, "sweep-1700000000000");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(envelope(test, made, "eventId"),
                                    envelope(test, assert_published(test, "order.keyed", j), "eventId"));
    }
    assert_string_equal(lane_test_ends(test), "0");

    lane_test_tick(test, 0, 1700000000000); /* another process had it */
    lane_test_run_all(test);
    assert_string_equal(lane_test_ends(test), "1");
    assert_int_equal(test->bus.count, 20);
    lane_test_destroy(test);
}

static void cloudevents(void **state)
{
    struct lane_test *test = lane_test_create(YAML("cloudevents"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"n\":1}");
    /* One in binary mode: its headers say what it is, and stay behind. */
    struct header headers[] = {{SPAN("ce_specversion"), SPAN("1.0")},
                               {SPAN("ce_id"), SPAN("b")},
                               {SPAN("ce_type"), SPAN("x")},
                               {SPAN("ce_source"), SPAN("/there")},
                               {SPAN("content-type"), SPAN("application/json")}};
    struct record binary = {
        .topic = SPAN("order.new"), .value = SPAN("{\"n\":2}"), .headers = headers, .header_count = 5};
    lane_test_offer(test, &binary);
    lane_test_run_all(test);
    const struct record *made = assert_published(test, "order.done", 0);
    assert_string_equal(envelope(test, made, "specversion"), "\"1.0\"");
    assert_string_equal(envelope(test, made, "type"), "\"order.done\"");
    assert_header(made, HEADER_CONTENT_TYPE, EVENT_TYPE_CLOUDEVENT);
    made = assert_published(test, "order.done", 1);
    assert_string_equal(envelope(test, made, "data"), "{\"n\":2}");
    assert_header(made, HEADER_PARENT, "b");
    assert_header(made, "ce_id", NULL);
    lane_test_destroy(test);
}

static void cloudevents_binary(void **state)
{
    struct lane_test *test = lane_test_create(YAML("cloudevents_binary"), LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"n\":1}");
    lane_test_run_all(test);
    const struct record *made = assert_published(test, "order.done", 0);
    assert_true(span_is(made->value, "{\"n\":1}"));
    assert_header(made, "ce_specversion", "1.0");
    assert_header(made, "ce_type", "order.done");
    assert_header(made, "ce_source", "/sluice");
    assert_header(made, HEADER_CONTENT_TYPE, "application/json");
    assert_header(made, HEADER_PARENT, "a");
    assert_int_equal(record_header(made, "ce_id").length, 36);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_to_a_topic),
        cmocka_unit_test(ids_are_derived),
        cmocka_unit_test(fields_laid_over),
        cmocka_unit_test(a_retry_ladder),
        cmocka_unit_test(a_counter_that_is_none),
        cmocka_unit_test(a_cycle_ends),
        cmocka_unit_test(too_large_to_emit),
        cmocka_unit_test(what_a_tick_adds),
        cmocka_unit_test(cloudevents),
        cmocka_unit_test(cloudevents_binary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
