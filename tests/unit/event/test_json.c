/*
 * test_json.c - what the scanner accepts, what it refuses and where.
 */
#include "arena_state.h"

#include "event/json.h"

/* The text in memory of its own length, so that a sanitizer sees a byte read too far. */
static int scan_exact(struct span text, struct arena *arena, struct json_object *ret, enum json_fault *ret_fault,
                      struct error *error)
{
    char *copy = malloc(text.length + (text.length == 0));
    assert_non_null(copy);
    memcpy(copy, text.at, text.length);
    int result = json_scan_nested((struct span){copy, text.length}, SPAN("data"), arena, ret, NULL, ret_fault, error);
    free(copy);
    return result;
}

static void test_accepted(void **state)
{
    static const char *const texts[] = {
        "{}",
        " \t\r\n{ } \n",
        "{\"a\":1}",
        "{\"\":0}",
        "{\"a\":[],\"b\":{},\"c\":[{},[]]}",
        "{\"a\":0,\"b\":-0,\"c\":10,\"d\":1.5,\"e\":-0.0,\"f\":1e5,\"g\":1E+5,\"h\":1.25e-10}",
        "{\"a\":1e400,\"b\":123456789012345678901234567890}",
        "{\"a\":true,\"b\":false,\"c\":null}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uABCD\\uabcd\"}",
        "{\"a\":\"\\ud83d\\ude00\\uDBFF\\uDFFF\"}",
        "{\"a\":\"\x7f\"}",
        "{\"a\":\"\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf \xf0\x90\x80\x80 "
        "\xf4\x8f\xbf\xbf\"}",
        "{\"a\":{\"a\":{\"a\":1}}}",
        "{\"a\":1,\"A\":2,\"aa\":3,\" a\":4}",
        "{\"a\" : [ 1 , 2 ] , \"b\" : { \"c\" : \"d\" } }",
        "{\"a\":[{\"x\":1},{\"x\":2}],\"x\":3}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json_object object;
        struct error error = {0};
        if (scan_exact(span_of(texts[i]), *state, &object, NULL, &error) != 0)
            fail_msg("%s: %s", texts[i], error.text);
        assert_true(object.text.length == strlen(texts[i]) || i == 1);
    }
}

struct refused {
    struct span text;
    enum json_fault fault;
    const char *says;
    size_t at;
};

#define ROW(text, fault, says, at)                                                                                     \
    {                                                                                                                  \
        SPAN(text), JSON_FAULT_##fault, says, at                                                                       \
    }

static const struct refused refused[] = {
    /* not an object */
    ROW("", NOT_OBJECT, "nothing but white space", 0),
    ROW(" \n\t", NOT_OBJECT, "nothing but white space", 3),
    ROW("null", NOT_OBJECT, "an object was expected", 0),
    ROW(" 42 ", NOT_OBJECT, "an object was expected", 1),
    ROW("[]", NOT_OBJECT, "an object was expected", 0),
    ROW("[{\"a\":1}]", NOT_OBJECT, "an object was expected", 0),
    ROW("\"text\"", NOT_OBJECT, "an object was expected", 0),
    ROW("true", NOT_OBJECT, "an object was expected", 0),
    /* no JSON at all comes first */
    ROW("42 x", TEXT, "bytes follow", 3),
    ROW("[", TEXT, "a value was expected", 1),
    ROW("[1,]", TEXT, "a value was expected", 3),
    ROW("nul", TEXT, "a value was expected", 0),
    ROW("NaN", TEXT, "a value was expected", 0),
    ROW("Infinity", TEXT, "a value was expected", 0),
    ROW("True", TEXT, "a value was expected", 0),
    /* the whole */
    ROW("{\"a\":1}x", TEXT, "bytes follow", 7),
    ROW("{\"a\":1}{}", TEXT, "bytes follow", 7),
    ROW("{\"a\":1},", TEXT, "bytes follow", 7),
    ROW("{\"a\":1}\0", TEXT, "bytes follow", 7),
    ROW("\0{}", TEXT, "a value was expected", 0),
    ROW("\xef\xbb\xbf{}", TEXT, "a value was expected", 0),
    ROW("\xff\xfe{\0}\0", TEXT, "a value was expected", 0),
    ROW("// x\n{}", TEXT, "a value was expected", 0),
    ROW("{/* x */}", TEXT, "the name of a member was expected", 1),
    ROW("{\"a\":1 /* x */}", TEXT, "a comma or } was expected", 7),
    ROW("\x0b{}", TEXT, "a value was expected", 0),
    ROW("\xc2\xa0{}", TEXT, "a value was expected", 0),
    /* objects and arrays */
    ROW("{", TEXT, "the name of a member was expected", 1),
    ROW("{\"a\"", TEXT, "a colon was expected", 4),
    ROW("{\"a\":", TEXT, "the text ends where a value", 5),
    ROW("{\"a\":1", TEXT, "before everything is closed", 6),
    ROW("{\"a\":1,", TEXT, "the name of a member was expected", 7),
    ROW("{\"a\":1,}", TEXT, "the name of a member was expected", 7),
    ROW("{,}", TEXT, "the name of a member was expected", 1),
    ROW("{a:1}", TEXT, "the name of a member was expected", 1),
    ROW("{'a':1}", TEXT, "the name of a member was expected", 1),
    ROW("{\"a\":'b'}", TEXT, "a value was expected", 5),
    ROW("{1:1}", TEXT, "the name of a member was expected", 1),
    ROW("{\"a\":1]", TEXT, "a comma or } was expected", 6),
    ROW("{\"a\":[1}", TEXT, "a comma or ] was expected", 7),
    ROW("{\"a\":[1 2]}", TEXT, "a comma or ] was expected", 8),
    ROW("{\"a\":[,1]}", TEXT, "a value was expected", 6),
    ROW("{\"a\" 1}", TEXT, "a colon was expected", 5),
    ROW("{\"a\"::1}", TEXT, "a value was expected", 5),
    ROW("{\"a\":1 \"b\":2}", TEXT, "a comma or } was expected", 7),
    ROW("{\"a\":}", TEXT, "a value was expected", 5),
    /* numbers */
    ROW("{\"a\":01}", TEXT, "needless zero", 5),
    ROW("{\"a\":-01}", TEXT, "needless zero", 6),
    ROW("{\"a\":-}", TEXT, "no digits", 6),
    ROW("{\"a\":+1}", TEXT, "a value was expected", 5),
    ROW("{\"a\":.5}", TEXT, "a value was expected", 5),
    ROW("{\"a\":1.}", TEXT, "no digits behind its point", 7),
    ROW("{\"a\":1.e5}", TEXT, "no digits behind its point", 7),
    ROW("{\"a\":1e}", TEXT, "no digits in its exponent", 7),
    ROW("{\"a\":1e+}", TEXT, "no digits in its exponent", 8),
    ROW("{\"a\":0x10}", TEXT, "a comma or } was expected", 6),
    ROW("{\"a\":1_000}", TEXT, "a comma or } was expected", 6),
    ROW("{\"a\":-Infinity}", TEXT, "no digits", 6),
    ROW("{\"a\":1", TEXT, "before everything is closed", 6),
    ROW("{\"a\":-", TEXT, "no digits", 6),
    ROW("{\"a\":1.", TEXT, "no digits behind its point", 7),
    ROW("{\"a\":1e", TEXT, "no digits in its exponent", 7),
    ROW("{\"a\":tru", TEXT, "a value was expected", 5),
    /* strings */
    ROW("{\"a\":\"b", TEXT, "ends inside a string", 7),
    ROW("{\"a", TEXT, "ends inside a string", 3),
    ROW("{\"a\":\"longer than a word of eight", TEXT, "ends inside a string", 33),
    ROW("{\"a\":\"b\\", TEXT, "ends inside a string", 7),
    ROW("{\"a\":\"\\\"}", TEXT, "ends inside a string", 9),
    ROW("{\"a\":\"\n\"}", TEXT, "control character", 6),
    ROW("{\"a\":\"12345678\x1f\"}", TEXT, "control character", 14),
    ROW("{\"a\":\"\0\"}", TEXT, "control character", 6),
    ROW("{\"a\":\"\\x41\"}", TEXT, "no escape", 6),
    ROW("{\"a\":\"\\'\"}", TEXT, "no escape", 6),
    ROW("{\"a\":\"\\\0\"}", TEXT, "no escape", 6),
    ROW("{\"a\":\"\\u12g4\"}", TEXT, "four hexadecimal digits", 6),
    ROW("{\"a\":\"\\u12", TEXT, "four hexadecimal digits", 6),
    ROW("{\"a\":\"\\u0000\"}", TEXT, "\\u0000", 6),
    ROW("{\"\\u0000\":1}", TEXT, "\\u0000", 2),
    ROW("{\"a\":\"\\ud800\"}", TEXT, "high surrogate", 6),
    ROW("{\"a\":\"\\ud800x\"}", TEXT, "high surrogate", 6),
    ROW("{\"a\":\"\\ud800\\u0041\"}", TEXT, "high surrogate", 6),
    ROW("{\"a\":\"\\ud800\\ud800\"}", TEXT, "high surrogate", 6),
    ROW("{\"a\":\"\\ud800\\ude\"}", TEXT, "high surrogate", 6),
    ROW("{\"a\":\"\\udc00\"}", TEXT, "low surrogate", 6),
    ROW("{\"a\":\"\\udc00\\ud800\"}", TEXT, "low surrogate", 6),
    /* UTF-8 */
    ROW("{\"a\":\"\x80\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xc0\x80\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xc1\xbf\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xc2\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xc2", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xe0\x9f\xbf\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xe2\x82\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xe2\x28\xa1\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xed\xa0\x80\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xf0\x8f\xbf\xbf\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xf4\x90\x80\x80\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xf0\x90\x80\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xf0\x90\x80\x28\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xf5\x80\x80\x80\"}", TEXT, "not UTF-8", 6),
    ROW("{\"a\":\"\xff\"}", TEXT, "not UTF-8", 6),
    ROW("{\"\xff\":1}", TEXT, "not UTF-8", 2),
    ROW("{\xff:1}", TEXT, "the name of a member was expected", 1),
    /* names that stand twice */
    ROW("{\"a\":1,\"a\":2}", TEXT, "stands twice", 7),
    ROW("{\"a\":1,\"b\":2,\"a\":1}", TEXT, "stands twice", 13),
    ROW("{\"a\":1,\"\\u0061\":2}", TEXT, "stands twice", 7),
    ROW("{\"\\u0061\":1,\"a\":2}", TEXT, "stands twice", 12),
    ROW("{\"\\u0061\":1,\"\\u0061\":2}", TEXT, "stands twice", 12),
    ROW("{\"\\u00e9\":1,\"\xc3\xa9\":2}", TEXT, "stands twice", 12),
    ROW("{\"\\uD83D\\uDE00\":1,\"\xf0\x9f\x98\x80\":2}", TEXT, "stands twice", 18),
    ROW("{\"\\/\":1,\"/\":2}", TEXT, "stands twice", 8),
    ROW("{\"\":1,\"\":2}", TEXT, "stands twice", 6),
    ROW("{\"x\":{\"a\":1,\"a\":2}}", TEXT, "stands twice", 12),
    ROW("{\"x\":[[{\"b\":{\"c\":1},\"a\":1,\"b\":2}]]}", TEXT, "stands twice", 26),
};

static void test_refused(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct refused *row = &refused[i];
        struct json_object object = {.count = 77};
        struct error error = {0};
        enum json_fault fault = 0;
        char at[40];
        snprintf(at, sizeof at, ", at byte %zu", row->at);
        int result = scan_exact(row->text, *state, &object, &fault, &error);
        const char *found = strstr(error.text, ", at byte ");
        if (result != -EINVAL || fault != row->fault || strstr(error.text, row->says) == NULL || found == NULL ||
            strcmp(found, at) != 0)
            fail_msg("row %zu, %s: %d, fault %d, %s; expected %s%s", i, row->text.at, result, fault, error.text,
                     row->says, at);
        assert_int_equal(object.count, 77);
    }
    struct json_object object;
    assert_int_equal(json_scan((struct span){NULL, 0}, *state, &object, NULL), -EINVAL);
}

/* Every text that is accepted is refused when any of its bytes at the end is missing. */
static void test_torn(void **state)
{
    static const char text[] = "{\"a\\n\":[1.5e3,true,{\"\xc3\xa9\":\"\\ud83d\\ude00\xf0\x9f\x98\x80\"}],\"data\":{"
                               "\"b\":null,\"c\":\"12345678\"}}";
    struct json_object object;
    for (size_t length = 0; length < sizeof text - 1; length++)
        assert_int_equal(scan_exact((struct span){text, length}, *state, &object, NULL, NULL), -EINVAL);
    assert_int_equal(scan_exact(SPAN("{\"a\":1}"), *state, &object, NULL, NULL), 0);
    assert_int_equal(scan_exact((struct span){text, sizeof text - 1}, *state, &object, NULL, NULL), 0);
}

/* A string of each length and each place of an odd byte: the run of eight never skips one. */
static void test_string_runs(void **state)
{
    struct arena *arena = *state;
    struct json_object object;
    for (size_t length = 0; length < 40; length++) {
        char text[64];
        memcpy(text, "{\"a\":\"", 6);
        memcpy(text + 6 + length, "\"}", 2);
        for (size_t odd = 0; odd < length; odd++) {
            static const char odds[] = {'\x01', '\x1f', '\x80', '\x9f', '\xa0', '\xff', '"'};
            for (size_t i = 0; i < sizeof odds; i++) {
                memset(text + 6, 'x', length);
                text[6 + odd] = odds[i];
                assert_int_equal(scan_exact((struct span){text, length + 8}, arena, &object, NULL, NULL), -EINVAL);
            }
            memset(text + 6, 0x7f, length);
            text[6 + odd] = ' ';
            assert_int_equal(scan_exact((struct span){text, length + 8}, arena, &object, NULL, NULL), 0);
            if (odd + 1 < length) {
                memcpy(text + 6 + odd, "\\n", 2);
                assert_int_equal(json_scan((struct span){text, length + 8}, arena, &object, NULL), 0);
                assert_true(object.members[0].value_escaped);
                assert_int_equal(object.members[0].value.length, length + 2);
            }
        }
        arena_reset(arena);
    }
}

static char *nested(size_t depth, const char *open, const char *close)
{
    size_t open_length = strlen(open), close_length = strlen(close);
    char *text = malloc(depth * (open_length + close_length) + 20);
    assert_non_null(text);
    char *at = stpcpy(text, "{\"a\":");
    for (size_t i = 1; i < depth; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, "1");
    for (size_t i = 1; i < depth; i++)
        at = stpcpy(at, close);
    stpcpy(at, "}");
    return text;
}

static void test_depth(void **state)
{
    static const char *const kinds[][2] = {{"[", "]"}, {"{\"b\":", "}"}, {"[{\"b\":", "}]"}};
    struct json_object object;
    for (size_t i = 0; i < 3; i++) {
        size_t levels = i == 2 ? 2 : 1, fits = (JSON_DEPTH_MAX - 1) / levels + 1;
        char *text = nested(fits, kinds[i][0], kinds[i][1]);
        assert_int_equal(json_scan(span_of(text), *state, &object, NULL), 0);
        free(text);
        text = nested(fits + 1, kinds[i][0], kinds[i][1]);
        struct error error = {0};
        enum json_fault fault = 0;
        assert_int_equal(scan_exact(span_of(text), *state, &object, &fault, &error), -E2BIG);
        assert_int_equal(fault, JSON_FAULT_TOO_DEEP);
        assert_non_null(strstr(error.text, "more than 64 deep"));
        free(text);
    }
    /* A million brackets end at the 65th. */
    char *text = malloc(1000001);
    assert_non_null(text);
    memset(text, '[', 1000000);
    enum json_fault fault = 0;
    assert_int_equal(scan_exact((struct span){text, 1000000}, *state, &object, &fault, NULL), -E2BIG);
    assert_int_equal(fault, JSON_FAULT_TOO_DEEP);
    free(text);
}

/* `count` members, in objects of `each` within an array under "a", which itself counts. */
static void many(struct buffer *out, unsigned count, unsigned each)
{
    buffer_clear(out);
    buffer_text(out, "{\"a\":[");
    for (unsigned i = 1; i < count; i++) {
        buffer_text(out, (i - 1) % each == 0 ? (i == 1 ? "{" : "},{") : ",");
        buffer_format(out, "\"k%u\":%u", i, i);
    }
    buffer_text(out, "}]}");
}

static void test_members_max(void **state)
{
    static const unsigned sizes[] = {1, 2, 24, 25, 95, 96, 97, 1000, 20000};
    struct buffer text;
    buffer_init(&text, 1 << 20);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct json_object object;
        struct error error = {0};
        enum json_fault fault = 0;
        many(&text, JSON_MEMBERS_MAX, sizes[i]);
        assert_int_equal(scan_exact(buffer_view(&text), *state, &object, NULL, &error), 0);
        many(&text, JSON_MEMBERS_MAX + 1, sizes[i]);
        assert_int_equal(scan_exact(buffer_view(&text), *state, &object, &fault, &error), -E2BIG);
        assert_int_equal(fault, JSON_FAULT_TOO_MANY);
        assert_non_null(strstr(error.text, "more than 10000 members"));
        arena_reset(*state);
    }
    buffer_free(&text);
}

/* In objects of every size around the switch from pairs to a table, a name that stands twice is found wherever it
 * stands. */
static void test_twice_in_large(void **state)
{
    static const unsigned sizes[] = {2, 3, 23, 24, 25, 26, 31, 64, 96, 97, 200};
    struct buffer text;
    buffer_init(&text, 1 << 20);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (unsigned round = 0; round < sizes[s]; round++) {
            unsigned twin = (round * 7 + 1) % sizes[s];
            for (int escaped = 0; escaped < 2; escaped++) {
                struct json_object object;
                buffer_clear(&text);
                for (unsigned i = 0; i < sizes[s]; i++) {
                    buffer_text(&text, i == 0 ? "{" : ",");
                    if (i == round && escaped)
                        buffer_format(&text, "\"\\u006b%u\":1", twin);
                    else
                        buffer_format(&text, "\"k%u\":1", i == round ? twin : i);
                }
                buffer_byte(&text, '}');
                int expected = round == twin ? 0 : -EINVAL;
                assert_int_equal(json_scan(buffer_view(&text), *state, &object, NULL), expected);
            }
        }
        arena_reset(*state);
    }
    buffer_free(&text);
}

/* Ten thousand names of one length and shape, in one object, take no quadratic time. */
static void test_many_alike(void **state)
{
    (void)state;
    struct buffer text;
    buffer_init(&text, 1 << 20);
    buffer_byte(&text, '{');
    for (unsigned i = 0; i < JSON_MEMBERS_MAX; i++)
        buffer_format(&text, "%s\"\\u006bey-%05u-end\":0", i == 0 ? "" : ",", i);
    buffer_byte(&text, '}');
    struct json_object object;
    struct arena *arena = arena_create(64 * 1024, 8 * text.length);
    assert_int_equal(json_scan(buffer_view(&text), arena, &object, NULL), 0);
    assert_int_equal(object.count, JSON_MEMBERS_MAX);
    arena_destroy(arena);
    buffer_free(&text);
}

/* More members than the scanner keeps on its own stack. */
static void test_wide(void **state)
{
    for (unsigned count = 60; count < 400; count += 17) {
        struct buffer text;
        struct json_object object, inner, again;
        buffer_init(&text, 1 << 20);
        for (unsigned i = 0; i < count; i++)
            buffer_format(&text, "%s\"k%u\":%s%u}", i == 0 ? "{" : ",", i,
                          i == count / 2 ? "{\"z\":1,\"y\":" : "{\"x\":", i);
        buffer_byte(&text, '}');
        char name[20];
        snprintf(name, sizeof name, "k%u", count / 2);
        assert_int_equal(json_scan_nested(buffer_view(&text), span_of(name), *state, &object, &inner, NULL, NULL), 0);
        assert_int_equal(object.count, count);
        assert_int_equal(inner.count, 2);
        json_members(object.text, *state, &again);
        assert_int_equal(again.count, count);
        for (unsigned i = 0; i < count; i++) {
            snprintf(name, sizeof name, "k%u", i);
            assert_ptr_equal(json_find(&object, span_of(name)), &object.members[i]);
            assert_true(span_equal(object.members[i].value, again.members[i].value));
        }
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),       cmocka_unit_test(test_refused),    cmocka_unit_test(test_torn),
        cmocka_unit_test(test_string_runs),    cmocka_unit_test(test_depth),      cmocka_unit_test(test_members_max),
        cmocka_unit_test(test_twice_in_large), cmocka_unit_test(test_many_alike), cmocka_unit_test(test_wide),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
