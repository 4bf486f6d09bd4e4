/*
 * test_buffer.c - growing bytes: contents, the maximum, failure that sticks, JSON strings.
 */
#include "check.h"

#include "base/buffer.h"

#define assert_holds(buffer, literal) assert_true(span_equal(buffer_view(buffer), SPAN(literal)))

static void test_append(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    assert_int_equal(buffer_view(&buffer).length, 0);
    buffer_append(&buffer, "ab", 2);
    buffer_append(&buffer, NULL, 0);
    buffer_span(&buffer, SPAN("cd"));
    buffer_text(&buffer, "ef");
    buffer_byte(&buffer, 'g');
    buffer_format(&buffer, "%d%s", 12, "h");
    assert_holds(&buffer, "abcdefg12h");
    buffer_clear(&buffer);
    assert_holds(&buffer, "");
    buffer_free(&buffer);
    buffer_text(&buffer, "again");
    assert_holds(&buffer, "again");
    buffer_free(&buffer);
    struct buffer zero = {0};
    buffer_free(&zero);
}

static void test_int64(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        const char *text;
    } rows[] = {{0, "0"},
                {7, "7"},
                {-7, "-7"},
                {10, "10"},
                {INT64_MAX, "9223372036854775807"},
                {INT64_MIN, "-9223372036854775808"}};
    struct buffer buffer;
    buffer_init(&buffer, 100);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buffer_clear(&buffer);
        buffer_int64(&buffer, rows[i].value);
        assert_true(span_is(buffer_view(&buffer), rows[i].text));
    }
    buffer_free(&buffer);
}

/* Exactly up to the maximum; one byte more changes nothing and everything after it is ignored until buffer_clear(). */
static void test_max(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    for (int i = 0; i < 999; i++)
        buffer_byte(&buffer, 'x');
    assert_false(buffer.failed);
    buffer_text(&buffer, "ab");
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 999);
    buffer_byte(&buffer, 'c');
    assert_int_equal(buffer.length, 999);
    assert_null(buffer_reserve(&buffer, 0));
    buffer_clear(&buffer);
    buffer_format(&buffer, "%01000d", 1);
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 1000);
    buffer_clear(&buffer);
    buffer_format(&buffer, "%01001d", 1);
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 0);
    buffer_clear(&buffer);
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    buffer_free(&buffer);
    assert_int_equal(buffer.max, 1000);
    assert_false(buffer.failed);

    struct buffer none = {0};
    buffer_append(&none, "", 0);
    assert_false(none.failed);
    buffer_byte(&none, 'x');
    assert_true(none.failed);
    buffer_free(&none);
}

static void test_reserve(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 100000);
    for (int round = 0; round < 300; round++) {
        char *at = buffer_reserve(&buffer, 300);
        assert_non_null(at);
        memset(at, round, 300);
        buffer.length += 300;
    }
    for (int i = 0; i < 90000; i++)
        assert_int_equal((unsigned char)buffer.at[i], i / 300 & 255);
    buffer_free(&buffer);
}

static void test_json_string(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    buffer_json_string(&buffer, SPAN("plain \xc3\xa9 / text"));
    assert_holds(&buffer, "\"plain \xc3\xa9 / text\"");
    buffer_clear(&buffer);
    buffer_json_string(&buffer, SPAN("\"\\\n\r\t\x01\x1f\x7f\0end"));
    assert_holds(&buffer, "\"\\\"\\\\\\n\\r\\t\\u0001\\u001f\\u007f\\u0000end\"");
    buffer_clear(&buffer);
    buffer_json_string(&buffer, (struct span){NULL, 0});
    assert_holds(&buffer, "\"\"");
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),  cmocka_unit_test(test_int64),       cmocka_unit_test(test_max),
        cmocka_unit_test(test_reserve), cmocka_unit_test(test_json_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
