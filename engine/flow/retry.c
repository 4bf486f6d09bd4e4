/*
 * retry.c - the sums of backoff.
 */
#include "flow/retry.h"

#include <math.h>

static int64_t grown_ms(int64_t initial_ms, double multiplier, int64_t max_ms, int64_t times)
{
    double delay = (double)initial_ms * pow(multiplier < 1 ? 1 : multiplier, (double)times);
    return delay >= (double)max_ms ? max_ms : (int64_t)delay; /* also when pow() overflowed to infinity */
}

int64_t retry_delay_ms(const struct retry_policy *policy, int64_t tries, double random)
{
    if (tries > policy->max_retries)
        return -1;
    int64_t delay = grown_ms(policy->initial_interval_ms, policy->multiplier, policy->max_interval_ms, tries < 1 ? 0 : tries - 1);
    return (int64_t)((double)delay * (1 - policy->jitter + 2 * policy->jitter * random));
}

int64_t ladder_delay_ms(const struct ladder *ladder, int64_t climbed)
{
    if (climbed >= ladder->max_retries)
        return -1;
    return grown_ms(ladder->initial_interval_ms, ladder->multiplier, ladder->max_interval_ms, climbed < 0 ? 0 : climbed);
}

int64_t ladder_total_ms(const struct ladder *ladder)
{
    int64_t total = 0;
    for (int64_t climbed = 0; climbed < ladder->max_retries; climbed++)
        if (__builtin_add_overflow(total, ladder_delay_ms(ladder, climbed), &total))
            return INT64_MAX;
    return total;
}
