/*
 * test_traceparent.c - traces: what is valid, what an emitted event says, what goes on beside it.
 */
#include "check.h"

#include "event/event.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static void test_valid(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        bool valid;
    } rows[] = {
        {SPAN("00-" TRACE "-" PARENT "-01"), true},
        {SPAN("00-" TRACE "-" PARENT "-00"), true},
        {SPAN("00-" TRACE "-" PARENT "-ff"), true},
        {SPAN("01-" TRACE "-" PARENT "-01"), true}, /* a version to come: the same beginning */
        {SPAN("fe-" TRACE "-" PARENT "-01"), true},
        {SPAN("00-00000000000000000000000000000001-0000000000000001-01"), true},
        {SPAN("ff-" TRACE "-" PARENT "-01"), false},
        {SPAN("00-00000000000000000000000000000000-" PARENT "-01"), false},
        {SPAN("00-" TRACE "-0000000000000000-01"), false},
        {SPAN("00-0AF7651916cd43dd8448eb211c80319c-" PARENT "-01"), false},
        {SPAN("00-" TRACE "-B7ad6b7169203331-01"), false},
        {SPAN("00-" TRACE "-" PARENT "-0A"), false},
        {SPAN("0A-" TRACE "-" PARENT "-01"), false},
        {SPAN("00-" TRACE "-" PARENT "-1"), false},
        {SPAN("00-" TRACE "-" PARENT "-011"), false},
        {SPAN("00-" TRACE "-" PARENT "-01-"), false},
        {SPAN("01-" TRACE "-" PARENT "-01-more"), false},
        {SPAN("00_" TRACE "-" PARENT "-01"), false},
        {SPAN("00-" TRACE "_" PARENT "-01"), false},
        {SPAN("00-" TRACE "-" PARENT "_01"), false},
        {SPAN("00-" TRACE "-" PARENT "-0g"), false},
        {SPAN("0g-" TRACE "-" PARENT "-01"), false},
        {SPAN("00-gaf7651916cd43dd8448eb211c80319c-" PARENT "-01"), false},
        {SPAN("00-" TRACE "-b7ad6b716920333\0-01"), false},
        {SPAN(" 00-" TRACE "-" PARENT "-0"), false},
        {SPAN(""), false},
        {{NULL, 0}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TRACEPARENT_TEXT + 1] = "untouched";
        if (traceparent_valid(rows[i].text) != rows[i].valid)
            fail_msg("row %zu: %.*s", i, (int)rows[i].text.length, rows[i].text.at);
        assert_int_equal(traceparent_derive(rows[i].text, SPAN("e-1"), text), rows[i].valid);
        if (rows[i].valid)
            assert_true(traceparent_valid(span_of(text)));
        else
            assert_string_equal(text, "untouched");
    }
}

/* The span id is the first eight bytes of the id's 128-bit hash, the last bit set; written down here by hand. */
static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *received, *id, *derived;
    } rows[] = {
        {"00-" TRACE "-" PARENT "-01", "e-1", "00-" TRACE "-daf57a5bf2f5c10b-01"},
        {"00-" TRACE "-" PARENT "-00", "e-1", "00-" TRACE "-daf57a5bf2f5c10b-00"},
        {"00-" TRACE "-1111111111111111-01", "e-1", "00-" TRACE "-daf57a5bf2f5c10b-01"}, /* whoever the parent was */
        {"00-" TRACE "-" PARENT "-03", "0199c1a2-7b3c-8d4e-9f50-123456789abc", "00-" TRACE "-df0a6f4c5b63d039-03"},
        /* Of a later version: what we write is version 00, and only the sampled flag is known. */
        {"01-" TRACE "-" PARENT "-ff", "e-1", "00-" TRACE "-daf57a5bf2f5c10b-01"},
        {"cc-" TRACE "-" PARENT "-0a", "e-1", "00-" TRACE "-daf57a5bf2f5c10b-00"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[TRACEPARENT_TEXT + 1];
        assert_true(traceparent_derive(span_of(rows[i].received), span_of(rows[i].id), text));
        assert_string_equal(text, rows[i].derived);
    }
}

static void test_span_ids(void **state)
{
    (void)state;
    char last[TRACEPARENT_TEXT + 1] = "";
    for (int i = 0; i < 1000; i++) {
        char id[32], text[TRACEPARENT_TEXT + 1], again[TRACEPARENT_TEXT + 1];
        uint8_t hash[16];
        snprintf(id, sizeof id, "event-%d", i);
        assert_true(traceparent_derive(SPAN("00-" TRACE "-" PARENT "-01"), span_of(id), text));
        assert_true(traceparent_derive(SPAN("00-" TRACE "-" PARENT "-01"), span_of(id), again));
        assert_string_equal(text, again);
        assert_string_not_equal(text, last);
        memcpy(last, text, sizeof text);
        span_hash128(span_of(id), hash);
        char hex[17];
        for (int j = 0; j < 8; j++)
            snprintf(hex + 2 * j, 3, "%02x", j == 7 ? hash[j] | 1u : hash[j]);
        assert_memory_equal(text + 36, hex, 16);
        /* Odd, so never all zero. */
        assert_non_null(strchr("13579bdf", text[51]));
    }
}

static void test_tracestate(void **state)
{
    (void)state;
    char text[TRACESTATE_MAX + 1];
    memset(text, 'a', sizeof text);
    assert_true(tracestate_valid(SPAN("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")));
    assert_true(tracestate_valid(SPAN(" ~")));
    assert_true(tracestate_valid((struct span){text, TRACESTATE_MAX}));
    assert_false(tracestate_valid((struct span){text, TRACESTATE_MAX + 1}));
    assert_false(tracestate_valid(SPAN("")));
    assert_false(tracestate_valid((struct span){NULL, 0}));
    assert_false(tracestate_valid(SPAN("a=b\n")));
    assert_false(tracestate_valid(SPAN("a=\x7f")));
    assert_false(tracestate_valid(SPAN("a=\xc3\xa9")));
    assert_false(tracestate_valid(SPAN("a=\0")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_span_ids),
        cmocka_unit_test(test_tracestate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
