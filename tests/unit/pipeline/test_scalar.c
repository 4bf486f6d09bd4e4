/*
 * test_scalar.c - one grammar for each type, and what comes from the environment.
 */
#include "place.h"

#include <errno.h>

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0ms", 0},
                {"250ms", 250},
                {"1s", 1000},
                {"5m", 300000},
                {"2h", 7200000},
                {"7d", 604800000},
                {"106751991167d", INT64_C(106751991167) * 86400000}};
    static const char *const bad[] = {"",    "1",  "s",  "-1s", "1.5s", "1h1m", "1 s",
                                      " 1s", "1S", "1y", "1s ", "+1s",  "1e3s", "0x1s"};
    static const char *const huge[] = {"9223372036854775808ms", "9223372036854775807s", "106751991168d",
                                       "99999999999999999999999d"};
    int64_t ms = 7;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(duration_parse(span_of(good[i].text), &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    ms = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(duration_parse(span_of(bad[i]), &ms), -EINVAL);
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++)
        assert_int_equal(duration_parse(span_of(huge[i]), &ms), -ERANGE);
    assert_int_equal(ms, 7);
}

static void sizes(void **state)
{
    (void)state;
    int64_t bytes = 7;
    assert_int_equal(size_parse(SPAN("512B"), &bytes), 0);
    assert_int_equal(bytes, 512);
    assert_int_equal(size_parse(SPAN("64KiB"), &bytes), 0);
    assert_int_equal(bytes, 65536);
    assert_int_equal(size_parse(SPAN("2GiB"), &bytes), 0);
    assert_int_equal(bytes, INT64_C(2) << 30);
    assert_int_equal(size_parse(SPAN("64"), &bytes), -EINVAL);
    assert_int_equal(size_parse(SPAN("64KB"), &bytes), -EINVAL);
    assert_int_equal(size_parse(SPAN("64kib"), &bytes), -EINVAL);
    assert_int_equal(size_parse(SPAN("9999999999999GiB"), &bytes), -ERANGE);
}

static void texts_of_quantities(void **state)
{
    (void)state;
    char buf[32];
    assert_string_equal(duration_text(0, buf), "0ms");
    assert_string_equal(duration_text(1500, buf), "1500ms");
    assert_string_equal(duration_text(1000, buf), "1s");
    assert_string_equal(duration_text(90000, buf), "90s");
    assert_string_equal(duration_text(86400000, buf), "1d");
    assert_string_equal(size_text(1024, buf), "1KiB");
    assert_string_equal(size_text(1025, buf), "1025B");
}

static void typed(void **state)
{
    (void)state;
    struct read *read = read_tree(
        "int: 42\nneg: -3\nflag: true\nreal: 0.25\ntext: hello\nquoted: '42'\nwait: 5m\nroom: 1KiB\nnull: ~\n");
    int64_t number = 0;
    double real = 0;
    bool flag = false;
    const char *text = NULL;
    struct problems *problems = &read->problems;
    assert_true(node_int(node_get(read->root, "int"), "int", 0, 100, &number, problems));
    assert_int_equal(number, 42);
    assert_true(node_int(node_get(read->root, "neg"), "neg", -3, 100, &number, problems));
    assert_int_equal(number, -3);
    assert_true(node_bool(node_get(read->root, "flag"), "flag", &flag, problems));
    assert_true(flag);
    assert_true(node_number(node_get(read->root, "real"), "real", 0, 1, &real, problems));
    assert_true(real == 0.25);
    assert_true(node_text(node_get(read->root, "text"), "text", &text, problems));
    assert_string_equal(text, "hello");
    assert_true(node_duration(node_get(read->root, "wait"), "wait", 0, 300000, &number, problems));
    assert_int_equal(number, 300000);
    assert_true(node_size(node_get(read->root, "room"), "room", 0, 1024, &number, problems));
    assert_int_equal(number, 1024);
    assert_string_equal(said(read), "");
    /* The output stays as it was. */
    assert_false(node_int(node_get(read->root, "int"), "int", 0, 41, &number, problems));
    assert_false(node_int(node_get(read->root, "quoted"), "quoted", 0, 100, &number, problems));
    assert_false(node_duration(node_get(read->root, "wait"), "wait", 0, 299999, &number, problems));
    assert_int_equal(number, 1024);
    assert_false(node_text(node_get(read->root, "null"), "null", &text, problems));
    assert_string_equal(text, "hello");
    assert_string_equal(
        said(read), "1:6 int: expected a whole number from 0 to 41, got '42'\n"
                    "6:9 quoted: expected a whole number from 0 to 100, got the text '42'; take the quotes off\n"
                    "7:7 wait: expected a duration with its unit from 0ms to 299999ms, like 250ms, 5m or 2h, got '5m'\n"
                    "9:7 null: expected a text, got '~'\n");
    read_end(read);
}

static void environment(void **state)
{
    (void)state;
    setenv("T_NUMBER", "7", 1);
    setenv("T_YAML", "x, y: [1]\nz: 2", 1);
    setenv("T_EMPTY", "", 1);
    unsetenv("T_NONE");
    struct read *read = read_tree(
        "a: ${T_NUMBER}\nb: 'n ${T_NUMBER} ${T_NONE:-d:-e} ${T_EMPTY:-f}$ $x {y}'\nc: ${T_YAML}\n\"${T_NUMBER}\": k\n"
        "d: ${T_NONE}\n");
    int64_t number = 0;
    assert_true(node_int(node_get(read->root, "a"), "a", 0, 10, &number, &read->problems));
    assert_int_equal(number, 7);
    assert_string_equal(node_get(read->root, "b")->text.at,
                        "n 7 d:-e f$ $x {y}"); /* a default is for an empty variable, too, as in a shell */
    assert_int_equal(node_get(read->root, "c")->kind, NODE_SCALAR);
    assert_string_equal(node_get(read->root, "c")->text.at, "x, y: [1]\nz: 2");
    assert_true(node_get(read->root, "c")->interpolated);
    assert_non_null(node_get(read->root, "${T_NUMBER}")); /* keys are never interpolated */
    assert_true(node_get(read->root, "d")->broken);
    const char *text = "untouched";
    assert_false(node_text(node_get(read->root, "d"), "d", &text, &read->problems));
    assert_string_equal(text, "untouched");
    assert_string_equal(said(read), "5:4 ${T_NONE} is not set in the environment; set it, or write "
                                    "${T_NONE:-default}\n"); /* and nothing after it */
    read_end(read);
}

static void files(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-secret-XXXXXX", text[128];
    int fd = mkstemp(path); /* mode 600 */
    assert_int_equal(write(fd, "s3cr3t\r\n\n", 9), 9);
    snprintf(text, sizeof text, "a: 'x${file:%s}y'\n", path);
    struct read *read = read_tree(text);
    assert_string_equal(said(read), "");
    assert_string_equal(node_get(read->root, "a")->text.at, "xs3cr3ty"); /* line ends at its end are dropped */
    read_end(read);
    char filler[70000];
    memset(filler, 'x', sizeof filler);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, filler, 65536, 0), 65536);
    read = read_tree(text);
    assert_string_equal(said(read), "");
    assert_int_equal(node_get(read->root, "a")->text.length, 65538);
    read_end(read);
    assert_int_equal(pwrite(fd, filler, 1, 65536), 1);
    read = read_tree(text);
    assert_int_equal(read->problems.errors, 1);
    read_end(read);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(sizes),       cmocka_unit_test(texts_of_quantities),
        cmocka_unit_test(typed),     cmocka_unit_test(environment), cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
