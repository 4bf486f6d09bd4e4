/*
 * test_json_value.c - the members that a scan finds, and their names, strings and numbers.
 */
#include "arena_state.h"

#include "event/json.h"

static void assert_member(const struct json_object *object, size_t i, const char *name, const char *value,
                          enum json_kind kind)
{
    assert_true(i < object->count);
    assert_true(span_is(object->members[i].name, name));
    assert_true(span_is(object->members[i].value, value));
    assert_int_equal(object->members[i].kind, kind);
}

static void test_members(void **state)
{
    static const char text[] = " { \"a\" : \"x\\ty\" , \"b\":[1,{\"q\":\"]}\"}],\"data\" : "
                               "{\"n\":-1.5e3,\"t\":true,\"o\":{\"p\":{}},\"s\":\"\\\"}\"} ,"
                               "\"f\":false,\"\\u006e\":null}";
    struct json_object object, inner, again;
    assert_int_equal(json_scan_nested(span_of(text), SPAN("data"), *state, &object, &inner, NULL, NULL), 0);
    assert_int_equal(object.count, 5);
    assert_member(&object, 0, "a", "\"x\\ty\"", JSON_KIND_STRING);
    assert_true(object.members[0].value_escaped);
    assert_member(&object, 1, "b", "[1,{\"q\":\"]}\"}]", JSON_KIND_ARRAY);
    assert_member(&object, 2, "data", "{\"n\":-1.5e3,\"t\":true,\"o\":{\"p\":{}},\"s\":\"\\\"}\"}", JSON_KIND_OBJECT);
    assert_member(&object, 3, "f", "false", JSON_KIND_FALSE);
    assert_member(&object, 4, "\\u006e", "null", JSON_KIND_NULL);
    assert_true(object.members[4].name_escaped);
    assert_false(object.members[3].name_escaped);
    assert_int_equal(inner.count, 4);
    assert_true(span_equal(inner.text, object.members[2].value));
    assert_member(&inner, 0, "n", "-1.5e3", JSON_KIND_NUMBER);
    assert_member(&inner, 1, "t", "true", JSON_KIND_TRUE);
    assert_member(&inner, 2, "o", "{\"p\":{}}", JSON_KIND_OBJECT);
    assert_member(&inner, 3, "s", "\"\\\"}\"", JSON_KIND_STRING);

    /* A second look at an accepted object finds the same. */
    for (int round = 0; round < 2; round++) {
        const struct json_object *first = round == 0 ? &object : &inner;
        json_members(first->text, *state, &again);
        assert_int_equal(again.count, first->count);
        for (size_t i = 0; i < again.count; i++) {
            assert_ptr_equal(again.members[i].name.at, first->members[i].name.at);
            assert_true(span_equal(again.members[i].name, first->members[i].name));
            assert_true(span_equal(again.members[i].value, first->members[i].value));
            assert_int_equal(again.members[i].kind, first->members[i].kind);
            assert_int_equal(again.members[i].name_escaped, first->members[i].name_escaped);
            assert_int_equal(again.members[i].value_escaped, first->members[i].value_escaped);
        }
    }
    json_members(SPAN("{ }"), *state, &again);
    assert_int_equal(again.count, 0);
}

/* The inner object counts only on the level below the top, when it is an object. */
static void test_inner(void **state)
{
    static const char *const none[] = {"{}",
                                       "{\"data\":1}",
                                       "{\"data\":[{\"a\":1}]}",
                                       "{\"x\":{\"data\":{\"a\":1}}}",
                                       "{\"Data\":{\"a\":1}}",
                                       "{\"d\\u0061ta\":{\"a\":1}}"};
    struct json_object object, inner;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(json_scan_nested(span_of(none[i]), SPAN("data"), *state, &object, &inner, NULL, NULL), 0);
        assert_null(inner.text.at);
        assert_int_equal(inner.count, 0);
    }
    assert_int_equal(json_scan_nested(SPAN("{\"\\u0061\":{}}"), SPAN("\\u0061"), *state, &object, &inner, NULL, NULL),
                     0);
    assert_null(inner.text.at);
    assert_int_equal(json_scan_nested(SPAN("{\"data\":{}}"), SPAN("data"), *state, &object, &inner, NULL, NULL), 0);
    assert_true(span_is(inner.text, "{}"));
}

static void test_elements(void **state)
{
    struct json_object object, list, none;
    static const char text[] = "{\"l\": [ 1, \"a,]\", [2, []] ,{\"b\":[3]},null ],\"e\":[ ]}";
    assert_int_equal(json_scan(span_of(text), *state, &object, NULL), 0);
    json_elements(object.members[0].value, *state, &list);
    assert_int_equal(list.count, 5);
    assert_member(&list, 0, "", "1", JSON_KIND_NUMBER);
    assert_member(&list, 1, "", "\"a,]\"", JSON_KIND_STRING);
    assert_member(&list, 2, "", "[2, []]", JSON_KIND_ARRAY);
    assert_member(&list, 3, "", "{\"b\":[3]}", JSON_KIND_OBJECT);
    assert_member(&list, 4, "", "null", JSON_KIND_NULL);
    json_elements(object.members[1].value, *state, &none);
    assert_int_equal(none.count, 0);
}

static void test_find(void **state)
{
    struct json_object object;
    assert_int_equal(
        json_scan(SPAN("{\"a\":1,\"\\u0062\":2,\"\\\\u0061\":3,\"\xc3\xa9\":4,\"\\uD83D\\uDE00\":5,\"\":6}"), *state,
                  &object, NULL),
        0);
    assert_ptr_equal(json_find(&object, SPAN("a")), &object.members[0]);
    assert_ptr_equal(json_find(&object, SPAN("b")), &object.members[1]);
    assert_ptr_equal(json_find(&object, SPAN("\\u0061")), &object.members[2]);
    assert_ptr_equal(json_find(&object, SPAN("\xc3\xa9")), &object.members[3]);
    assert_ptr_equal(json_find(&object, SPAN("\xf0\x9f\x98\x80")), &object.members[4]);
    assert_ptr_equal(json_find(&object, SPAN("")), &object.members[5]);
    assert_null(json_find(&object, SPAN("c")));
    assert_null(json_find(&object, SPAN("bb")));
    assert_null(json_find(&object, SPAN("\\u0062")));
    assert_null(json_find(&(struct json_object){0}, SPAN("a")));
}

static void test_unescape(void **state)
{
    static const struct {
        const char *string;
        struct span plain;
    } rows[] = {
        {"\"\"", SPAN("")},
        {"\"abc\"", SPAN("abc")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", SPAN("\"\\/\b\f\n\r\t")},
        {"\"x\\u0041y\\u007f\"", SPAN("xAy\x7f")},
        {"\"\\u0080\\u07ff\\u0800\\uFFFF\"", SPAN("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
        {"\"\\uD800\\uDC00\\udbff\\udfff\"", SPAN("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
        {"\"\xc3\xa9\\u00E9\"", SPAN("\xc3\xa9\xc3\xa9")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span plain = json_unescape(span_of(rows[i].string), strchr(rows[i].string, '\\') != NULL, *state);
        if (!span_equal(plain, rows[i].plain))
            fail_msg("%s became %.*s", rows[i].string, (int)plain.length, plain.at);
    }
    const char *untouched = "\"abc\"";
    assert_ptr_equal(json_unescape(span_of(untouched), false, *state).at, untouched + 1);
}

static void test_int64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        int64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"42", 0, 42},
        {"-42", 0, -42},
        {"9007199254740993", 0, 9007199254740993}, /* 2^53 + 1: a double would lose it */
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"99999999999999999999999999", -ERANGE, 0},
        {"1.0", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"99999999999999999999999999.5", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t value = 77;
        assert_int_equal(json_int64(span_of(rows[i].text), &value), rows[i].result);
        assert_int_equal(value, rows[i].result == 0 ? rows[i].value : 77);
    }
}

static void test_double(void **state)
{
    (void)state;
    double value = 77;
    assert_int_equal(json_double(SPAN("1e400"), &value), -ERANGE);
    assert_int_equal(json_double(SPAN("-1e400"), &value), -ERANGE);
    assert_int_equal(json_double(SPAN(""), &value), -EINVAL);
    assert_true(value == 77);
    assert_int_equal(json_double(SPAN("19.99"), &value), 0);
    assert_true(value == 19.99);
    assert_int_equal(json_double(SPAN("-1.5e3"), &value), 0);
    assert_true(value == -1500);
    assert_int_equal(json_double(SPAN("1e-400"), &value), 0);
    assert_true(value == 0);
    assert_int_equal(json_double((struct span){"12345", 2}, &value), 0);
    assert_true(value == 12);
    char longer[1000];
    memset(longer, '1', sizeof longer);
    longer[1] = '.';
    assert_int_equal(json_double((struct span){longer, sizeof longer}, &value), 0);
    assert_true(value > 1.1111111 && value < 1.1111112);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),  cmocka_unit_test(test_inner),    cmocka_unit_test(test_find),
        cmocka_unit_test(test_elements), cmocka_unit_test(test_unescape), cmocka_unit_test(test_int64),
        cmocka_unit_test(test_double),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
