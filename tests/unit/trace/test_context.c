/*
 * test_context.c - traceparents read and written, which traces are recorded, ids that follow from events.
 */
#include "check.h"

#include "trace/context.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static void read_and_written(void **state)
{
    struct trace_context context;
    bool sampled;
    char text[TRACEPARENT_TEXT + 1];
    (void)state;
    assert_true(trace_parse(SPAN("00-" TRACE "-" PARENT "-01"), &context, &sampled));
    assert_true(sampled);
    assert_int_equal(context.trace.bytes[0], 0x0a);
    assert_int_equal(context.trace.bytes[15], 0x9c);
    assert_true(context.span == 0xb7ad6b7169203331u);
    trace_format(&context, text);
    assert_string_equal(text, "00-" TRACE "-" PARENT "-01");

    assert_true(trace_parse(SPAN("00-" TRACE "-" PARENT "-00"), &context, &sampled));
    assert_false(sampled);
    assert_true(trace_parse(SPAN("cc-" TRACE "-" PARENT "-03"), &context, &sampled)); /* a version to come */
    assert_true(sampled);
    assert_false(trace_parse(SPAN("00-" TRACE "-" PARENT "-1"), &context, &sampled));
    assert_false(trace_parse(SPAN("00-" TRACE "-0000000000000000-01"), &context, &sampled));
    assert_false(trace_parse((struct span){NULL, 0}, &context, &sampled));
    assert_true(trace_span_parse(SPAN(PARENT)) == context.span);
    assert_true(trace_span_parse(SPAN("b7ad6b716920333")) == 0);
    assert_true(trace_span_parse(SPAN("B7ad6b7169203331")) == 0);
}

/* As TraceIdRatioBased of OpenTelemetry's SDKs: the last 63 bits of the id against the ratio. */
static void decided_by_the_id(void **state)
{
    static const struct {
        const char *low;
        double ratio;
        bool sampled;
    } rows[] = {
        {"0000000000000000", 0, false},    {"0000000000000000", 0.000001, true}, {"ffffffffffffffff", 1, true},
        {"fffffffffffffffe", 0.99, false}, {"7fffffffffffffff", 0.5, true},      {"8000000000000000", 0.5, false},
        {"028f5c28f5c28f00", 0.01, true},  {"028f5c28f5c29000", 0.01, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct trace_id trace = {{1}};
        uint64_t low = strtoull(rows[i].low, NULL, 16);
        for (size_t b = 0; b < 8; b++)
            trace.bytes[8 + b] = (uint8_t)(low >> (56 - 8 * b));
        if (trace_is_sampled(&trace, rows[i].ratio) != rows[i].sampled)
            fail_msg("%s at %g", rows[i].low, rows[i].ratio);
    }
}

/* Events whose ids are UUIDs of one moment, and those that a counter made: their traces are spread all the same. */
static void traces_of_events_are_spread(void **state)
{
    size_t sampled = 0;
    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct event_id id = {{0x01, 0x99, 0xc1, 0xa2, 0x7b, 0x3c, 0x7d, 0x4e, 0x80}};
        memcpy(id.bytes + 12, &i, sizeof i);
        struct trace_id trace = trace_of_event(&id), again = trace_of_event(&id);
        assert_memory_equal(&trace, &again, sizeof trace);
        sampled += trace_is_sampled(&trace, 0.01);
    }
    assert_in_range(sampled, 850, 1150); /* 1000 ± 5 sigma */
}

static void spans_of_tries_differ(void **state)
{
    struct event_id a = {{1}}, b = {{2}};
    uint64_t first = trace_span_of(&a, "payment.charge", 0), random = 7;
    (void)state;
    assert_true(first != 0 && first == trace_span_of(&a, "payment.charge", 0));
    assert_true(first != trace_span_of(&a, "payment.charge", 1));
    assert_true(first != trace_span_of(&a, "audit/payment.charge", 0));
    assert_true(first != trace_span_of(&b, "payment.charge", 0));
    assert_true(first != trace_span_salted(first, 1) && trace_span_salted(first, 1) != trace_span_salted(first, 2));
    struct trace_context one = trace_new(&random), other = trace_new(&random);
    assert_memory_not_equal(&one.trace, &other.trace, sizeof one.trace);
    assert_true(one.span != 0 && one.span != other.span);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_and_written),
        cmocka_unit_test(decided_by_the_id),
        cmocka_unit_test(traces_of_events_are_spread),
        cmocka_unit_test(spans_of_tries_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
