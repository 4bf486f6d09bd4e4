/*
 * test_compose.c - the bytes of an emitted event: envelope, source data, fields laid over, and that it reads back.
 */
#include "arena_state.h"

#include "event/event.h"

static const int64_t time_ms = 1735787045678;

static void test_envelopes(void **state)
{
    struct buffer out;
    buffer_init(&out, 10000);
    struct json_object data;
    assert_int_equal(json_scan(SPAN("{ \"a\" : [1, 2] }"), *state, &data, NULL), 0);
    buffer_text(&out, "before ");
    event_compose(&out, SPAN("e-\"\\1"), SPAN("payment.success"), time_ms, FORMAT_SLUICE, &data, NULL, 0);
    assert_true(span_is(buffer_view(&out), "before {\"eventId\":\"e-\\\"\\\\1\",\"eventName\":\"payment.success\","
                                           "\"timestamp\":\"2025-01-02T03:04:05.678Z\",\"data\":{ \"a\" : [1, 2] }}"));
    buffer_clear(&out);
    event_compose(&out, SPAN("e-1"), SPAN("payment.success"), time_ms, FORMAT_STRUCTURED, NULL, NULL, 0);
    assert_true(span_is(buffer_view(&out),
                        "{\"specversion\":\"1.0\",\"source\":\"/sluice\",\"id\":\"e-1\",\"type\":\"payment.success\","
                        "\"time\":\"2025-01-02T03:04:05.678Z\",\"datacontenttype\":\"application/json\",\"data\":{}}"));
    buffer_free(&out);

    buffer_init(&out, 50);
    event_compose(&out, SPAN("e-1"), SPAN("payment.success"), time_ms, FORMAT_STRUCTURED, NULL, NULL, 0);
    assert_true(out.failed);
    buffer_free(&out);
}

#define OVERLAYS_MAX 3

static const struct {
    const char *data;
    struct {
        const char *name, *json;
    } overlays[OVERLAYS_MAX];
    const char *expected;
} rows[] = {
    {NULL, {{"a", "1"}}, "{\"a\":1}"},
    {"{}", {{"a", "1"}, {"b", "\"x\""}}, "{\"a\":1,\"b\":\"x\"}"},
    {"{ }", {{"a", "1"}}, "{ \"a\":1}"},
    {"{\"a\":1}", {{"a", "22"}}, "{\"a\":22}"},
    {"{\"a\":1}", {{"b", "2"}}, "{\"a\":1,\"b\":2}"},
    {"{\"a\":1 }", {{"b", "2"}}, "{\"a\":1 ,\"b\":2}"},
    {"{\"a\":1,\"b\":{\"a\":5},\"c\":\"x\"}", {{"a", "{}"}, {"c", "null"}}, "{\"a\":{},\"b\":{\"a\":5},\"c\":null}"},
    {"{\"a\":1,\"b\":{\"a\":5},\"c\":\"x\"}",
     {{"c", "[3]"}, {"d", "4"}, {"b", "2"}},
     "{\"a\":1,\"b\":2,\"c\":[3],\"d\":4}"},
    {"{ \"a\" : 1 , \"b\" : 2 }", {{"a", "9"}}, "{ \"a\" : 9 , \"b\" : 2 }"},
    {"{\"\\u0061\":1,\"\\u00e9\":2}", {{"a", "9"}, {"\xc3\xa9", "8"}}, "{\"\\u0061\":9,\"\\u00e9\":8}"},
    {"{\"\\\\u0061\":1}", {{"a", "9"}}, "{\"\\\\u0061\":1,\"a\":9}"},
    {"{\"a\":1}", {{"b", "2"}, {"b", "3"}}, "{\"a\":1,\"b\":3}"},
    {"{\"a\":1}", {{"a", "2"}, {"a", "3"}}, "{\"a\":3}"},
    {"{\"a\":1}", {{"b", "2"}, {"c", "4"}, {"b", "3"}}, "{\"a\":1,\"c\":4,\"b\":3}"},
    {"{\"a\":1}", {{"q\"\n", "2"}}, "{\"a\":1,\"q\\\"\\n\":2}"},
    {"{\"a\":\"x\\\"}\"}", {{"b", "\"}\""}}, "{\"a\":\"x\\\"}\",\"b\":\"}\"}"},
};

static void test_overlays(void **state)
{
    static const char head[] =
        "{\"eventId\":\"e-1\",\"eventName\":\"t\",\"timestamp\":\"2025-01-02T03:04:05.678Z\",\"data\":";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct overlay overlays[OVERLAYS_MAX];
        size_t count = 0;
        for (; count < OVERLAYS_MAX && rows[i].overlays[count].name != NULL; count++)
            overlays[count] = (struct overlay){span_of(rows[i].overlays[count].name),
                                               span_of(rows[i].overlays[count].json)};
        struct json_object data = {0};
        if (rows[i].data != NULL)
            assert_int_equal(json_scan(span_of(rows[i].data), *state, &data, NULL), 0);
        struct buffer out;
        buffer_init(&out, 10000);
        event_compose(&out, SPAN("e-1"), SPAN("t"), time_ms, FORMAT_SLUICE, rows[i].data != NULL ? &data : NULL,
                      overlays, count);
        assert_false(out.failed);
        assert_memory_equal(out.at, head, sizeof head - 1);
        struct span made = {out.at + sizeof head - 1, out.length - sizeof head};
        if (!span_is(made, rows[i].expected))
            fail_msg("row %zu: %.*s, expected %s", i, (int)made.length, made.at, rows[i].expected);

        /* What we write we read. */
        struct record record = {.topic = SPAN("t"), .value = buffer_view(&out)};
        struct event event;
        enum dead_reason reason;
        struct error error = {0};
        if (event_parse(&record, 10000, *state, &event, &reason, &error) != 0)
            fail_msg("row %zu: %s", i, error.text);
        assert_true(span_is(event.id_text, "e-1"));
        assert_int_equal(event.timestamp_ms, time_ms);
        for (size_t j = 0; j < count; j++)
            assert_non_null(json_find(&event.data, overlays[j].name));
        buffer_free(&out);
    }
}

/* An event is emitted from an emitted one, in either form, and nothing of its data is lost on the way. */
static void test_chain(void **state)
{
    struct buffer out[2];
    buffer_init(&out[0], 100000);
    buffer_init(&out[1], 100000);
    struct event event = {0};
    event_compose(&out[0], SPAN("e-0"), SPAN("t"), time_ms, FORMAT_SLUICE, NULL, NULL, 0);
    for (int i = 1; i <= 50; i++) {
        struct record record = {.topic = SPAN("t"), .value = buffer_view(&out[(i - 1) % 2])};
        enum dead_reason reason;
        struct error error = {0};
        if (event_parse(&record, 100000, *state, &event, &reason, &error) != 0)
            fail_msg("%d: %s", i, error.text);
        assert_int_equal(event.cloudevent, (i - 1) % 3 == 1);
        char id[20], name[20], json[20];
        snprintf(id, sizeof id, "e-%d", i);
        snprintf(name, sizeof name, "f%d", i);
        snprintf(json, sizeof json, "%d", i);
        struct overlay overlays[] = {{span_of(name), span_of(json)}, {SPAN("f1"), span_of(json)}};
        buffer_clear(&out[i % 2]);
        event_compose(&out[i % 2], span_of(id), SPAN("t"), time_ms, i % 3 == 1 ? FORMAT_STRUCTURED : FORMAT_SLUICE,
                      &event.data, overlays, i == 1 ? 1 : 2);
    }
    assert_int_equal(event.data.count, 49);
    int64_t value;
    assert_int_equal(json_int64(json_find(&event.data, SPAN("f1"))->value, &value), 0);
    assert_int_equal(value, 49);
    assert_int_equal(json_int64(json_find(&event.data, SPAN("f30"))->value, &value), 0);
    assert_int_equal(value, 30);
    buffer_free(&out[0]);
    buffer_free(&out[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelopes),
        cmocka_unit_test(test_overlays),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
