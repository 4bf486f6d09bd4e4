/*
 * life.c - see life.h.
 */
#include "run/life.h"

#include "base/clock.h"
#include "base/condition.h"

#include <errno.h>

void life_init(struct life *life)
{
    pthread_mutex_init(&life->lock, NULL);
    cond_init_monotonic(&life->stopped);
}

void life_destroy(struct life *life)
{
    pthread_cond_destroy(&life->stopped);
    pthread_mutex_destroy(&life->lock);
}

bool life_sleep(struct life *life, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    pthread_mutex_lock(&life->lock);
    while (!atomic_load(&life->stop) && clock_monotonic_ms() < until)
        cond_timedwait_ms(&life->stopped, &life->lock, until);
    pthread_mutex_unlock(&life->lock);
    return !atomic_load(&life->stop);
}

void life_stop(struct life *life)
{
    pthread_mutex_lock(&life->lock);
    atomic_store(&life->stop, true);
    pthread_cond_broadcast(&life->stopped);
    pthread_mutex_unlock(&life->lock);
}

void life_set_fault(struct life *life, const struct error *error)
{
    pthread_mutex_lock(&life->lock);
    if (life->fault.code == 0) {
        life->fault = *error;
        if (life->fault.code == 0)
            life->fault.code = EIO;
    }
    pthread_mutex_unlock(&life->lock);
}

int life_fault(struct life *life, struct error *ret)
{
    pthread_mutex_lock(&life->lock);
    int code = life->fault.code;
    if (code != 0 && ret != NULL)
        *ret = life->fault;
    pthread_mutex_unlock(&life->lock);
    return -code;
}
