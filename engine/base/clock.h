/*
 * clock.h - the two clocks. Decisions in flow/ never read them: they are handed the time.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

int64_t clock_monotonic_ns(void); /* never jumps: delays, deadlines, latencies */
int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void);                /* milliseconds since 1970 UTC: what is written into events and rows */
int64_t clock_wall_ns(void);                /* the same, in nanoseconds */
struct timespec timespec_of_ms(int64_t ms); /* ms >= 0: a time or a duration, as the system calls want it */

/* Virtual time: the clocks of this process stand at wall_ms (both of them; it is far above 0) until they are moved. A
 * wait of condition.h then takes no time: it moves them to its deadline. For a process of one thread, as nobody else
 * could end a wait. They never run again. */
void clock_stop(int64_t wall_ms);
bool clock_is_stopped(void);
void clock_move_to(int64_t wall_ms); /* never back; nothing while the clocks run */

#endif
