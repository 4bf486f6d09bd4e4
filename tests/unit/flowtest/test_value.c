/*
 * test_value.c - what a flow test expects in YAML, beside what there is in JSON.
 */
#include "check.h"

#include "flowtest/value.h"

#include <stdio.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_create(64 * 1024, 64 * 1024 * 1024);
    return arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

/* The value under `v` of a file with `v: YAML`. */
static struct node *node_of(const char *yaml)
{
    char path[] = "/tmp/sluice-value.XXXXXX";
    struct problems problems;
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_true(dprintf(file, "v: %s\n", yaml) > 0);
    close(file);
    problems_init(&problems, arena);
    struct node *root = tree_read(arena_string(arena, span_of(path)), arena, &problems);
    unlink(path);
    assert_int_equal(problems.errors, 0);
    return node_get(root, "v");
}

static void assert_matches(const char *yaml, const char *json)
{
    struct difference difference = {.path = ""};
    if (!value_matches(node_of(yaml), span_of(json), arena, &difference))
        fail_msg("%s is not in %s: %s", yaml, json, difference.path);
}

static void assert_differs(const char *yaml, const char *json, const char *path, const char *expected,
                           const char *actual)
{
    struct difference difference = {.path = ""};
    assert_false(value_matches(node_of(yaml), span_of(json), arena, &difference));
    assert_string_equal(difference.path, path);
    assert_string_equal(difference.expected, expected);
    if (actual == NULL)
        assert_null(difference.actual);
    else
        assert_string_equal(difference.actual, actual);
}

static void test_scalars(void **state)
{
    (void)state;
    assert_matches("10", "10");
    assert_matches("10", "10.0");
    assert_matches("-1.5e3", "-1500");
    assert_matches("true", "true");
    assert_matches("null", "null");
    assert_matches("", "null");
    assert_matches("abc", "\"abc\"");
    assert_matches("1s", "\"1s\"");
    assert_matches("\"10\"", "\"10\"");
    assert_matches("'true'", "\"true\"");
    assert_matches("é", "\"\\u00e9\"");
    assert_differs("10", "\"10\"", "", "10", "\"10\"");
    assert_differs("'10'", "10", "", "\"10\"", "10");
    assert_differs("true", "\"true\"", "", "true", "\"true\"");
    assert_differs("10", "11", "", "10", "11");
    assert_differs("null", "0", "", "null", "0");
    assert_differs("abc", "[\"abc\"]", "", "\"abc\"", "[\"abc\"]");
}

static void test_objects_hold_more(void **state)
{
    (void)state;
    assert_matches("{a: 1}", "{\"a\": 1, \"b\": 2}");
    assert_matches("{}", "{\"b\": 2}");
    assert_matches("{a: {b: x}}", "{\"a\": {\"c\": [], \"b\": \"x\"}}");
    assert_differs("{a: {b: x}}", "{\"a\": {\"b\": \"y\"}}", "a.b", "\"x\"", "\"y\"");
    assert_differs("{a: 1}", "{\"b\": 1}", "a", "1", NULL);
    assert_differs("{a: 1}", "[1]", "", "{\"a\":1}", "[1]");
}

static void test_lists_are_whole(void **state)
{
    (void)state;
    assert_matches("[1, [x, null]]", "[1,[\"x\",null]]");
    assert_matches("[]", "[]");
    assert_differs("[1]", "[1,2]", "", "[1]", "[1,2]");
    assert_differs("[1, 2]", "[1]", "", "[1,2]", "[1]");
    assert_differs("[1, [2, 3]]", "[1,[2,4]]", "[1][1]", "3", "4");
    assert_differs("[1]", "{\"0\":1}", "", "[1]", "{\"0\":1}");
}

static void test_what_agrees_is_counted(void **state)
{
    (void)state;
    struct difference difference = {.path = ""};
    assert_false(value_matches(node_of("{a: 1, b: 2, c: {d: 3, e: 4}}"),
                               SPAN("{\"a\":1,\"b\":0,\"c\":{\"d\":3,\"e\":4}}"), arena, &difference));
    assert_int_equal(difference.same, 3);
    assert_string_equal(difference.path, "b");
}

static void test_json_of_yaml(void **state)
{
    (void)state;
    assert_string_equal(value_text(node_of("{a: 1, b: 'x\"', c: [true, null, 007, 1.5], d: {}}"), arena),
                        "{\"a\":1,\"b\":\"x\\\"\",\"c\":[true,null,\"007\",1.5],\"d\":{}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),         cmocka_unit_test(test_objects_hold_more),
        cmocka_unit_test(test_lists_are_whole), cmocka_unit_test(test_what_agrees_is_counted),
        cmocka_unit_test(test_json_of_yaml),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
