/*
 * clock.h - the two clocks. Decisions in flow/ never read them: they are handed the time.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_monotonic_ns(void); /* never jumps: delays, deadlines, latencies */
int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void); /* milliseconds since 1970 UTC: what is written into events and rows */

#endif
