/*
 * condition.c - see condition.h. None of the calls can fail on Linux with these arguments.
 */
#include "base/condition.h"

#include "base/clock.h"

#include <errno.h>

void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

int cond_timedwait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms)
{
    if (clock_is_stopped()) {
        clock_move_to(until_ms);
        return ETIMEDOUT;
    }
    struct timespec until = timespec_of_ms(until_ms);
    return pthread_cond_timedwait(cond, lock, &until);
}
