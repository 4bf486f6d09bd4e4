/*
 * retry.c - see retry.h.
 */
#include "flow/retry.h"

#include "base/backoff.h"

int64_t retry_delay_ms(const struct retry_policy *policy, int64_t tries, double random)
{
    if (tries > policy->max_retries)
        return -1;
    int64_t delay = backoff_delay_ms(policy->initial_interval_ms, policy->multiplier, policy->max_interval_ms,
                                     tries > 1 ? tries - 1 : 0);
    /* The jitter is added as whole milliseconds, so that a policy without one gives exactly its intervals. */
    return delay + (int64_t)((double)delay * policy->jitter * (2 * random - 1));
}

int64_t ladder_delay_ms(const struct ladder *ladder, int64_t climbed)
{
    if (climbed >= ladder->max_retries)
        return -1;
    return backoff_delay_ms(ladder->initial_interval_ms, ladder->multiplier, ladder->max_interval_ms,
                            climbed > 0 ? climbed : 0);
}
