/*
 * test_clock.c - the monotonic clock never goes back, and the wall clock is in milliseconds since 1970; in virtual time
 * both stand until they are moved, and a wait moves them.
 */
#include "check.h"

#include "base/clock.h"
#include "base/condition.h"
#include "child.h"

#include <errno.h>

static void test_clock(void **state)
{
    (void)state;
    int64_t first = clock_monotonic_ns(), last = first;
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_monotonic_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_monotonic_ms() >= first / 1000000);
    assert_true(clock_wall_ms() > 1700000000000); /* milliseconds, and after 2023 */
    assert_true(clock_wall_ms() < 4102444800000);
}

static void in_virtual_time(void *context)
{
    (void)context;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    assert_false(clock_is_stopped());
    clock_move_to(4102444800000);
    assert_true(clock_wall_ms() < 4102444800000); /* clocks that run are not moved */

    clock_stop(1000000);
    assert_true(clock_is_stopped());
    assert_int_equal(clock_wall_ms(), 1000000);
    assert_int_equal(clock_monotonic_ms(), 1000000);
    clock_move_to(1000500);
    clock_move_to(1000400);
    assert_int_equal(clock_wall_ns(), 1000500LL * 1000000);

    cond_init_monotonic(&cond);
    pthread_mutex_lock(&lock);
    assert_int_equal(cond_timedwait_ms(&cond, &lock, 1000000 + 365LL * 24 * 3600 * 1000), ETIMEDOUT); /* a year */
    pthread_mutex_unlock(&lock);
    assert_int_equal(clock_monotonic_ms(), 1000000 + 365LL * 24 * 3600 * 1000);
}

/* They never run again, so it is a process of its own. */
static void test_virtual_time(void **state)
{
    (void)state;
    struct child child;
    child_run(&child, in_virtual_time, NULL);
    assert_string_equal(child.said, "");
    assert_true(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_virtual_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
