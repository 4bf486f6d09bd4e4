/*
 * watchdog.c - see watchdog.h.
 */
#include "run/watchdog.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "run/state.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    WATCHDOG_OVERDUE_MS = 5000, /* a handler this far past its deadline is reported */
    WATCHDOG_CPU_MS = 30000,    /* a step of a batch needs milliseconds; at most */
    WATCHDOG_CPU_SOON_MS = 300, /* for tests */
    WATCHDOG_CPU_SHARE = 50,    /* a lane that computes less than a 50th of the time waits for something */
};

static int64_t cpu_ms_of(pthread_t thread)
{
    clockid_t clock;
    struct timespec used = {0};
    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* The lane stands still. A fault of its own thread names it; where a plugin keeps that from ending the process, this
 * one ends it. */
static void end_process(struct worker *worker, int64_t cpu_ms)
{
    const char *handler = atomic_load_explicit(&worker->env.call_handler, memory_order_relaxed);
    log_line(LOG_ERROR, "keeper",
             "lane %u has computed for %lld ms in one step and does not come out of it: %s; its last handler was %s; "
             "the process ends, since the lane's keys would wait for ever",
             worker->env.lane_number, (long long)cpu_ms, atomic_load_explicit(&worker->env.at, memory_order_relaxed),
             handler == NULL ? "none" : handler);
    if (worker->watched.ended)
        _exit(EXIT_FAILURE);
    worker->watched.ended = true;
    pthread_kill(worker->thread, SIGABRT);
}

static void watch_step(struct worker *worker, int64_t now, int64_t most_ms)
{
    struct watched *watched = &worker->watched;
    unsigned moves = atomic_load_explicit(&worker->env.moves, memory_order_relaxed);
    if (moves == 0)
        return; /* not in its loop yet */
    int64_t cpu_ms = cpu_ms_of(worker->thread);
    if (moves != watched->moves) {
        *watched = (struct watched){.moves = moves, .cpu_ms = cpu_ms, .since_ms = now};
        return;
    }
    int64_t used_ms = cpu_ms - watched->cpu_ms;
    if (used_ms > most_ms && used_ms > (now - watched->since_ms) / WATCHDOG_CPU_SHARE)
        end_process(worker, used_ms);
}

static void watch(struct worker *worker, int64_t now, int64_t most_ms)
{
    int64_t deadline = atomic_load_explicit(&worker->env.call_deadline_ms, memory_order_relaxed);
    if (deadline == 0 && worker->started)
        watch_step(worker, now, most_ms);
    if (deadline == 0 || now <= deadline + WATCHDOG_OVERDUE_MS)
        return;
    log_rarely(5000, LOG_ERROR, "keeper",
               "handler %s does not come back: %lld ms past its deadline; lane %u stands still",
               atomic_load_explicit(&worker->env.call_handler, memory_order_relaxed), (long long)(now - deadline),
               worker->env.lane_number);
}

void watchdog_look(struct engine *engine)
{
    int64_t now = clock_monotonic_ms();
    int64_t most_ms = FAILPOINT("keeper.watchdog") == FAILPOINT_ERROR ? WATCHDOG_CPU_SOON_MS : WATCHDOG_CPU_MS;
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            watch(engine->groups[i].workers[w], now, most_ms);
    for (size_t w = 0; w < engine->request_worker_count; w++)
        watch(engine->requests[w], now, most_ms);
    if (engine->scheduler != NULL)
        watch(engine->scheduler, now, most_ms);
}
