/*
 * breakers.c - see breakers.h.
 */
#include "run/breakers.h"

#include "base/clock.h"
#include "base/log.h"
#include "batch/breaker.h"
#include "run/state.h"

#include <stdio.h>
#include <stdlib.h>

enum { BREAKERS_REASON_MAX = 400 };

bool breakers_create(struct engine *engine)
{
    const struct pipeline *config = engine->config;
    engine->dependencies = calloc(config->dependency_count + 1, sizeof *engine->dependencies);
    for (size_t i = 0; engine->dependencies != NULL && i < config->dependency_count; i++) {
        pthread_mutex_init(&engine->dependencies[i].lock, NULL);
        engine->dependencies[i].state = metrics_series(engine->metrics, METRIC_DEPENDENCY, config->dependencies[i].name,
                                                       NULL);
    }
    return engine->dependencies != NULL;
}

void breakers_destroy(struct engine *engine)
{
    for (size_t i = 0; engine->dependencies != NULL && i < engine->config->dependency_count; i++)
        pthread_mutex_destroy(&engine->dependencies[i].lock);
    free(engine->dependencies);
}

static void report(struct engine *engine, struct connection *connection, const struct dependency *dependency)
{
    struct dependency_run *run = &engine->dependencies[dependency->index];
    char reason[BREAKERS_REASON_MAX], window[32];
    struct error error = {0};
    int failures = atomic_exchange(&run->failures, 0);
    if (failures == 0)
        return;
    struct breaker breaker = breaker_of(engine->config, dependency);
    pthread_mutex_lock(&run->lock);
    snprintf(reason, sizeof reason, "%d calls failed within %s; the last: %.*s", dependency->failures,
             duration_text(dependency->window_ms, window), DEPENDENCY_WORDS_MAX, run->words);
    pthread_mutex_unlock(&run->lock);
    if (ledger_breaker_failed(connection, &breaker, failures, span_of(reason), &error) == STORE_OK)
        return;
    atomic_fetch_add(&run->failures, failures);
    log_rarely(10000, connection_log_level(connection), "keeper", "failures of %s cannot be counted now: %s",
               dependency->name, error.text);
}

void breakers_report(struct engine *engine, struct connection *connection)
{
    for (size_t i = 0; i < engine->config->dependency_count; i++)
        report(engine, connection, &engine->config->dependencies[i]);
}

bool breakers_want_a_try(struct engine *engine, struct connection *connection)
{
    const struct pipeline *config = engine->config;
    if (config->dependency_count == 0)
        return false;
    struct span *topics = calloc(config->topic_count, sizeof *topics);
    size_t count = 0;
    for (size_t i = 0; topics != NULL && i < config->topic_count; i++)
        if (atomic_load(&engine->topic_runs[i].half_open) &&
            !atomic_load(&engine->dependencies[config->topics[i]->binding->dependency->index].trying))
            topics[count++] = span_of(config->topics[i]->name);
    if (count > 0 && ledger_parked_resume_one(connection, engine->numbers.groups[0], topics, count, NULL) == STORE_OK)
        timer_advance(&engine->parked_timer, clock_wall_ms());
    free(topics);
    return count > 0;
}

void breakers_show(const struct engine *engine, const struct pause *list, unsigned long count)
{
    for (size_t i = 0; i < engine->config->dependency_count; i++) {
        int64_t state = 0;
        for (size_t p = 0; p < count; p++)
            if (list[p].kind == PAUSE_BREAKER && strcmp(list[p].name, engine->config->dependencies[i].name) == 0)
                state = list[p].half_open ? 1 : 2;
        series_set(engine->dependencies[i].state, state);
    }
}
