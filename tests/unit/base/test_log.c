/*
 * test_log.c - lines as they leave: whole, escaped, cut, filtered, and one for each interval.
 */
#include "child.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>

static struct child child;

static void write_line(void *context)
{
    log_set_json(((const char *const *)context)[1] != NULL);
    log_line(LOG_WARN, "bus", "%s", ((const char *const *)context)[0]);
}

/* What follows the time in a line that says `text`. */
static const char *line_of(const char *text, bool json)
{
    const char *context[] = {text, json ? "json" : NULL};
    child_run(&child, write_line, context);
    assert_int_equal(child.status, 0);
    size_t skip = json ? strlen("{\"time\":\"") : 0;
    if (json)
        assert_memory_equal(child.said, "{\"time\":\"", skip);
    int year, month, day, hour, minute, second, ms, length = 0;
    assert_int_equal(sscanf(child.said + skip, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute,
                            &second, &ms, &length),
                     7);
    assert_int_equal(length, 24);
    return child.said + skip + length;
}

static void test_text(void **state)
{
    (void)state;
    assert_string_equal(line_of("a sentence", false), " WARN  bus: a sentence\n");
    assert_string_equal(line_of("one\ntwo\ttabs\rback\x1b[31m\x7f", false),
                        " WARN  bus: one\\ntwo\\ttabs\\x0dback\\x1b[31m\\x7f\n");
    assert_string_equal(line_of("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", false),
                        " WARN  bus: \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n");
    assert_string_equal(line_of("\xc2\x9b \xff \xc3 \xe0\x80\x80 \xed\xa0\x80", false),
                        " WARN  bus: \\xc2\\x9b \\xff \\xc3 \\xe0\\x80\\x80 \\xed\\xa0\\x80\n");
    assert_string_equal(
        line_of("a\u202eb\u2028c\u2066d\u200fe\u061cf\u2010", false),
        " WARN  bus: a\\xe2\\x80\\xaeb\\xe2\\x80\\xa8c\\xe2\\x81\\xa6d\\xe2\\x80\\x8fe\\xd8\\x9cf\u2010\n");
}

static void test_json(void **state)
{
    (void)state;
    assert_string_equal(line_of("say \"x\" \\ \n\x01 \xc3\xa9 \xff", true),
                        "\",\"level\":\"warn\",\"component\":\"bus\",\"message\":"
                        "\"say \\\"x\\\" \\\\ \\n\\u0001 \xc3\xa9 \\u00ff\"}\n");
    assert_string_equal(line_of("a\u202eb\u061c\xc2\x9b\xe2\x80", true),
                        "\",\"level\":\"warn\",\"component\":\"bus\",\"message\":"
                        "\"a\\u202eb\\u061c\\u009b\\u00e2\\u0080\"}\n");
}

/* The default is JSON when stderr is no terminal. */
static void write_default(void *context)
{
    (void)context;
    log_info("cli", "plain");
}

static void test_default(void **state)
{
    (void)state;
    child_run(&child, write_default, NULL);
    assert_int_equal(child.said[0], '{');
}

static void test_long(void **state)
{
    (void)state;
    static char longer[100000];
    memset(longer, '\x01', sizeof longer - 1);
    for (int json = 0; json < 2; json++) {
        const char *rest = line_of(longer, json);
        size_t length = strlen(rest);
        assert_true(length < 16384);
        assert_string_equal(rest + length - (json ? 6 : 4), json ? "...\"}\n" : "...\n");
        assert_int_equal(strcspn(rest, "\n"), length - 1);
    }
}

static void write_levels(void *context)
{
    (void)context;
    struct error error = {0};
    log_set_json(0);
    log_debug("a", "hidden");
    log_info("a", "shown-1");
    log_set_level(LOG_ERROR);
    log_warn("a", "hidden");
    errno = 77;
    error_set(&error, EIO, "shown-2");
    log_error("a", &error);
    error_hint(&error, "mend it");
    log_error("a", &error);
    if (errno != 77)
        _exit(1);
    log_set_level(LOG_DEBUG);
    log_debug("a", "shown-4");
}

static void test_levels(void **state)
{
    (void)state;
    child_run(&child, write_levels, NULL);
    assert_int_equal(child.status, 0);
    assert_null(strstr(child.said, "hidden"));
    assert_non_null(strstr(child.said, " INFO  a: shown-1\n"));
    assert_non_null(strstr(child.said, " ERROR a: shown-2\n"));
    assert_non_null(strstr(child.said, " ERROR a: shown-2; mend it\n"));
    assert_non_null(strstr(child.said, " DEBUG a: shown-4\n"));
}

static void write_rarely(void *context)
{
    (void)context;
    log_set_json(0);
    for (int i = 0; i < 100; i++)
        log_rarely(60000, LOG_WARN, "a", "hour %d", i);
    struct log_rate rate = {0};
    int64_t begin = clock_monotonic_ms();
    for (int i = 0; clock_monotonic_ms() < begin + 5000 && rate.next_ms < begin + 30; i++)
        log_line_rarely(&rate, 15, LOG_WARN, "a", "tick %d", i);
}

static void test_rarely(void **state)
{
    (void)state;
    child_run(&child, write_rarely, NULL);
    assert_int_equal(child.status, 0);
    assert_non_null(strstr(child.said, "hour 0\n"));
    assert_null(strstr(child.said, "hour 1"));
    assert_non_null(strstr(child.said, "tick 0\n"));
    char *second = strstr(strstr(child.said, "tick 0\n") + 7, "tick ");
    assert_non_null(second);
    int number = 0, missed = 0;
    assert_int_equal(sscanf(second, "tick %d (and %d more like it before)\n", &number, &missed), 2);
    assert_int_equal(missed, number - 1);
}

static void *write_many(void *context)
{
    for (int i = 0; i < 100; i++)
        log_info("thread", "number %s of %d", (const char *)context, i);
    return NULL;
}

static void write_threads(void *context)
{
    (void)context;
    static char names[4][2] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    log_set_json(0);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_many, names[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* Lines of several threads never mix. */
static void test_threads(void **state)
{
    (void)state;
    child_run(&child, write_threads, NULL);
    int lines = 0;
    char *rest = child.said, *line;
    while ((line = strsep(&rest, "\n")) != NULL && line[0] != '\0') {
        char name;
        int number, length = 0;
        assert_int_equal(sscanf(line + 24, " INFO  thread: number %c of %d%n", &name, &number, &length), 2);
        assert_int_equal(strlen(line + 24), length);
        lines++;
    }
    assert_int_equal(lines, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),    cmocka_unit_test(test_json),   cmocka_unit_test(test_default),
        cmocka_unit_test(test_long),    cmocka_unit_test(test_levels), cmocka_unit_test(test_rarely),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
