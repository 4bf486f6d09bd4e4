/*
 * test_clock.c - the monotonic clock never goes back, and the wall clock is in milliseconds since 1970.
 */
#include "check.h"

#include "base/clock.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
