/*
 * test_input.c - fields of an event are filled, or the event is refused with the field's name and both sides.
 */
#include "plugin/plugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct wanted {
    struct sluice_text text, json, id, key;
    int64_t number, attempt, left;
    double ratio;
    int32_t yes;
};

static const struct sluice_field all[] = {
    SLUICE_TEXT(struct wanted, text, .min = 1, .max = 8),
    SLUICE_INT64(struct wanted, number, .min = 1, .max = 10),
    SLUICE_DOUBLE(struct wanted, ratio),
    SLUICE_BOOL(struct wanted, yes),
    SLUICE_JSON(struct wanted, json),
    SLUICE_META_TEXT(struct wanted, id, SLUICE_META_EVENT_ID),
    SLUICE_META_TEXT(struct wanted, key, SLUICE_META_KEY),
    SLUICE_META_INT64(struct wanted, attempt, SLUICE_META_ATTEMPT),
    SLUICE_META_INT64(struct wanted, left, SLUICE_META_RETRIES_LEFT),
    {0},
};

static struct arena *arena;

/* Fills `ret` from the data of an event; the error's text, or NULL. */
static const char *fill(const struct sluice_field *fields, const char *data, struct wanted *ret)
{
    static struct error error;
    static const struct record record = {.topic = {"t", 1}};
    struct event event = {.record = &record, .id_text = {"id-1", 4}};
    const struct input_meta meta = {.attempt = 3, .retries_left = -1};
    memset(ret, 0, sizeof *ret);
    error = (struct error){0};
    arena_reset(arena);
    assert_int_equal(json_scan(span_of(data), arena, &event.data, NULL), 0);
    int r = input_fill(fields, &event, &meta, arena, ret, &error);
    assert_int_equal(r != 0, error.code != 0);
    return r == 0 ? NULL : error.text;
}

static void assert_text(struct sluice_text got, const char *wanted)
{
    assert_non_null(got.at);
    assert_int_equal(got.length, strlen(wanted));
    assert_memory_equal(got.at, wanted, got.length);
}

static void every_type_is_filled(void **state)
{
    struct wanted got;
    (void)state;
    /* In another order than the table, with members nobody wants. */
    assert_null(fill(
        all,
        "{\"x\":{\"number\":99},\"json\":{\"a\": [1, 2]},\"yes\":true,\"number\":10,\"ratio\":2.5e1,\"text\":\"abc\"}",
        &got));
    assert_text(got.text, "abc");
    assert_text(got.json, "{\"a\": [1, 2]}");
    assert_text(got.id, "id-1");
    assert_text(got.key, "");
    assert_int_equal(got.number, 10);
    assert_int_equal(got.attempt, 3);
    assert_int_equal(got.left, -1);
    assert_true(got.ratio == 25.0);
    assert_int_equal(got.yes, 1);
}

static void escapes_are_undone(void **state)
{
    static const struct sluice_field text[] = {SLUICE_TEXT(struct wanted, text, .min = 1, .max = 8), {0}};
    struct wanted got;
    (void)state;
    assert_null(fill(text, "{\"text\":\"\\u00fc\\n\\\"\"}", &got));
    assert_text(got.text, "ü\n\"");
    assert_null(fill(text, "{\"te\\u0078t\":\"a\"}", &got)); /* a name with an escape is the same name */
    assert_text(got.text, "a");
    /* Bounds count the bytes that the handler sees, not those in the event. */
    assert_null(fill(text, "{\"text\":\"\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\\u0061\"}", &got));
    assert_string_equal(fill(text, "{\"text\":\"\"}", &got),
                        "field 'text': expected a text of 1 to 8 bytes, got 0 bytes");
    assert_string_equal(fill(text, "{\"text\":\"\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\"}", &got),
                        "field 'text': expected a text of 1 to 8 bytes, got 10 bytes");
}

static void wrong_values_are_refused(void **state)
{
    static const struct {
        const char *data, *sentence;
    } cases[] = {
        {"{}", "field 'number' is missing: expected an integer from 1 to 10"},
        {"{\"Number\":1}", "field 'number' is missing: expected an integer from 1 to 10"},
        {"{\"number\":null}", "field 'number': expected an integer from 1 to 10, got null"},
        {"{\"number\":0}", "field 'number': expected an integer from 1 to 10, got 0"},
        {"{\"number\":11}", "field 'number': expected an integer from 1 to 10, got 11"},
        {"{\"number\":1.0}", "field 'number': expected an integer from 1 to 10, got 1.0"},
        {"{\"number\":1e0}", "field 'number': expected an integer from 1 to 10, got 1e0"},
        {"{\"number\":9223372036854775808}",
         "field 'number': expected an integer from 1 to 10, got 9223372036854775808"},
        {"{\"number\":\"5\"}", "field 'number': expected an integer from 1 to 10, got a string"},
        {"{\"number\":true}", "field 'number': expected an integer from 1 to 10, got true"},
        {"{\"number\":[5]}", "field 'number': expected an integer from 1 to 10, got an array"},
        {"{\"number\":{}}", "field 'number': expected an integer from 1 to 10, got an object"},
    };
    static const struct sluice_field number[] = {SLUICE_INT64(struct wanted, number, .min = 1, .max = 10), {0}};
    static const struct sluice_field yes[] = {SLUICE_BOOL(struct wanted, yes), {0}};
    static const struct sluice_field colour[] = {SLUICE_TEXT(struct wanted, text, .choices = "red|green"), {0}};
    struct wanted got;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *sentence = fill(number, cases[i].data, &got);
        assert_non_null(sentence);
        assert_string_equal(sentence, cases[i].sentence);
        assert_int_equal(got.number, 0); /* untouched */
    }
    assert_string_equal(fill(yes, "{\"yes\":1}", &got), "field 'yes': expected true or false, got 1");
    assert_string_equal(fill(colour, "{\"text\":\"re\"}", &got),
                        "field 'text': expected one of red, green, got another text");
    assert_null(fill(colour, "{\"text\":\"green\"}", &got));
}

static void optional_fields_fall_back(void **state)
{
    static const struct sluice_field fields[] = {
        SLUICE_INT64(struct wanted, number, .flags = SLUICE_OPTIONAL, .fallback = "7", .min = 1, .max = 10),
        SLUICE_TEXT(struct wanted, text, .flags = SLUICE_OPTIONAL),
        SLUICE_JSON(struct wanted, json, .flags = SLUICE_OPTIONAL),
        SLUICE_BOOL(struct wanted, yes, .flags = SLUICE_OPTIONAL, .fallback = "true"),
        {0},
    };
    struct wanted got;
    (void)state;
    assert_null(fill(fields, "{\"json\":null,\"text\":null}", &got));
    assert_int_equal(got.number, 7);
    assert_null(got.text.at);
    assert_null(got.json.at);
    assert_int_equal(got.yes, 1);
    assert_null(fill(fields, "{\"number\":3,\"yes\":false,\"text\":\"\"}", &got));
    assert_int_equal(got.number, 3);
    assert_int_equal(got.yes, 0);
    assert_non_null(got.text.at); /* given and empty is not absent */
    assert_string_equal(fill(fields, "{\"number\":30}", &got),
                        "field 'number': expected an integer from 1 to 10, got 30");
}

static void null_is_a_json_value_when_required(void **state)
{
    static const struct sluice_field json[] = {SLUICE_JSON(struct wanted, json), {0}};
    struct wanted got;
    (void)state;
    assert_null(fill(json, "{\"json\":null}", &got));
    assert_text(got.json, "null");
}

/* A path reaches into objects: in any order, the object read once for all of its fields, escapes in the names. */
static void nested_fields_are_filled(void **state)
{
    static const struct sluice_field fields[] = {
        SLUICE_TEXT_AT(struct wanted, text, "address.country", .min = 2, .max = 2),
        SLUICE_INT64_AT(struct wanted, number, "address.zip.number"),
        SLUICE_DOUBLE_AT(struct wanted, ratio, "address.share"),
        SLUICE_BOOL_AT(struct wanted, yes, "flags.fast"),
        SLUICE_JSON_AT(struct wanted, json, "address.zip"),
        {0},
    };
    struct wanted got;
    (void)state;
    assert_null(fill(fields,
                     "{\"flags\":{\"fast\":true},\"a\":[],\"address\":{\"x\":{\"country\":1},\"share\":0.5,"
                     "\"zip\":{\"a\":\"}\",\"number\":7},\"c\\u006funtry\":\"D\\u0045\"}}",
                     &got));
    assert_text(got.text, "DE");
    assert_text(got.json, "{\"a\":\"}\",\"number\":7}");
    assert_int_equal(got.number, 7);
    assert_int_equal(got.yes, 1);
    assert_true(got.ratio == 0.5);
}

static void nested_fields_are_refused_with_their_path(void **state)
{
    static const struct {
        const char *data, *sentence, *optional; /* what is said of an optional one; NULL: it is absent */
    } cases[] = {
        {"{}", "field 'a.b.c' is missing: expected an integer of at least 1; 'a' is missing", NULL},
        {"{\"a\":null}", "field 'a.b.c' is missing: expected an integer of at least 1; 'a' is null", NULL},
        {"{\"a\":{}}", "field 'a.b.c' is missing: expected an integer of at least 1; 'a.b' is missing", NULL},
        {"{\"a\":{\"b\":{\"d\":1}}}", "field 'a.b.c' is missing: expected an integer of at least 1", NULL},
        {"{\"a.b.c\":1}", "field 'a.b.c' is missing: expected an integer of at least 1; 'a' is missing", NULL},
        {"{\"a\":{\"b.c\":1}}", "field 'a.b.c' is missing: expected an integer of at least 1; 'a.b' is missing", NULL},
        {"{\"a\":{\"b\":{\"c\":null}}}", "field 'a.b.c': expected an integer of at least 1, got null", NULL},
        {"{\"a\":{\"b\":{\"c\":0}}}", "field 'a.b.c': expected an integer of at least 1, got 0",
         "field 'a.b.c': expected an integer of at least 1, got 0"},
        {"{\"a\":[{\"b\":{\"c\":1}}]}",
         "field 'a.b.c': expected an integer of at least 1 in an object 'a', got an array",
         "field 'a.b.c': expected an integer of at least 1 in an object 'a', got an array"},
        {"{\"a\":{\"b\":\"c\"}}", "field 'a.b.c': expected an integer of at least 1 in an object 'a.b', got a string",
         "field 'a.b.c': expected an integer of at least 1 in an object 'a.b', got a string"},
    };
    static const struct sluice_field needed[] = {
        SLUICE_INT64_AT(struct wanted, number, "a.b.c", .min = 1, .max = SLUICE_NO_MAX), {0}};
    static const struct sluice_field optional[] = {SLUICE_INT64_AT(struct wanted, number, "a.b.c", .min = 1,
                                                                   .max = SLUICE_NO_MAX, .flags = SLUICE_OPTIONAL,
                                                                   .fallback = "9"),
                                                   {0}};
    struct wanted got;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *said = fill(needed, cases[i].data, &got);
        assert_non_null(said);
        assert_string_equal(said, cases[i].sentence);
        said = fill(optional, cases[i].data, &got);
        assert_string_equal(said == NULL ? "" : said, cases[i].optional == NULL ? "" : cases[i].optional);
        assert_int_equal(got.number, said == NULL ? 9 : 0);
    }
}

static void a_double_without_an_upper_bound_has_none(void **state)
{
    static const struct sluice_field above[] = {SLUICE_DOUBLE(struct wanted, ratio, .min = 0, .max = SLUICE_NO_MAX),
                                                {0}};
    static const struct sluice_field below[] = {SLUICE_DOUBLE(struct wanted, ratio, .min = SLUICE_NO_MIN, .max = 0),
                                                {0}};
    struct wanted got;
    (void)state;
    assert_null(fill(above, "{\"ratio\":1e300}", &got));
    assert_true(got.ratio == 1e300);
    assert_string_equal(fill(above, "{\"ratio\":-0.5}", &got),
                        "field 'ratio': expected a number of at least 0, got -0.5");
    assert_null(fill(below, "{\"ratio\":-1e300}", &got));
    assert_string_equal(fill(below, "{\"ratio\":0.5}", &got), "field 'ratio': expected a number of at most 0, got 0.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_filled),
        cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(optional_fields_fall_back),
        cmocka_unit_test(null_is_a_json_value_when_required),
        cmocka_unit_test(nested_fields_are_filled),
        cmocka_unit_test(nested_fields_are_refused_with_their_path),
        cmocka_unit_test(a_double_without_an_upper_bound_has_none),
    };
    arena = arena_create(4096, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
