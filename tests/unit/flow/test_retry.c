/*
 * test_retry.c - the sums of retries and ladders, at their ends and with absurd settings.
 */
#include "flow/retry.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void delays_double_up_to_the_most(void **state)
{
    (void)state;
    struct retry_policy policy = {
        .max_retries = 6, .initial_interval_ms = 100, .multiplier = 2, .max_interval_ms = 1000};
    const int64_t expected[] = {100, 200, 400, 800, 1000, 1000, -1, -1};
    for (int64_t tries = 1; tries <= 8; tries++)
        assert_int_equal(retry_delay_ms(&policy, tries, 0.99), expected[tries - 1]);
    policy.max_retries = 0;
    assert_int_equal(retry_delay_ms(&policy, 1, 0), -1);
    policy.max_retries = INT32_MAX;
    assert_int_equal(retry_delay_ms(&policy, INT32_MAX, 0), 1000);
    assert_int_equal(retry_delay_ms(&policy, (int64_t)INT32_MAX + 1, 0), -1);
}

static void jitter_stays_within_its_share(void **state)
{
    (void)state;
    struct retry_policy policy = {
        .max_retries = 100, .initial_interval_ms = 1000, .multiplier = 1.5, .max_interval_ms = 20000};
    const double jitters[] = {0, 0.2, 0.5, 1};
    for (size_t j = 0; j < 4; j++) {
        policy.jitter = jitters[j];
        for (int64_t tries = 1; tries < 20; tries++) {
            double exact = fmin(1000 * pow(1.5, (double)(tries - 1)), 20000);
            double least = 1e300, most = 0;
            for (double random = 0; random < 1; random += 1.0 / 256) {
                int64_t delay = retry_delay_ms(&policy, tries, random);
                assert_true((double)delay >= exact * (1 - jitters[j]) - 1 &&
                            (double)delay <= exact * (1 + jitters[j]) + 1);
                assert_true((double)delay <= 20000 * (1 + jitters[j]));
                least = fmin(least, (double)delay);
                most = fmax(most, (double)delay);
            }
            assert_true(most - least >= exact * jitters[j] * 1.9 - 2); /* the whole share is used */
        }
    }
    policy.jitter = 0.2;
    assert_int_equal(retry_delay_ms(&policy, 1, 0), 800);
    assert_int_equal(retry_delay_ms(&policy, 1, 0.5), 1000);
    assert_int_equal(retry_delay_ms(&policy, 1, 0.75), 1100);
}

static void parts_of_a_millisecond_are_rounded(void **state)
{
    (void)state;
    struct retry_policy policy = {
        .max_retries = 9, .initial_interval_ms = 100, .multiplier = 1.5, .max_interval_ms = 20000};
    assert_int_equal(retry_delay_ms(&policy, 4, 0), 338); /* 337.5 */
    assert_int_equal(retry_delay_ms(&policy, 5, 0), 506); /* 506.25 */
}

static void absurd_settings_do_not_overflow(void **state)
{
    (void)state;
    const int64_t sizes[] = {0, 1, 1000, INT64_MAX / 2, INT64_MAX};
    const double multipliers[] = {0, 0.5, 1, 1.0001, 10, 1e300, INFINITY};
    for (size_t a = 0; a < 5; a++) {
        for (size_t b = 0; b < 5; b++) {
            for (size_t m = 0; m < 7; m++) {
                struct retry_policy policy = {.max_retries = INT32_MAX,
                                              .initial_interval_ms = sizes[a],
                                              .multiplier = multipliers[m],
                                              .max_interval_ms = sizes[b],
                                              .jitter = 1};
                struct ladder ladder = {.max_retries = 1000,
                                        .initial_interval_ms = sizes[a],
                                        .multiplier = multipliers[m],
                                        .max_interval_ms = sizes[b]};
                for (int64_t tries = 0; tries < INT32_MAX; tries = tries * 3 + 1) {
                    int64_t delay = retry_delay_ms(&policy, tries, 0.999999);
                    assert_true(delay >= 0 && delay <= INT64_MAX - 4102444800000 /* a clock may be added */);
                    assert_true(delay / 2 <= sizes[b]);
                    if (sizes[a] == 0)
                        assert_int_equal(delay, 0);
                }
                for (int64_t climbed = 0; climbed < 1000; climbed += 37)
                    assert_in_range(ladder_delay_ms(&ladder, climbed), 0, sizes[b]);
            }
        }
    }
}

static void a_ladder_ends(void **state)
{
    (void)state;
    struct ladder ladder = {.max_retries = 3, .initial_interval_ms = 1000, .multiplier = 2, .max_interval_ms = 60000};
    assert_int_equal(ladder_delay_ms(&ladder, 0), 1000);
    assert_int_equal(ladder_delay_ms(&ladder, 1), 2000);
    assert_int_equal(ladder_delay_ms(&ladder, 2), 4000);
    assert_int_equal(ladder_delay_ms(&ladder, 3), -1);
    assert_int_equal(ladder_delay_ms(&ladder, INT64_MAX), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_double_up_to_the_most),
        cmocka_unit_test(jitter_stays_within_its_share),
        cmocka_unit_test(parts_of_a_millisecond_are_rounded),
        cmocka_unit_test(absurd_settings_do_not_overflow),
        cmocka_unit_test(a_ladder_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
