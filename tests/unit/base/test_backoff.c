/*
 * test_backoff.c - delays grow up to the longest and are rounded; their sum is that of the delays, and saturates.
 */
#include "check.h"

#include "base/backoff.h"

#include <math.h>

static void test_delays(void **state)
{
    (void)state;
    const int64_t expected[] = {100, 200, 400, 800, 1000, 1000};
    for (int64_t step = 0; step < 6; step++)
        assert_int_equal(backoff_delay_ms(100, 2, 1000, step), expected[step]);
    assert_int_equal(backoff_delay_ms(100, 1.5, 20000, 3), 338); /* 337.5 */
    assert_int_equal(backoff_delay_ms(100, 1.5, 20000, 4), 506); /* 506.25 */
    assert_int_equal(backoff_delay_ms(0, 2, 1000, 3), 0);
    assert_int_equal(backoff_delay_ms(100, 2, 0, 3), 0);
    assert_int_equal(backoff_delay_ms(5000, 2, 1000, 0), 1000);
    assert_int_equal(backoff_delay_ms(1, 2, INT64_MAX, INT64_MAX), (int64_t)1 << 61);
}

static void test_total(void **state)
{
    (void)state;
    assert_int_equal(backoff_total_ms(1000, 2, 60000, 3), 7000);
    assert_int_equal(backoff_total_ms(1000, 2, 60000, 0), 0);
    const double multipliers[] = {0.5, 1, 1.3, 3};
    for (size_t m = 0; m < 4; m++) {
        for (int64_t steps = 0; steps < 200; steps++) {
            int64_t total = 0, from_longest = 0;
            for (int64_t step = 0; step < steps; step++) {
                total += backoff_delay_ms(1000, multipliers[m], 60000, step);
                from_longest += backoff_delay_ms(1000, multipliers[m], 1000, step);
            }
            assert_int_equal(backoff_total_ms(1000, multipliers[m], 60000, steps), total);
            assert_int_equal(backoff_total_ms(1000, multipliers[m], 1000, steps), from_longest);
        }
    }
    assert_int_equal(backoff_total_ms(1000, 2, 60000, INT32_MAX), 63000 + (int64_t)(INT32_MAX - 6) * 60000);
    assert_int_equal(backoff_total_ms(INT64_MAX / 4, 2, INT64_MAX / 4, 1000), INT64_MAX);
    assert_int_equal(backoff_total_ms(1, 2, INT64_MAX, 1000), INT64_MAX);
}

static void test_absurd_settings(void **state)
{
    (void)state;
    const int64_t sizes[] = {INT64_MIN, -1, 0, 1, 1000, INT64_MAX / 2, INT64_MAX};
    const double multipliers[] = {-1, 0, 0.5, 1, 1.0001, 10, 1e300, INFINITY, NAN};
    for (size_t initial = 0; initial < 7; initial++)
        for (size_t max = 0; max < 7; max++)
            for (size_t m = 0; m < 9; m++) {
                for (int64_t step = 0; step < 1000; step += 37) {
                    int64_t delay = backoff_delay_ms(sizes[initial], multipliers[m], sizes[max], step);
                    assert_true(multipliers[m] == -1 || delay >= 0);
                    assert_true(delay <= (int64_t)1 << 61);
                    assert_true(sizes[max] <= 0 || delay <= sizes[max]);
                }
                if (multipliers[m] >= 0)
                    assert_true(backoff_total_ms(sizes[initial], multipliers[m], sizes[max], 1000) >=
                                backoff_delay_ms(sizes[initial], multipliers[m], sizes[max], 0));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delays),
        cmocka_unit_test(test_total),
        cmocka_unit_test(test_absurd_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
