/*
 * timer.h - when the next parked event is due, as far as this process knows; what the keeper sleeps on.
 */
#ifndef SLUICE_RUN_TIMER_H
#define SLUICE_RUN_TIMER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct timer {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int64_t due_ms; /* monotonic; INT64_MAX: nothing is parked */
    bool stop;
};

void timer_init(struct timer *timer); /* it never goes off before it is advanced */
void timer_destroy(struct timer *timer);
/* Something is due at due_wall_ms: the timer goes off then, or earlier, also when the wall clock is set meanwhile. Any
 * thread. */
void timer_advance(struct timer *timer, int64_t due_wall_ms);
int64_t timer_due_ms(struct timer *timer); /* when it goes off, monotonic; INT64_MAX: never */
/* True once for each time it went off: until it is advanced again, nothing is due. */
bool timer_due(struct timer *timer);
/* Sleeps until it goes off, it is advanced or stopped, or wait_ms are over. False when it is stopped. */
bool timer_wait(struct timer *timer, int64_t wait_ms);
void timer_stop(struct timer *timer);

#endif
