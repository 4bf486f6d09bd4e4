/*
 * backoff.c - see backoff.h. A delay is computed in double, where nothing wraps, and brought back below a bound that
 * leaves room for the caller to add a clock; sums are of whole milliseconds.
 */
#include "base/backoff.h"

#include <math.h>

#define BACKOFF_LONGEST_MS ((int64_t)1 << 61)

int64_t backoff_delay_ms(int64_t initial_ms, double multiplier, int64_t max_ms, int64_t step)
{
    if (initial_ms <= 0 || max_ms <= 0)
        return 0;
    double delay = (double)initial_ms * pow(multiplier, (double)step);
    if (!(delay < (double)max_ms))
        return max_ms < BACKOFF_LONGEST_MS ? max_ms : BACKOFF_LONGEST_MS;
    return delay >= (double)BACKOFF_LONGEST_MS ? BACKOFF_LONGEST_MS : (int64_t)(delay + 0.5);
}

int64_t backoff_total_ms(int64_t initial_ms, double multiplier, int64_t max_ms, int64_t steps)
{
    int64_t total = 0;
    for (int64_t step = 0; step < steps; step++) {
        int64_t delay = backoff_delay_ms(initial_ms, multiplier, max_ms, step), times = 1, sum;
        if ((delay >= max_ms && multiplier >= 1) || delay == 0 || multiplier == 1)
            times = steps - step; /* from here on they are all alike */
        if (__builtin_mul_overflow(delay, times, &sum) || __builtin_add_overflow(total, sum, &total))
            return INT64_MAX;
        step += times - 1;
    }
    return total;
}
