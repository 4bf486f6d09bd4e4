/*
 * backoff.h - the delays of retries: each is the last one times a multiplier, up to a longest one. Pure sums, of
 * retries in place and of the steps of a retry ladder alike.
 */
#ifndef SLUICE_BASE_BACKOFF_H
#define SLUICE_BASE_BACKOFF_H

#include <stdint.h>

/* initial_ms * multiplier^step, rounded to whole milliseconds, at most max_ms and at most 2^61: a clock may be added.
 * `step` counts from 0. No overflow for any arguments; 0 when initial_ms or max_ms is not positive. */
int64_t backoff_delay_ms(int64_t initial_ms, double multiplier, int64_t max_ms, int64_t step);
/* The sum of the first `steps` delays; INT64_MAX when it is larger than that. */
int64_t backoff_total_ms(int64_t initial_ms, double multiplier, int64_t max_ms, int64_t steps);

#endif
