/*
 * timer.c - see timer.h.
 */
#include "run/timer.h"

#include "base/clock.h"
#include "base/condition.h"

void timer_init(struct timer *timer)
{
    timer->due_ms = INT64_MAX;
    pthread_mutex_init(&timer->lock, NULL);
    cond_init_monotonic(&timer->wake);
}

void timer_destroy(struct timer *timer)
{
    pthread_cond_destroy(&timer->wake);
    pthread_mutex_destroy(&timer->lock);
}

void timer_advance(struct timer *timer, int64_t due_wall_ms)
{
    int64_t due_ms = due_wall_ms == INT64_MAX ? INT64_MAX : clock_monotonic_ms() + (due_wall_ms - clock_wall_ms());

    pthread_mutex_lock(&timer->lock);
    if (due_ms < timer->due_ms) {
        timer->due_ms = due_ms;
        pthread_cond_signal(&timer->wake);
    }
    pthread_mutex_unlock(&timer->lock);
}

int64_t timer_due_ms(struct timer *timer)
{
    pthread_mutex_lock(&timer->lock);
    int64_t due_ms = timer->due_ms;
    pthread_mutex_unlock(&timer->lock);
    return due_ms;
}

bool timer_due(struct timer *timer)
{
    pthread_mutex_lock(&timer->lock);
    bool due = timer->due_ms <= clock_monotonic_ms();
    if (due)
        timer->due_ms = INT64_MAX;
    pthread_mutex_unlock(&timer->lock);
    return due;
}

bool timer_wait(struct timer *timer, int64_t wait_ms)
{
    pthread_mutex_lock(&timer->lock);
    int64_t left = timer->due_ms == INT64_MAX ? wait_ms : timer->due_ms - clock_monotonic_ms();
    if (left > wait_ms)
        left = wait_ms;
    if (left > 0 && !timer->stop)
        cond_timedwait_ms(&timer->wake, &timer->lock, clock_monotonic_ms() + left);
    bool stop = timer->stop;
    pthread_mutex_unlock(&timer->lock);
    return !stop;
}

void timer_stop(struct timer *timer)
{
    pthread_mutex_lock(&timer->lock);
    timer->stop = true;
    pthread_cond_signal(&timer->wake);
    pthread_mutex_unlock(&timer->lock);
}
