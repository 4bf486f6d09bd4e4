/*
 * clock.h - the two clocks. Decisions in flow/ never read them: they are handed the time.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t clock_monotonic_ns(void); /* never jumps: delays, deadlines, latencies */
int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void);                /* milliseconds since 1970 UTC: what is written into events and rows */
int64_t clock_wall_ns(void);                /* the same, in nanoseconds */
struct timespec timespec_of_ms(int64_t ms); /* ms >= 0: a time or a duration, as the system calls want it */

#endif
