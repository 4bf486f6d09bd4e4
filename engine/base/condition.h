/*
 * condition.h - condition variables whose deadlines are on the monotonic clock, in milliseconds as clock_monotonic_ms()
 * gives them. Every timed wait of the engine is one of these, so that setting the system's clock delays nothing, and in
 * virtual time (clock_stop()) none takes time.
 */
#ifndef SLUICE_BASE_CONDITION_H
#define SLUICE_BASE_CONDITION_H

#include <pthread.h>
#include <stdint.h>

void cond_init_monotonic(pthread_cond_t *cond); /* pthread_cond_destroy() ends it */
/* Waits with `lock` held until a signal, until `until_ms`, or without reason: callers check their condition again.
 * 0, or ETIMEDOUT once until_ms has passed. Only for a condition that cond_init_monotonic() made. */
int cond_timedwait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);

#endif
