/*
 * test_correlation.c - which values of a field tie events to a chain, and which of them are the same.
 */
#include "check.h"

#include "event/correlation.h"
#include "event/event.h"

/* value as JSON → the correlation, or NULL and what there is instead */
static const struct {
    const char *value, *correlation, *got;
} cases[] = {
    {"\"a\"", "a", NULL},
    {"\"7772\"", "7772", NULL},
    {"\"7772.0\"", "7772.0", NULL}, /* a text is what it says */
    {"\" a \"", " a ", NULL},
    {"\"\\u0041\\n\"", NULL, "a text with a control character"},
    {"\"\\u0041\"", "A", NULL},
    {"\"\xc3\xa4\"", "\xc3\xa4", NULL},
    {"7772", "7772", NULL},
    {"7772.0", "7772", NULL},
    {"7772.000", "7772", NULL},
    {"7.772e3", "7772", NULL},
    {"7.7720E+3", "7772", NULL},
    {"77720e-1", "7772", NULL},
    {"777200.00e-2", "7772", NULL},
    {"0", "0", NULL},
    {"-0", "0", NULL},
    {"0.0", "0", NULL},
    {"0e999999999999", "0", NULL},
    {"-0.0e-5", "0", NULL},
    {"100", "100", NULL},
    {"1e2", "100", NULL},
    {"-12", "-12", NULL},
    {"-1.2e1", "-12", NULL},
    {"9223372036854775807", "9223372036854775807", NULL},
    {"-9223372036854775808", "-9223372036854775808", NULL},
    {"9.223372036854775807e18", "9223372036854775807", NULL},
    {"92233720368547758070000e-4", "9223372036854775807", NULL},
    {"9223372036854775808", NULL, "a number with a fraction or of more than 64 bits"},
    {"-9223372036854775809", NULL, "a number with a fraction or of more than 64 bits"},
    {"1e19", NULL, "a number with a fraction or of more than 64 bits"},
    {"1e999999999999999999999", NULL, "a number with a fraction or of more than 64 bits"},
    {"0.5", NULL, "a number with a fraction or of more than 64 bits"},
    {"7772.01", NULL, "a number with a fraction or of more than 64 bits"},
    {"7772e-1", NULL, "a number with a fraction or of more than 64 bits"},
    {"1e-999999999999999999999", NULL, "a number with a fraction or of more than 64 bits"},
    {"123456789012345678901234567890", NULL, "a number with a fraction or of more than 64 bits"},
    {"\"\"", NULL, "an empty text"},
    {"null", NULL, "null"},
    {"true", NULL, "true"},
    {"false", NULL, "false"},
    {"{\"id\":\"a\"}", NULL, "an object"},
    {"[\"a\"]", NULL, "a list"},
};

static void every_value(void **state)
{
    struct arena *arena = arena_create(4096, 1 << 20);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object data;
        struct span correlation = {0};
        const char *got = NULL;
        char *text = arena_format(arena, "{\"other\":1,\"id\":%s}", cases[i].value);
        assert_int_equal(json_scan(span_of(text), arena, &data, NULL), 0);
        enum correlation_kind kind = correlation_read(&data, SPAN("id"), arena, &correlation, &got);
        if (cases[i].correlation != NULL) {
            if (kind != CORRELATION_USABLE || !span_is(correlation, cases[i].correlation))
                fail_msg("%s is not %s, but '%.*s'", cases[i].value, cases[i].correlation, (int)correlation.length,
                         correlation.at);
        } else {
            assert_int_equal(kind, strcmp(cases[i].value, "null") == 0 ? CORRELATION_MISSING : CORRELATION_UNUSABLE);
            assert_string_equal(got, cases[i].got);
        }
        assert_int_equal(correlation_read(&data, SPAN("id"), arena, &correlation, NULL), kind);
        assert_int_equal(correlation_read(&data, SPAN("ID"), arena, &correlation, &got), CORRELATION_MISSING);
        assert_string_equal(got, "nothing");
    }
    arena_destroy(arena);
}

static void the_longest_text(void **state)
{
    struct arena *arena = arena_create(4096, 1 << 20);
    (void)state;
    for (size_t length = EVENT_ID_MAX; length <= EVENT_ID_MAX + 1; length++) {
        char letters[EVENT_ID_MAX + 2] = "";
        struct json_object data;
        struct span correlation;
        memset(letters, 'x', length);
        char *text = arena_format(arena, "{\"id\":\"%s\"}", letters);
        assert_int_equal(json_scan(span_of(text), arena, &data, NULL), 0);
        assert_int_equal(correlation_read(&data, SPAN("id"), arena, &correlation, NULL),
                         length <= EVENT_ID_MAX ? CORRELATION_USABLE : CORRELATION_UNUSABLE);
    }
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_value), cmocka_unit_test(the_longest_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
