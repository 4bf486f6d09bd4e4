/*
 * retry.c - see retry.h. Sums are done in double, where nothing wraps, and brought back below a bound that leaves
 * room for the caller to add a clock.
 */
#include "flow/retry.h"

#include <math.h>

#define RETRY_LONGEST_MS ((int64_t)1 << 61)

/* initial * multiplier^exponent, at most max_ms. */
static int64_t retry_interval_ms(int64_t initial_ms, double multiplier, int64_t max_ms, int64_t exponent)
{
    if (initial_ms <= 0 || max_ms <= 0)
        return 0;
    double interval = (double)initial_ms * pow(multiplier, (double)exponent);
    if (!(interval < (double)max_ms))
        return max_ms < RETRY_LONGEST_MS ? max_ms : RETRY_LONGEST_MS;
    return interval >= (double)RETRY_LONGEST_MS ? RETRY_LONGEST_MS : (int64_t)(interval + 0.5);
}

int64_t retry_delay_ms(const struct retry_policy *policy, int64_t tries, double random)
{
    if (tries > policy->max_retries)
        return -1;
    int64_t delay = retry_interval_ms(policy->initial_interval_ms, policy->multiplier, policy->max_interval_ms,
                                      tries > 1 ? tries - 1 : 0);
    /* The jitter is added as whole milliseconds, so that a policy without one gives exactly its intervals. */
    return delay + (int64_t)((double)delay * policy->jitter * (2 * random - 1));
}

int64_t ladder_delay_ms(const struct ladder *ladder, int64_t climbed)
{
    if (climbed >= ladder->max_retries)
        return -1;
    return retry_interval_ms(ladder->initial_interval_ms, ladder->multiplier, ladder->max_interval_ms,
                             climbed > 0 ? climbed : 0);
}

int64_t ladder_total_ms(const struct ladder *ladder)
{
    int64_t total = 0;
    for (int64_t climbed = 0; climbed < ladder->max_retries; climbed++) {
        int64_t delay = ladder_delay_ms(ladder, climbed), times = 1;
        if (delay >= ladder->max_interval_ms || delay == 0 || ladder->multiplier == 1)
            times = ladder->max_retries - climbed; /* from here on they are all alike */
        int64_t sum;
        if (__builtin_mul_overflow(delay, times, &sum) || __builtin_add_overflow(total, sum, &total))
            return INT64_MAX;
        climbed += times - 1;
    }
    return total;
}
