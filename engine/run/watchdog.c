/*
 * watchdog.c - see watchdog.h.
 */
#include "run/watchdog.h"

#include "base/clock.h"
#include "base/log.h"
#include "run/state.h"

enum { WATCHDOG_OVERDUE_MS = 5000 /* a handler this far past its deadline is reported */ };

static void watch(struct worker *worker, int64_t now)
{
    int64_t deadline = atomic_load_explicit(&worker->env.call_deadline_ms, memory_order_relaxed);
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
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            watch(engine->groups[i].workers[w], now);
    for (size_t w = 0; w < engine->request_worker_count; w++)
        watch(engine->requests[w], now);
    if (engine->scheduler != NULL)
        watch(engine->scheduler, now);
}
