/*
 * test_failpoint.c - arming, counting, odds that a seed repeats, and each action.
 */
#include "child.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <signal.h>

static enum failpoint_action hit_one(void)
{
    return FAILPOINT("test.one");
}

static enum failpoint_action hit_one_elsewhere(void)
{
    return FAILPOINT("test.one");
}

static enum failpoint_action hit_two(void)
{
    return FAILPOINT("test.another");
}

static void test_off(void **state)
{
    (void)state;
    assert_int_equal(failpoints_arm(NULL, 1, NULL), 0);
    assert_int_equal(failpoints_arm("", 1, NULL), 0);
    assert_int_equal(failpoints_armed, 0);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
}

static void test_actions(void **state)
{
    (void)state;
    assert_int_equal(failpoints_arm("test.one=error,test.another=error", 1, NULL), 0);
    assert_int_equal(hit_one(), FAILPOINT_ERROR);
    assert_int_equal(hit_one_elsewhere(), FAILPOINT_ERROR);
    assert_int_equal(hit_two(), FAILPOINT_ERROR);
    assert_int_equal(hit_two(), FAILPOINT_ERROR);
    assert_int_equal(failpoints_arm("test.one=error", 1, NULL), 0);
    assert_int_equal(hit_two(), FAILPOINT_NONE);
    assert_int_equal(failpoints_arm("test.one=delay:30", 1, NULL), 0);
    int64_t begin = clock_monotonic_ms();
    assert_int_equal(hit_one(), FAILPOINT_NONE);
    assert_true(clock_monotonic_ms() - begin >= 29);
    failpoints_arm(NULL, 0, NULL);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
}

/* The n-th hit counts all sites of a name together, and only once. */
static void test_nth(void **state)
{
    (void)state;
    assert_int_equal(failpoints_arm("test.one=error@3", 1, NULL), 0);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
    assert_int_equal(hit_one_elsewhere(), FAILPOINT_NONE);
    assert_int_equal(hit_one(), FAILPOINT_ERROR);
    for (int i = 0; i < 10; i++)
        assert_int_equal(hit_one(), FAILPOINT_NONE);
    failpoints_arm(NULL, 0, NULL);
}

static uint64_t pattern(const char *spec, unsigned seed, int *ret_hits)
{
    uint64_t bits = 0;
    assert_int_equal(failpoints_arm(spec, seed, NULL), 0);
    *ret_hits = 0;
    for (int i = 0; i < 1000; i++) {
        bool hit = hit_one() == FAILPOINT_ERROR;
        *ret_hits += hit;
        bits = bits << 1 ^ bits >> 63 ^ hit;
    }
    failpoints_arm(NULL, 0, NULL);
    return bits;
}

static void test_odds(void **state)
{
    (void)state;
    int hits, same, other;
    uint64_t one = pattern("test.one=error%30", 5, &hits);
    assert_in_range(hits, 230, 370);
    assert_int_equal(pattern("test.one=error%30", 5, &same), one);
    assert_int_equal(same, hits);
    assert_int_not_equal(pattern("test.one=error%30", 6, &other), one);
    pattern("test.one=error%0", 5, &hits);
    assert_int_equal(hits, 0);
    pattern("test.one=error%100", 5, &hits);
    assert_int_equal(hits, 1000);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *says;
    } rows[] = {
        {"test.one", "is not of the form name=action"},
        {"test.one=", "names no action"},
        {"test.one=erro", "names no action"},
        {"test.one=errors", "names no action"},
        {"test.one=delay", "wants delay:MS"},
        {"test.one=delay:", "wants delay:MS"},
        {"test.one=delay:-1", "wants delay:MS"},
        {"test.one=delay:99999999", "wants delay:MS"},
        {"test.one=error@0", "wants @n"},
        {"test.one=error@", "wants @n"},
        {"test.one=error%101", "wants %p"},
        {"test.one=error@1%5", "too much at its end"},
        {"test.one=error:5", "too much at its end"},
        {"test.on=error", "no failpoint is called \"test.on\""},
        {"test.one=error,,test.another=error", "is not of the form name=action"},
        {"test.one=error,none=crash", "no failpoint is called \"none\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct error error = {0};
        assert_true(failpoints_arm(rows[i].spec, 1, &error) < 0);
        if (strstr(error.text, rows[i].says) == NULL)
            fail_msg("%s: %s", rows[i].spec, error.text);
        /* Nothing is armed when one part is wrong. */
        assert_int_equal(failpoints_armed, 0);
        assert_int_equal(hit_one(), FAILPOINT_NONE);
    }
    char many[2000] = "test.one=error";
    for (int i = 0; i < 64; i++)
        strcat(many, ",test.one=error");
    assert_int_equal(failpoints_arm(many, 1, NULL), -E2BIG);
}

static void arm_and_hit(void *context)
{
    if (failpoints_arm(*(const char **)context, 1, NULL) != 0)
        _exit(99);
    hit_one();
}

static void test_ends(void **state)
{
    (void)state;
    static struct child child;
    const char *spec = "test.one=crash";
    child_run(&child, arm_and_hit, &spec);
    assert_true(WIFSIGNALED(child.status));
    assert_int_equal(WTERMSIG(child.status), SIGKILL);
    spec = "test.one=exit";
    child_run(&child, arm_and_hit, &spec);
    assert_true(WIFEXITED(child.status));
    assert_int_equal(WEXITSTATUS(child.status), 70);
    spec = "test.one=crash@2";
    child_run(&child, arm_and_hit, &spec);
    assert_int_equal(child.status, 0);
}

/* A frozen process stands still until it is told to go on. */
static void test_freeze(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const char *spec = "test.one=freeze";
        arm_and_hit(&spec);
        _exit(42);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(WSTOPSIG(status), SIGSTOP);
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void count_reach(const char *name, void *context)
{
    assert_string_equal(name, "test.one");
    ++*(int *)context;
}

/* Whether anything is armed or not, and until nobody watches. */
static void test_watched(void **state)
{
    (void)state;
    int reached = 0;
    assert_int_equal(failpoints_arm(NULL, 1, NULL), 0);
    failpoints_watch(count_reach, &reached);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
    assert_int_equal(reached, 1);
    assert_int_equal(failpoints_arm("test.one=error@2", 1, NULL), 0);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
    assert_int_equal(hit_one(), FAILPOINT_ERROR);
    assert_int_equal(reached, 3);
    assert_int_equal(failpoints_arm(NULL, 1, NULL), 0);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
    assert_int_equal(reached, 4);
    failpoints_watch(NULL, NULL);
    assert_int_equal(failpoints_armed, 0);
    assert_int_equal(hit_one(), FAILPOINT_NONE);
    assert_int_equal(reached, 4);
}

static void collect(const char *name, void *context)
{
    strcat(context, name);
    strcat(context, "\n");
}

static void test_list(void **state)
{
    (void)state;
    char names[200] = "";
    failpoints_list(collect, names);
    assert_string_equal(names, "test.another\ntest.one\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off),    cmocka_unit_test(test_actions), cmocka_unit_test(test_nth),
        cmocka_unit_test(test_odds),   cmocka_unit_test(test_refused), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_freeze), cmocka_unit_test(test_watched), cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
