/*
 * test_record.c - a span as OTLP's JSON: every member, and texts that are too long or no UTF-8.
 */
#include "check.h"

#include "event/json.h"
#include "trace/record.h"

static struct trace_span span_of_test(void)
{
    struct trace_span span = {.kind = TRACE_CONSUMER,
                              .name = SPAN("process"),
                              .subject = SPAN("payment.try"),
                              .began_ns = 1700000000123456789,
                              .ended_ns = 1700000000123456790};
    bool sampled;
    assert_true(trace_parse(SPAN("00-0af7651916cd43dd8448eb211c80319c-00ad6b7169203331-01"), &span.context, &sampled));
    return span;
}

static const char *recorded(const struct trace_span *span)
{
    static char text[16384];
    struct buffer out;
    buffer_init(&out, sizeof text - 1);
    trace_record(&out, span);
    assert_false(out.failed);
    assert_int_equal(out.at[out.length - 1], '\n');
    assert_null(memchr(out.at, '\n', out.length - 1));
    memcpy(text, out.at, out.length - 1);
    text[out.length - 1] = '\0';
    buffer_free(&out);
    struct arena *arena = arena_create(4096, 1 << 20);
    struct json_object object;
    struct error error = {0};
    if (json_scan(span_of(text), arena, &object, &error) != 0)
        fail_msg("%s: %s", error.text, text);
    arena_destroy(arena);
    return text;
}

static void every_member(void **state)
{
    struct trace_span span = span_of_test();
    (void)state;
    assert_string_equal(recorded(&span),
                        "{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"00ad6b7169203331\","
                        "\"name\":\"process payment.try\",\"kind\":5,\"startTimeUnixNano\":\"1700000000123456789\","
                        "\"endTimeUnixNano\":\"1700000000123456790\",\"attributes\":[],\"status\":{}}");
    span.parent = 0xb7;
    trace_text(&span, "messaging.system", SPAN("kafka"));
    trace_text(&span, "left.out", SPAN(""));
    trace_number(&span, "sluice.try", 2);
    trace_link(&span, (struct trace_context){span.context.trace, 1}, "first_try");
    span.failed = true;
    span.why = SPAN("a \"quoted\" reason");
    assert_string_equal(recorded(&span),
                        "{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"00ad6b7169203331\","
                        "\"parentSpanId\":\"00000000000000b7\",\"name\":\"process payment.try\",\"kind\":5,"
                        "\"startTimeUnixNano\":\"1700000000123456789\",\"endTimeUnixNano\":\"1700000000123456790\","
                        "\"attributes\":[{\"key\":\"messaging.system\",\"value\":{\"stringValue\":\"kafka\"}},"
                        "{\"key\":\"sluice.try\",\"value\":{\"intValue\":\"2\"}}],"
                        "\"links\":[{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"0000000000000001\","
                        "\"attributes\":[{\"key\":\"sluice.link\",\"value\":{\"stringValue\":\"first_try\"}}]}],"
                        "\"status\":{\"code\":2,\"message\":\"a \\\"quoted\\\" reason\"}}");
}

/* The text of an attribute as it is written. */
static const char *written(const char *bytes, size_t length)
{
    static char text[4096];
    struct trace_span span = span_of_test();
    trace_text(&span, "k", (struct span){bytes, length});
    const char *at = strstr(recorded(&span), "\"stringValue\":\"") + 15;
    snprintf(text, sizeof text, "%.*s", (int)(strstr(at, "\"}}]") - at), at);
    return text;
}

static void texts_of_any_bytes(void **state)
{
    char long_text[1000], euros[600];
    (void)state;
    assert_string_equal(written("caf\xc3\xa9", 5), "caf\xc3\xa9");
    assert_string_equal(written("a\xff\xc3!b", 5), "a??"
                                                   "!b");
    assert_string_equal(written("\xe2\x82", 2), "??");
    assert_string_equal(written("line\nline\0x", 11), "line\\nline?x");
    memset(long_text, 'x', sizeof long_text);
    assert_int_equal(strlen(written(long_text, sizeof long_text)), TRACE_TEXT_MAX);
    for (size_t i = 0; i < sizeof euros; i += 3)
        memcpy(euros + i, "\xe2\x82\xac", 3);
    assert_int_equal(strlen(written(euros, sizeof euros)), 255); /* never half a character */
    memset(long_text, '\xff', sizeof long_text);
    assert_in_range(strlen(written(long_text, sizeof long_text)), TRACE_TEXT_MAX - 3, TRACE_TEXT_MAX);
}

/* More than there is room for is left out, and the rest stands. */
static void the_most_of_everything(void **state)
{
    struct trace_span span = span_of_test();
    char name[600];
    (void)state;
    memset(name, 'n', sizeof name);
    span.subject = (struct span){name, sizeof name};
    for (int i = 0; i < 2 * TRACE_ATTRIBUTES_MAX; i++) {
        trace_number(&span, "k", INT64_MIN);
        trace_link(&span, span.context, "x");
    }
    const char *text = recorded(&span);
    size_t attributes = 0;
    for (const char *at = text; (at = strstr(at, "\"intValue\":\"-9223372036854775808\"")) != NULL; at++)
        attributes++;
    assert_int_equal(attributes, TRACE_ATTRIBUTES_MAX);
    assert_int_equal(span.link_count, TRACE_LINKS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member),
        cmocka_unit_test(texts_of_any_bytes),
        cmocka_unit_test(the_most_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
