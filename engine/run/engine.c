/*
 * engine.c - start order, drain, stop order.
 *
 * Everything that needs the database or the bus is done by one opener thread that tries until it succeeds: an engine
 * may be started before its database. Until then lanes exist and wait, and /readyz says why.
 *
 * Stop: readers leave their groups first (what runs is finished and committed, what is queued is redelivered), then
 * requests are answered, then threads end.
 */
#include "run/state.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/ledger.h"
#include "store/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { ENGINE_RETRY_MS = 100, ENGINE_RETRY_MAX_MS = 2000 };

void engine_set_fault(struct engine *engine, const struct error *error)
{
    pthread_mutex_lock(&engine->fault_lock);
    if (engine->fault.code == 0) {
        engine->fault = *error;
        if (engine->fault.code == 0)
            engine->fault.code = EIO;
    }
    pthread_mutex_unlock(&engine->fault_lock);
}

int engine_fault(struct engine *engine, struct error *ret)
{
    pthread_mutex_lock(&engine->fault_lock);
    int code = engine->fault.code;
    if (code != 0 && ret != NULL)
        *ret = engine->fault;
    pthread_mutex_unlock(&engine->fault_lock);
    return -code;
}

bool engine_sleep(struct engine *engine, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_mutex_lock(&engine->wait_lock);
    while (!atomic_load(&engine->stop) && clock_monotonic_ms() < until)
        pthread_cond_timedwait(&engine->wait_wake, &engine->wait_lock, &at);
    pthread_mutex_unlock(&engine->wait_lock);
    return !atomic_load(&engine->stop);
}

struct metrics *engine_metrics(struct engine *engine)
{
    return engine->metrics;
}

const struct pipeline *engine_pipeline(struct engine *engine)
{
    return engine->pipeline;
}

bool engine_healthy(struct engine *engine, struct buffer *ret_why)
{
    struct error error;
    if (engine_fault(engine, &error) == 0)
        return true;
    buffer_format(ret_why, "%s\n", error.text);
    return false;
}

bool engine_ready(struct engine *engine, struct buffer *ret_why)
{
    if (!engine_healthy(engine, ret_why))
        return false;
    if (atomic_load(&engine->draining)) {
        buffer_text(ret_why, "stopping\n");
        return false;
    }
    if (!atomic_load(&engine->open)) {
        bool store = engine->store != NULL && !atomic_load(&engine->store_open);
        buffer_text(ret_why, store ? "waiting for the database\n" : "waiting for the bus\n");
        return false;
    }
    if (engine->store != NULL && series_value(metrics_series(engine->metrics, METRIC_STORE_UP, NULL, NULL)) == 0) {
        buffer_text(ret_why, "the database does not answer\n");
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------------ open */

static enum store_result engine_numbers(struct engine *engine, struct error *error)
{
    const struct pipeline *pipeline = engine->pipeline;
    size_t most = pipeline->binding_count + pipeline->group_count + pipeline->chain_count + pipeline->schedule_count +
                  1;
    struct span *names = calloc(most, sizeof *names);
    int16_t *numbers = calloc(most, sizeof *numbers);
    struct connection *connection = connection_create(engine->store, "start");
    enum store_result result = names != NULL && numbers != NULL && connection != NULL ? STORE_OK : STORE_DOWN;

    if (result == STORE_OK)
        result = connection_begin(connection, clock_monotonic_ms() + 10000, error);
    for (size_t i = 0; result == STORE_OK && i < pipeline->binding_count; i++)
        names[i] = span_of(pipeline->bindings[i]->id);
    if (result == STORE_OK) {
        names[pipeline->binding_count] = SPAN("chain");
        result = ledger_names(connection, 'h', pipeline->binding_count + 1, names, numbers, error);
    }
    for (size_t i = 0; result == STORE_OK && i < pipeline->binding_count; i++)
        engine->bindings[i].number = numbers[i];
    if (result == STORE_OK)
        engine->chain_handler = numbers[pipeline->binding_count];
    for (size_t i = 0; result == STORE_OK && i < pipeline->group_count; i++)
        names[i] = span_of(pipeline->groups[i].name);
    if (result == STORE_OK)
        result = ledger_names(connection, 'g', pipeline->group_count, names, engine->group_numbers, error);
    for (size_t i = 0; result == STORE_OK && i < pipeline->chain_count; i++)
        names[i] = span_of(pipeline->chains[i].name);
    if (result == STORE_OK && pipeline->chain_count > 0)
        result = ledger_names(connection, 'c', pipeline->chain_count, names, engine->chain_numbers, error);
    for (size_t i = 0; result == STORE_OK && i < pipeline->schedule_count; i++)
        names[i] = span_of(pipeline->schedules[i].name);
    if (result == STORE_OK && pipeline->schedule_count > 0)
        result = ledger_names(connection, 's', pipeline->schedule_count, names, engine->schedule_numbers, error);
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    connection_destroy(connection);
    free(names);
    free(numbers);
    return result;
}

static enum store_result engine_open_store(struct engine *engine, struct error *error)
{
    enum store_result result = store_check(engine->store, error);
    if (result == STORE_OK && engine->parts.migrations != NULL)
        result = migrate_check(engine->store, engine->parts.migrations, engine->parts.owners, error);
    if (result == STORE_OK)
        result = engine_numbers(engine, error);
    return result;
}

static void *opener_main(void *context)
{
    struct engine *engine = context;
    int64_t pause = ENGINE_RETRY_MS;

    while (engine->store != NULL && !atomic_load(&engine->stop)) {
        struct error error = {0};
        enum store_result result = engine_open_store(engine, &error);
        if (result == STORE_OK)
            break;
        if (result == STORE_DEPLOY) {
            engine_set_fault(engine, &error);
            return NULL;
        }
        log_rarely(5000, LOG_WARN, "engine", "waiting for the database: %s", error.text);
        if (!engine_sleep(engine, pause))
            return NULL;
        pause = pause * 2 > ENGINE_RETRY_MAX_MS ? ENGINE_RETRY_MAX_MS : pause * 2;
    }
    atomic_store(&engine->store_open, true);
    for (size_t i = 0; i < engine->group_count && !atomic_load(&engine->stop);) {
        struct error error = {0};
        int code = engine->groups[i].group->topic_count == 0 ? 0 : reader_start(&engine->groups[i], &error);
        if (code == 0) {
            i++;
            continue;
        }
        if (code == -EINVAL || code == -ESTALE || code == -EPROTO) {
            engine_set_fault(engine, &error); /* the bus is not as the configuration says: waiting does not help */
            return NULL;
        }
        log_rarely(5000, LOG_WARN, "engine", "waiting for the bus: %s", error.text);
        if (!engine_sleep(engine, pause))
            return NULL;
    }
    atomic_store(&engine->open, true);
    return NULL;
}

/* ----------------------------------------------------------------------------------------------------------- build */

static bool binding_emits(const struct binding *binding)
{
    for (size_t i = 0; i < binding->outcome_count; i++)
        if (binding->by_outcome[i] != NULL && binding->by_outcome[i]->kind != ROUTE_DROP)
            return true;
    return false;
}

static void build_bindings(struct engine *engine)
{
    const struct pipeline *pipeline = engine->pipeline;
    for (size_t i = 0; i < pipeline->binding_count; i++) {
        const struct binding *binding = pipeline->bindings[i];
        struct binding_run *run = &engine->bindings[i];
        /* A tap whose handler leaves nothing in the database and emits nothing needs no row: its position says what
         * is done. */
        run->records = binding->group == NULL || binding->group->tap == NULL || binding->handler->uses_store ||
                       binding_emits(binding);
        run->by_outcome = calloc(binding->outcome_count + 1, sizeof *run->by_outcome);
        for (size_t o = 0; run->by_outcome != NULL && o < binding->outcome_count; o++)
            run->by_outcome[o] = metrics_series(engine->metrics, METRIC_EVENTS, binding->id, binding->outcomes[o].name);
        run->dead = metrics_series(engine->metrics, METRIC_EVENTS, binding->id, "dead");
        run->duplicates = metrics_series(engine->metrics, METRIC_DUPLICATES, binding->id, NULL);
        run->retries = metrics_series(engine->metrics, METRIC_RETRIES, binding->id, NULL);
        run->seconds = metrics_series(engine->metrics, METRIC_HANDLER_SECONDS, binding->id, NULL);
    }
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        map_set(engine->topics, span_of(topic->name), topic);
        engine->topic_runs[i].emitted = metrics_series(engine->metrics, METRIC_EMITTED, topic->name, NULL);
        engine->topic_runs[i].dead = metrics_series(engine->metrics, METRIC_DEAD, topic->name, NULL);
    }
}

static bool build_group(struct engine *engine, struct group_run *run, const struct group *group, uint32_t *lane)
{
    run->engine = engine;
    run->group = group;
    pthread_mutex_init(&run->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&run->released, &monotonic);
    pthread_condattr_destroy(&monotonic);
    run->metric_waiting = metrics_series(engine->metrics, METRIC_WAITING_KEYS, group->name, NULL);
    run->metric_in_flight = metrics_series(engine->metrics, METRIC_IN_FLIGHT, group->name, NULL);
    run->metric_partitions = metrics_series(engine->metrics, METRIC_PARTITIONS, group->name, NULL);
    run->metric_lag = metrics_series(engine->metrics, METRIC_LAG, group->name, NULL);
    run->metric_batches = metrics_series(engine->metrics, METRIC_BATCHES, group->name, NULL);
    run->metric_batch_events = metrics_series(engine->metrics, METRIC_BATCH_EVENTS, group->name, NULL);
    run->metric_batch_seconds = metrics_series(engine->metrics, METRIC_BATCH_SECONDS, group->name, NULL);
    run->workers = calloc(group->lanes, sizeof *run->workers);
    run->heads = calloc(group->lanes, sizeof *run->heads);
    run->tails = calloc(group->lanes, sizeof *run->tails);
    if (run->workers == NULL || run->heads == NULL || run->tails == NULL)
        return false;
    for (; run->worker_count < group->lanes; run->worker_count++)
        if ((run->workers[run->worker_count] = worker_create(engine, run, WORKER_GROUP, (*lane)++)) == NULL)
            return false;
    return true;
}

static bool build(struct engine *engine)
{
    const struct pipeline *pipeline = engine->pipeline;
    uint32_t lane = 0;

    engine->topics = map_create(pipeline->topic_count);
    engine->topic_runs = calloc(pipeline->topic_count + 1, sizeof *engine->topic_runs);
    engine->bindings = calloc(pipeline->binding_count + 1, sizeof *engine->bindings);
    engine->group_numbers = calloc(pipeline->group_count + 1, sizeof *engine->group_numbers);
    engine->chain_numbers = calloc(pipeline->chain_count + 1, sizeof *engine->chain_numbers);
    engine->schedule_numbers = calloc(pipeline->schedule_count + 1, sizeof *engine->schedule_numbers);
    engine->groups = calloc(pipeline->group_count + 1, sizeof *engine->groups);
    engine->requests = calloc(RUN_REQUEST_WORKERS, sizeof *engine->requests);
    if (engine->topics == NULL || engine->topic_runs == NULL || engine->bindings == NULL ||
        engine->group_numbers == NULL || engine->chain_numbers == NULL || engine->schedule_numbers == NULL ||
        engine->groups == NULL || engine->requests == NULL)
        return false;
    build_bindings(engine);
    for (; engine->group_count < pipeline->group_count; engine->group_count++)
        if (!build_group(engine, &engine->groups[engine->group_count], &pipeline->groups[engine->group_count], &lane))
            return false;
    for (; pipeline->request_count > 0 && engine->request_worker_count < RUN_REQUEST_WORKERS;
         engine->request_worker_count++)
        if ((engine->requests[engine->request_worker_count] = worker_create(engine, NULL, WORKER_REQUEST, lane++)) ==
            NULL)
            return false;
    return pipeline->schedule_count == 0 ||
           (engine->scheduler = worker_create(engine, NULL, WORKER_SCHEDULE, lane++)) != NULL;
}

static int start_workers(struct engine *engine, struct error *error)
{
    int code = 0;
    for (size_t i = 0; i < engine->group_count && code == 0; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count && code == 0; w++)
            code = worker_start(engine->groups[i].workers[w], error);
    for (size_t w = 0; w < engine->request_worker_count && code == 0; w++)
        code = worker_start(engine->requests[w], error);
    if (code == 0 && engine->scheduler != NULL)
        code = worker_start(engine->scheduler, error);
    return code;
}

int engine_start(const struct engine_parts *parts, struct engine **ret, struct error *error)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return error_set(error, ENOMEM, "out of memory");
    engine->parts = *parts;
    engine->pipeline = parts->pipeline;
    engine->bus = parts->bus;
    engine->store = parts->store;
    engine->metrics = parts->metrics;
    if (getrandom(&engine->incarnation, sizeof engine->incarnation, 0) != sizeof engine->incarnation)
        engine->incarnation = clock_monotonic_ns() ^ (int64_t)getpid() << 32;
    engine->incarnation |= 1; /* never 0 */
    pthread_mutex_init(&engine->fault_lock, NULL);
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&engine->quarantine, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    pthread_mutex_init(&engine->wait_lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->wait_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!build(engine)) {
        engine_stop(engine);
        return error_set(error, ENOMEM, "out of memory");
    }
    int code = keeper_start(engine, error);
    if (code == 0)
        code = start_workers(engine, error);
    if (code == 0 && (code = pthread_create(&engine->opener, NULL, opener_main, engine)) != 0)
        code = error_set(error, code, "no thread to open the database: %s", strerror(code));
    else if (code == 0)
        engine->opener_started = true;
    if (code != 0) {
        engine_stop(engine);
        return code;
    }
    *ret = engine;
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------ stop */

static void wake_sleepers(struct engine *engine)
{
    pthread_mutex_lock(&engine->wait_lock);
    atomic_store(&engine->stop, true);
    pthread_cond_broadcast(&engine->wait_wake);
    pthread_mutex_unlock(&engine->wait_lock);
}

static bool requests_done(struct engine *engine)
{
    if (atomic_load(&engine->requests_waiting) > 0)
        return false;
    return engine->scheduler == NULL || worker_idle(engine->scheduler);
}

int engine_drain(struct engine *engine, int64_t drain_ms)
{
    int64_t until = clock_monotonic_ms() + drain_ms;
    atomic_store(&engine->draining, true);
    while (!requests_done(engine) && clock_monotonic_ms() < until)
        if (!engine_sleep(engine, 5))
            break;
    bool all = requests_done(engine);
    wake_sleepers(engine); /* no batch waits for a database from here on */
    if (engine->opener_started)
        pthread_join(engine->opener, NULL);
    engine->opener_started = false;
    for (size_t i = 0; i < engine->group_count; i++)
        if (!reader_stop(&engine->groups[i], until))
            return -EBUSY;
    return all ? 0 : -ETIMEDOUT;
}

static void group_destroy(struct group_run *group)
{
    for (size_t w = 0; w < group->worker_count; w++)
        worker_destroy(group->workers[w]);
    for (size_t i = 0; i < group->tracker_count; i++)
        tracker_destroy(group->trackers[i]);
    inherit_forget(group);
    free(group->workers);
    free(group->trackers);
    free(group->streams);
    free(group->epochs);
    free(group->positions);
    free(group->heads);
    free(group->tails);
    pthread_cond_destroy(&group->released);
    pthread_mutex_destroy(&group->lock);
}

void engine_stop(struct engine *engine)
{
    if (engine == NULL)
        return;
    if (!atomic_load(&engine->stop))
        engine_drain(engine, 0);
    keeper_stop(engine);
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            worker_stop(engine->groups[i].workers[w]);
    for (size_t w = 0; w < engine->request_worker_count; w++)
        worker_destroy(engine->requests[w]);
    worker_destroy(engine->scheduler);
    for (size_t i = 0; i < engine->group_count; i++)
        group_destroy(&engine->groups[i]);
    keeper_destroy(engine);
    for (size_t i = 0; engine->bindings != NULL && i < engine->pipeline->binding_count; i++)
        free(engine->bindings[i].by_outcome);
    map_destroy(engine->topics);
    free(engine->topic_runs);
    free(engine->bindings);
    free(engine->group_numbers);
    free(engine->chain_numbers);
    free(engine->schedule_numbers);
    free(engine->groups);
    free(engine->requests);
    pthread_cond_destroy(&engine->wait_wake);
    pthread_mutex_destroy(&engine->wait_lock);
    pthread_mutex_destroy(&engine->fault_lock);
    pthread_rwlock_destroy(&engine->quarantine);
    free(engine);
}
