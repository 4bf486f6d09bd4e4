/*
 * test_tree.c - YAML into a tree with places, and everything that is refused on the way.
 */
#include "place.h"

static void places_and_kinds(void **state)
{
    (void)state;
    struct read *read = read_tree("a: 1\nb:\n  - x\n  - 'y'\nc: {d: [p, q]}\n");
    struct node *b = node_get(read->root, "b"), *c = node_get(read->root, "c");
    assert_string_equal(said(read), "");
    assert_int_equal(read->root->kind, NODE_MAPPING);
    assert_int_equal(read->root->count, 3);
    assert_int_equal(b->kind, NODE_SEQUENCE);
    assert_int_equal(b->count, 2);
    assert_string_equal(b->items[1]->text.at, "y");
    assert_true(b->items[1]->quoted);
    assert_false(b->items[0]->quoted);
    assert_int_equal(b->items[1]->place.line, 4);
    assert_int_equal(b->items[1]->place.column, 5);
    assert_non_null(strstr(b->items[1]->place.file, "/t.yaml"));
    assert_int_equal(node_get(c, "d")->items[1]->place.column, 12);
    assert_null(node_get(read->root, "e"));
    assert_null(node_get(b, "a")); /* a list has no keys */
    assert_null(node_get(NULL, "a"));
    read_end(read);
}

static void many_items(void **state)
{
    (void)state;
    char text[4096] = "[";
    struct read *read;
    for (int i = 0; i < 300; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d,", i);
    strcat(text, "300]");
    char *whole = NULL;
    assert_true(asprintf(&whole, "a: %s\n", text) > 0);
    read = read_tree(whole);
    struct node *a = node_get(read->root, "a");
    assert_int_equal(a->count, 301);
    for (size_t i = 0; i < a->count; i++)
        assert_int_equal(strtol(a->items[i]->text.at, NULL, 10), i);
    free(whole);
    read_end(read);
}

static void refuses(const char *text, const char *sentences)
{
    struct read *read = read_tree(text);
    assert_string_equal(said(read), sentences);
    read_end(read);
}

static void what_yaml_can_and_we_do_not(void **state)
{
    (void)state;
    refuses("a: &x 1\n", "1:4 anchors ('&x') are not used here: write the value out\n");
    refuses("a: 1\nb: *x\n", "2:4 aliases ('*x') are not used here: write the value out\n");
    refuses("a: !!int 1\n", "1:4 tags ('tag:yaml.org,2002:int') are not used here: types follow from the key\n");
    refuses("a: 1\nb: 2\na: 3\n", "3:1 'a' stands here twice; the first is on line 1\n");
    refuses("{[a]: b}\n", "1:2 a key must be a plain text\n");
    refuses("a: 1\n---\nb: 2\n", "2:1 a second document starts here; a pipeline is one document\n");
    refuses("", "1:1 the file is empty; expected a pipeline, beginning with 'pipeline: NAME'\n");
    refuses("- a\n", "1:1 expected a mapping, beginning with 'pipeline: NAME'\n");
}

static void a_key_that_is_no_text_is_left_out(void **state)
{
    (void)state;
    struct read *read = read_tree("a: 1\n? [x]\n: 2\nb: 3\n");
    assert_int_equal(read->problems.errors, 1);
    assert_int_equal(read->root->count, 2);
    assert_string_equal(read->root->keys[1]->text.at, "b");
    read_end(read);
}

static void nesting_has_a_bound(void **state)
{
    (void)state;
    char text[256] = "a: ";
    for (int depth = 1; depth < 32; depth++)
        strcat(text, "[");
    strcat(text, "1");
    for (int depth = 1; depth < 32; depth++)
        strcat(text, "]");
    strcat(text, "\n");
    refuses(text, ""); /* the mapping is the first of 32 levels */
    char *deeper = NULL;
    assert_true(asprintf(&deeper, "b: {c: %.*s}\n", (int)strlen(text) - 4, text + 3) > 0);
    struct read *read = read_tree(deeper);
    assert_int_equal(read->problems.errors, 1);
    assert_string_equal(read->problems.list[0].code, "too_deep");
    free(deeper);
    read_end(read);
}

static void problems_are_text(void **state)
{
    (void)state;
    struct read *read = read_begin();
    struct place place = {"f.yaml", 3, 7};
    struct buffer out;
    problem_add(&read->problems, place, "x", "a\nb\x01 \xff \xc3\xa9 \xe2\x82");
    problem_warn(&read->problems, (struct place){"f.yaml", 1, 1}, "w", "say \"%s\"", "it");
    problems_sort(&read->problems);
    buffer_init(&out, 4096);
    problems_print(&read->problems, false, &out);
    buffer_byte(&out, '\0');
    assert_string_equal(out.at, "f.yaml:1:1: warning: say \"it\"\nf.yaml:3:7: error: a\\x0ab\\x01 ? \xc3\xa9 ??\n");
    buffer_clear(&out);
    problems_print(&read->problems, true, &out);
    buffer_byte(&out, '\0');
    assert_non_null(strstr(out.at, "{\"level\":\"warning\",\"code\":\"w\",\"line\":1,\"column\":1,\"file\":\"f.yaml\","
                                   "\"message\":\"say \\\"it\\\"\"}"));
    assert_int_equal(read->problems.errors, 1);
    assert_int_equal(read->problems.count, 2);
    buffer_free(&out);
    read_end(read);
}

static void problems_have_a_bound(void **state)
{
    (void)state;
    struct read *read = read_begin();
    for (int i = 0; i < 5000; i++)
        problem_add(&read->problems, (struct place){"f", 1, 1}, "x", "again %d", i);
    assert_int_equal(read->problems.count, 1000);
    read_end(read);
}

static void nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"handler", "routes", "retry", "key", NULL};
    assert_string_equal(nearest_name("handlr", names), "handler");
    assert_string_equal(nearest_name("ahndler", names), "handler"); /* swapped letters are one slip */
    assert_string_equal(nearest_name("keys", names), "key");
    assert_string_equal(nearest_name("rotues", names), "routes");
    assert_null(nearest_name("zebra", names));
    assert_null(nearest_name("x", names));
    assert_null(nearest_name("a name that is very much longer than any that there could ever be here", names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_and_kinds),
        cmocka_unit_test(many_items),
        cmocka_unit_test(what_yaml_can_and_we_do_not),
        cmocka_unit_test(a_key_that_is_no_text_is_left_out),
        cmocka_unit_test(nesting_has_a_bound),
        cmocka_unit_test(problems_are_text),
        cmocka_unit_test(problems_have_a_bound),
        cmocka_unit_test(nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
