/*
 * test_settings.c - settings from a real YAML file into a state, or a problem at its place; open() and close().
 */
#include "base/buffer.h"
#include "plugin/plugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct state {
    struct sluice_text url, token, rules, colour;
    int64_t most, wait_ms, room;
    double share;
    int32_t strict;
    int32_t closed; /* not a setting */
};

static const struct sluice_field table[] = {
    SLUICE_TEXT(struct state, url, .min = 1, .max = 100, .help = "where to"),
    SLUICE_TEXT(struct state, token, .flags = SLUICE_OPTIONAL | SLUICE_SECRET, .max = 8),
    SLUICE_TEXT(struct state, colour, .choices = "red|green", .flags = SLUICE_OPTIONAL, .fallback = "green"),
    SLUICE_JSON(struct state, rules, .flags = SLUICE_OPTIONAL),
    SLUICE_INT64(struct state, most, .min = 1, .max = 10, .flags = SLUICE_OPTIONAL, .fallback = "7"),
    SLUICE_DURATION(struct state, wait_ms, .min = 100, .max = 300000, .flags = SLUICE_OPTIONAL, .fallback = "5s"),
    SLUICE_SIZE(struct state, room, .flags = SLUICE_OPTIONAL, .fallback = "64KiB"),
    SLUICE_DOUBLE(struct state, share, .max = 1, .flags = SLUICE_OPTIONAL, .fallback = "0.25"),
    SLUICE_BOOL(struct state, strict, .flags = SLUICE_OPTIONAL, .fallback = "true"),
    {0},
};

static int closed, opened;
static const char *fail_with;
static int answer;

static int open_state(void *state, struct sluice_opening *opening)
{
    (void)state;
    opened++;
    assert_int_equal(opening->lane, 3);
    if (fail_with != NULL)
        (opening->fail)(opening, fail_with); /* cmocka has a macro of that name */
    return answer;
}

static void close_state(void *state)
{
    closed++;
    ((struct state *)state)->closed = 1; /* still ours to write */
}

static const struct sluice_handler no_handlers[] = {{0}};
static const struct sluice_plugin plugin = {.name = "p",
                                            .version = "1",
                                            .settings = table,
                                            .state_size = sizeof(struct state),
                                            .open = open_state,
                                            .close = close_state,
                                            .handlers = no_handlers};

static struct arena *arena;
static struct problems problems;
static struct plugin_ref ref;

/* `ref` with these settings, as a pipeline would have them. */
static void given(const char *yaml)
{
    char path[] = "/tmp/sluice-settings-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, yaml, strlen(yaml)), strlen(yaml));
    close(file);
    arena_reset(arena);
    problems_init(&problems, arena);
    struct node *root = tree_read(path, arena, &problems);
    unlink(path);
    assert_int_equal(problems.count, 0);
    ref = (struct plugin_ref){
        .name = "p", .path = "p.so", .settings = root == NULL ? NULL : node_get(root, "settings"), .plugin = &plugin};
    ref.place = (struct place){"pipeline.yaml", 1, 1};
}

static void assert_text(struct sluice_text got, const char *wanted)
{
    assert_int_equal(got.length, strlen(wanted));
    assert_memory_equal(got.at, wanted, got.length);
}

static void everything_given_is_filled(void **state)
{
    struct plugin_state made;
    (void)state;
    setenv("SETTINGS_TEST_TOKEN", "s3cret", 1);
    given("settings:\n  url: http://x\n  token: \"${SETTINGS_TEST_TOKEN}\"\n  colour: red\n  most: 3\n  wait_ms: "
          "250ms\n  room: 2MiB\n"
          "  share: 0.5\n  strict: false\n  rules: [{name: \"a\\\"b\", most: 5}, yes please, '7', true, []]\n");
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 0);
    assert_int_equal(plugin_open(&ref, 3, &made, NULL), 0);
    const struct state *got = made.state;
    assert_text(got->url, "http://x");
    assert_text(got->token, "s3cret");
    assert_text(got->colour, "red");
    assert_text(got->rules, "[{\"name\":\"a\\\"b\",\"most\":5},\"yes please\",\"7\",true,[]]");
    assert_int_equal(got->most, 3);
    assert_int_equal(got->wait_ms, 250);
    assert_int_equal(got->room, 2 << 20);
    assert_true(got->share == 0.5);
    assert_int_equal(got->strict, 0);
    plugin_close(&made);
    assert_null(made.state);
}

static void the_rest_falls_back(void **state)
{
    struct plugin_state made;
    (void)state;
    given("settings: {url: u}\n");
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 0);
    assert_int_equal(plugin_open(&ref, 3, &made, NULL), 0);
    const struct state *got = made.state;
    assert_null(got->token.at);
    assert_null(got->rules.at);
    assert_text(got->colour, "green");
    assert_int_equal(got->most, 7);
    assert_int_equal(got->wait_ms, 5000);
    assert_int_equal(got->room, 65536);
    assert_true(got->share == 0.25);
    assert_int_equal(got->strict, 1);
    plugin_close(&made);
}

static void wrong_settings_are_problems_at_their_place(void **state)
{
    static const struct {
        const char *line, *sentence;
    } cases[] = {
        {"most: 11", "plugin 'p': setting 'most': expected an integer from 1 to 10, got '11'"},
        {"most: many", "plugin 'p': setting 'most': expected an integer from 1 to 10, got 'many'"},
        {"most: 1.5", "plugin 'p': setting 'most': expected an integer from 1 to 10, got '1.5'"},
        {"most: '5'",
         "plugin 'p': setting 'most': expected an integer from 1 to 10, got the text '5'; take the quotes off"},
        {"most: [5]", "plugin 'p': setting 'most': expected an integer from 1 to 10, got a list"},
        {"most: {a: 5}", "plugin 'p': setting 'most': expected an integer from 1 to 10, got a mapping"},
        {"wait_ms: 250",
         "plugin 'p': setting 'wait_ms': expected a duration with its unit from 100ms to 5m, got '250'"},
        {"wait_ms: 50ms",
         "plugin 'p': setting 'wait_ms': expected a duration with its unit from 100ms to 5m, got '50ms'"},
        {"room: 5m", "plugin 'p': setting 'room': expected a size with its unit, got '5m'"},
        {"strict: yes", "plugin 'p': setting 'strict': expected true or false, got 'yes'"},
        {"colour: blue", "plugin 'p': setting 'colour': expected one of red, green, got 'blue'"},
        {"share: 0x1", "plugin 'p': setting 'share': expected a number from 0 to 1, got '0x1'"},
        {"token: ${SETTINGS_TEST_LONG}", "plugin 'p': setting 'token': expected a text of at most 8 bytes, got ***"},
    };
    char yaml[256];
    (void)state;
    setenv("SETTINGS_TEST_LONG", "longer than eight", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(yaml, sizeof yaml, "settings:\n  url: u\n  %s\n", cases[i].line);
        given(yaml);
        plugin_check_settings(&ref, &problems);
        assert_int_equal(problems.count, 1);
        assert_int_equal(problems.errors, 1);
        assert_string_equal(problems.list[0].text, cases[i].sentence);
        assert_int_equal(problems.list[0].place.line, 3);
        struct plugin_state made = {0};
        assert_int_not_equal(plugin_open(&ref, 3, &made, NULL), 0);
        assert_null(made.state);
    }
}

static void missing_and_unknown(void **state)
{
    struct plugin_ref without;
    (void)state;
    given("settings: {wiat_ms: 1s}\n");
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 2);
    assert_string_equal(
        problems.list[0].text,
        "plugin 'p' needs the setting 'url', where to: expected a text of 1 to 100 bytes; write it under "
        "`settings:`");
    assert_non_null(strstr(problems.list[1].text, "wiat_ms"));
    assert_non_null(strstr(problems.list[1].text, "'wait_ms'")); /* the nearest */
    given("other: 1\n");
    without = ref;
    assert_null(without.settings);
    plugin_check_settings(&without, &problems);
    assert_int_equal(problems.count, 1);
    given("settings: 5\n");
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.list[0].text, "plugin 'p': `settings:` must be a mapping of names to values");
}

static void a_secret_in_the_file_is_a_warning(void **state)
{
    (void)state;
    given("settings: {url: u, token: abc}\n");
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 1);
    assert_int_equal(problems.errors, 0);
    assert_true(problems.list[0].warning);
    assert_null(strstr(problems.list[0].text, "abc"));
}

static void open_may_fail(void **state)
{
    static const struct {
        const char *why;
        int answer;
        const char *sentence;
    } cases[] = {
        {"no line", -1, "plugin 'p' did not open: no line"},
        {"no line", 0, "plugin 'p' did not open: no line"},
        {NULL, 5, "plugin 'p' did not open: its open() failed and did not say why"},
        {"", 5, "plugin 'p' did not open: it did not say why"},
    };
    (void)state;
    given("settings: {url: u}\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct plugin_state made = {0};
        struct error error = {0};
        fail_with = cases[i].why;
        answer = cases[i].answer;
        opened = closed = 0;
        assert_int_not_equal(plugin_open(&ref, 3, &made, &error), 0);
        assert_string_equal(error.text, cases[i].sentence);
        assert_int_equal(opened, 1);
        assert_int_equal(closed, 1); /* half-open ones come back, too */
        assert_null(made.state);
        plugin_close(&made); /* zeroed is fine */
        assert_int_equal(closed, 1);
    }
    fail_with = NULL;
    answer = 0;
}

static void a_plugin_may_have_nothing(void **state)
{
    static const struct sluice_plugin bare = {.name = "p", .version = "1", .handlers = no_handlers};
    struct plugin_state made;
    (void)state;
    given("other: 1\n");
    ref.plugin = &bare;
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 0);
    assert_int_equal(plugin_open(&ref, 0, &made, NULL), 0);
    assert_null(made.state);
    plugin_close(&made);
    struct sluice_plugin unopened = plugin; /* close() without open() gets every state */
    unopened.open = NULL;
    given("settings: {url: u}\n");
    ref.plugin = &unopened;
    closed = 0;
    assert_int_equal(plugin_open(&ref, 0, &made, NULL), 0);
    plugin_close(&made);
    assert_int_equal(closed, 1);
    given("settings: {a: 1}\n");
    ref.plugin = &bare;
    plugin_check_settings(&ref, &problems);
    assert_int_equal(problems.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_given_is_filled),
        cmocka_unit_test(the_rest_falls_back),
        cmocka_unit_test(wrong_settings_are_problems_at_their_place),
        cmocka_unit_test(missing_and_unknown),
        cmocka_unit_test(a_secret_in_the_file_is_a_warning),
        cmocka_unit_test(open_may_fail),
        cmocka_unit_test(a_plugin_may_have_nothing),
    };
    arena = arena_create(4096, 64 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
