/*
 * test_key_template.c - a topic's `key:`: what is a template, and the keys that it makes.
 */
#include "arena_state.h"

#include "event/event.h"

static void test_create(void **state)
{
    const struct span *names;
    struct error error = {0};
    struct key_template *template = key_template_create(SPAN("{userId}-{seat id}"), *state, &error);
    assert_non_null(template);
    assert_int_equal(key_template_fields(template, &names), 2);
    assert_true(span_is(names[0], "userId"));
    assert_true(span_is(names[1], "seat id"));
    template = key_template_create(SPAN("constant"), *state, &error);
    assert_non_null(template);
    assert_int_equal(key_template_fields(template, &names), 0);
    template = key_template_create(SPAN("{a}{a}"), *state, &error);
    assert_int_equal(key_template_fields(template, NULL), 2);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "1 to 1024 characters"},
        {"{", "a { at character 1 that no } closes"},
        {"a{b", "a { at character 2 that no } closes"},
        {"}", "a } at character 1 that no { opens"},
        {"{a}}", "a } at character 4 that no { opens"},
        {"{a{b}}", "a { at character 1 that no } closes"},
        {"{{a}}", "a { at character 1 that no } closes"},
        {"x{}", "{} at character 2 without the name"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {0};
        assert_null(key_template_create(span_of(rows[i].text), *state, &error));
        if (strstr(error.text, rows[i].says) == NULL || error.code != EINVAL || error.hint[0] == '\0')
            fail_msg("%s: %s", rows[i].text, error.text);
    }
    char longer[EVENT_KEY_MAX + 1];
    memset(longer, 'x', sizeof longer);
    assert_null(key_template_create((struct span){longer, sizeof longer}, *state, NULL));
}

static const char data_text[] =
    "{\"user\":\"u-1\",\"seat\":17,\"neg\":-5,\"esc\":\"a\\u0062\\n\",\"\\u0078\":\"named\",\"real\":1.5,\"exp\":1e3,"
    "\"flag\":true,\"none\":null,\"list\":[],\"object\":{},\"empty\":\"\",\"big\":9223372036854775808}";

static void test_apply(void **state)
{
    static const struct {
        const char *template, *expected; /* what it says when it fails begins with "!" */
    } rows[] = {
        {"{user}-{seat}", "u-1-17"},
        {"{user}", "u-1"},
        {"fixed", "fixed"},
        {"a{seat}b{seat}c", "a17b17c"},
        {"{neg}", "-5"},
        {"{esc}", "ab\n"},
        {"{x}", "named"},
        {"{empty}", ""},
        {"{laid}", "over"},
        {"{twice}", "2"},
        {"{over}", "x"},
        {"{missing}", "!the field \"missing\", which the event does not have"},
        {"{User}", "!the field \"User\", which"},
        {"{user}{real}", "!the field \"real\" as text or as an integer"},
        {"{exp}", "!the field \"exp\" as text"},
        {"{flag}", "!the field \"flag\" as text"},
        {"{none}", "!the field \"none\" as text"},
        {"{list}", "!the field \"list\" as text"},
        {"{object}", "!the field \"object\" as text"},
        {"{big}", "!the field \"big\" as text"},
        {"{laidnull}", "!the field \"laidnull\" as text"},
        {"{long}", "!longer than 1024"},
    };
    char longer[EVENT_KEY_MAX + 4];
    memset(longer, 'x', sizeof longer);
    longer[0] = longer[sizeof longer - 1] = '"';
    struct overlay overlays[] = {{SPAN("laid"), SPAN("\"o\\u0076er\"")},
                                 {SPAN("twice"), SPAN("1")},
                                 {SPAN("twice"), SPAN("2")},
                                 {SPAN("over"), SPAN("\"x\"")},
                                 {SPAN("laidnull"), SPAN("null")},
                                 {SPAN("long"), {longer, sizeof longer}}};
    struct json_object data;
    struct buffer out;
    buffer_init(&out, 10000);
    assert_int_equal(json_scan(span_of(data_text), *state, &data, NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {0};
        struct key_template *template = key_template_create(span_of(rows[i].template), *state, &error);
        assert_non_null(template);
        buffer_clear(&out);
        buffer_text(&out, "<");
        int result = key_template_apply(template, &data, overlays, 6, *state, &out, &error);
        if (rows[i].expected[0] == '!') {
            assert_int_equal(result, -EINVAL);
            assert_int_equal(out.length, 1);
            if (strstr(error.text, rows[i].expected + 1) == NULL)
                fail_msg("%s: %s", rows[i].template, error.text);
        } else {
            assert_int_equal(result, 0);
            assert_true(span_is((struct span){out.at + 1, out.length - 1}, rows[i].expected));
        }
    }
    struct key_template *template = key_template_create(SPAN("{laid}"), *state, NULL);
    buffer_clear(&out);
    assert_int_equal(key_template_apply(template, NULL, overlays, 1, *state, &out, NULL), 0);
    assert_true(span_is(buffer_view(&out), "over"));
    assert_int_equal(key_template_apply(template, NULL, NULL, 0, *state, &out, NULL), -EINVAL);
    buffer_free(&out);
}

/* Up to the limit to the byte. */
static void test_limit(void **state)
{
    char json[EVENT_KEY_MAX + 2];
    memset(json, 'x', sizeof json);
    json[0] = json[sizeof json - 1] = '"';
    struct overlay overlay = {SPAN("k"), {json, sizeof json}};
    struct buffer out;
    buffer_init(&out, EVENT_KEY_MAX);
    assert_int_equal(
        key_template_apply(key_template_create(SPAN("{k}"), *state, NULL), NULL, &overlay, 1, *state, &out, NULL), 0);
    assert_int_equal(out.length, EVENT_KEY_MAX);
    assert_int_equal(
        key_template_apply(key_template_create(SPAN("{k}"), *state, NULL), NULL, &overlay, 1, *state, &out, NULL),
        -EINVAL);
    assert_int_equal(out.length, EVENT_KEY_MAX);
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
