/*
 * clock.c - see clock.h. clock_gettime() cannot fail on Linux with these clocks.
 */
#include "base/clock.h"

#include <stdatomic.h>

/* As log and failpoints, the clock is the process's. Nanoseconds since 1970; 0: the clocks run. Read by any thread that
 * a plugin may have. */
static atomic_llong clock_stopped_ns;

static int64_t clock_read(clockid_t clock)
{
    int64_t stopped_ns = atomic_load_explicit(&clock_stopped_ns, memory_order_relaxed);
    if (stopped_ns != 0)
        return stopped_ns;
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

int64_t clock_wall_ns(void)
{
    return clock_read(CLOCK_REALTIME);
}

int64_t clock_wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

void clock_stop(int64_t wall_ms)
{
    atomic_store(&clock_stopped_ns, wall_ms * 1000000);
}

bool clock_is_stopped(void)
{
    return atomic_load(&clock_stopped_ns) != 0;
}

void clock_move_to(int64_t wall_ms)
{
    if (clock_is_stopped() && wall_ms > clock_wall_ms())
        atomic_store(&clock_stopped_ns, wall_ms * 1000000);
}

struct timespec timespec_of_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
}
