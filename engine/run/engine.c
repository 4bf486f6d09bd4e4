/*
 * engine.c - start order, drain, stop order.
 *
 * Stop: readers leave their groups first (what runs is finished and committed, what is queued is redelivered), then
 * requests are answered, then threads end.
 */
#include "run/engine.h"

#include "base/clock.h"
#include "base/condition.h"
#include "run/breakers.h"
#include "run/keeper.h"
#include "run/opener.h"
#include "run/reader.h"
#include "run/state.h"
#include "run/takeover.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { ENGINE_MEMORY = 64 * 1024 * 1024, ENGINE_LANE_MEMORY = 4 * 1024 * 1024 /* idle, a little more than used */ };

int engine_fault(struct engine *engine, struct error *ret)
{
    return life_fault(&engine->life, ret);
}

/* -------------------------------------------------------------------------------------------------------- estimates */

int64_t engine_connections(const struct pipeline *pipeline)
{
    int64_t count = 2 + (pipeline->schedule_count > 0); /* the keeper; what a start or an operator asks */
    for (size_t i = 0; i < pipeline->group_count; i++)
        count += pipeline->groups[i].lanes + 2; /* its consumer or its positions; its takeover */
    if (pipeline->request_count > 0)
        count += ENGINE_REQUEST_WORKERS;
    return count + (pipeline->bus.kind == BUS_CHOICE_POSTGRES ? 2 : 0); /* publisher and maintenance */
}

/* What is in flight is there up to three times: as it was read, as it was parsed, and as outputs. */
int64_t engine_memory(const struct pipeline *pipeline)
{
    int64_t bytes = ENGINE_MEMORY;
    for (size_t i = 0; i < pipeline->group_count; i++)
        bytes += 3 * (int64_t)group_bytes_max(&pipeline->groups[i]) +
                 pipeline->groups[i].lanes * (int64_t)ENGINE_LANE_MEMORY;
    return bytes;
}

/* ----------------------------------------------------------------------------------------------------------- build */

/* Names that left the file, as their events still carry them. */
static void build_answers(struct engine *engine)
{
    const struct pipeline *config = engine->config;
    for (size_t i = 0; i < config->answer_count; i++) {
        const struct name_answer *answer = &config->answers[i];
        struct topic *topic = answer->topic != NULL ? answer->topic : pipeline_topic(config, answer->new_name);
        if (topic == NULL || map_get(engine->topics, span_of(answer->old)) != NULL)
            continue;
        map_set(engine->topics, span_of(answer->old), topic);
        if (answer->topic != NULL)
            engine->topic_runs[topic->index].dead = metrics_series(engine->metrics, METRIC_DEAD, topic->name, NULL);
    }
}

static void build_bindings(struct engine *engine)
{
    const struct pipeline *config = engine->config;
    for (size_t i = 0; i < config->binding_count; i++) {
        const struct binding *binding = config->bindings[i];
        struct binding_run *run = &engine->bindings[i];
        run->records = binding_is_recorded(binding);
        run->by_outcome = calloc(binding->outcome_count + 1, sizeof *run->by_outcome);
        for (size_t o = 0; run->by_outcome != NULL && o < binding->outcome_count; o++)
            run->by_outcome[o] = metrics_series(engine->metrics, METRIC_EVENTS, binding->id, binding->outcomes[o].name);
        if (binding->handler->kind == SLUICE_EVENT)
            run->dead = metrics_series(engine->metrics, METRIC_EVENTS, binding->id, "dead");
        else
            run->failed = metrics_series(engine->metrics, METRIC_EVENTS, binding->id, "failed");
        if (binding->handler->kind == SLUICE_REQUEST)
            run->refused = metrics_series(engine->metrics, METRIC_EVENTS, binding->id, "refused");
        run->duplicates = metrics_series(engine->metrics, METRIC_DUPLICATES, binding->id, NULL);
        run->again = metrics_series(engine->metrics, METRIC_REPLAYED, binding->id, NULL);
        run->retries = metrics_series(engine->metrics, METRIC_RETRIES, binding->id, NULL);
        pthread_mutex_init(&run->stop.lock, NULL);
        run->stop.series = metrics_series(engine->metrics, METRIC_HANDLER_STOPPED, binding->id, NULL);
        run->seconds = metrics_series(engine->metrics, METRIC_HANDLER_SECONDS, binding->id, NULL);
    }
    for (size_t i = 0; i < config->topic_count; i++) {
        struct topic *topic = config->topics[i];
        map_set(engine->topics, span_of(topic->name), topic);
        engine->topic_runs[i].emitted = metrics_series(engine->metrics, METRIC_EMITTED, topic->name, NULL);
        engine->topic_runs[i].dead = metrics_series(engine->metrics, METRIC_DEAD, topic->name, NULL);
        if (topic->binding != NULL && topic->binding->limit != NULL && topic->ladder_of == NULL)
            engine->topic_runs[i].limited = metrics_series(engine->metrics, METRIC_LIMIT_WAITING, topic->name, NULL);
    }
    build_answers(engine);
}

static bool build_group(struct engine *engine, struct group_run *run, const struct group *group, uint32_t *lane)
{
    run->engine = engine;
    run->config = group;
    pthread_mutex_init(&run->lock, NULL);
    cond_init_monotonic(&run->released);
    run->metric_waiting = metrics_series(engine->metrics, METRIC_WAITING_KEYS, group->name, NULL);
    run->metric_in_flight = metrics_series(engine->metrics, METRIC_IN_FLIGHT, group->name, NULL);
    run->metric_partitions = metrics_series(engine->metrics, METRIC_PARTITIONS, group->name, NULL);
    run->metric_lag = metrics_series(engine->metrics, METRIC_LAG, group->name, NULL);
    run->workers = calloc(group->lanes, sizeof *run->workers);
    run->heads = calloc(group->lanes, sizeof *run->heads);
    run->tails = calloc(group->lanes, sizeof *run->tails);
    if (run->workers == NULL || run->heads == NULL || run->tails == NULL)
        return false;
    for (; run->worker_count < group->lanes; run->worker_count++)
        if ((run->workers[run->worker_count] = worker_create(engine, run, (*lane)++)) == NULL)
            return false;
    return true;
}

static bool build(struct engine *engine)
{
    const struct pipeline *config = engine->config;
    uint32_t lane = 0;

    engine->topics = map_create(config->topic_count);
    engine->topic_runs = calloc(config->topic_count + config->retired_count + 1, sizeof *engine->topic_runs);
    engine->bindings = calloc(config->binding_count + 1, sizeof *engine->bindings);
    engine->numbers.groups = calloc(config->group_count + 1, sizeof *engine->numbers.groups);
    engine->numbers.chains = calloc(config->chain_count + 1, sizeof *engine->numbers.chains);
    engine->numbers.definitions = calloc(config->chain_count + 1, sizeof *engine->numbers.definitions);
    engine->numbers.schedules = calloc(config->schedule_count + 1, sizeof *engine->numbers.schedules);
    engine->numbers.retired_topics = calloc(config->answer_count + 1, sizeof *engine->numbers.retired_topics);
    engine->numbers.retired_taps = calloc(config->answer_count + 1, sizeof *engine->numbers.retired_taps);
    engine->groups = calloc(config->group_count + 1, sizeof *engine->groups);
    engine->ticks_in_flight = calloc(config->schedule_count + 1, sizeof *engine->ticks_in_flight);
    engine->requests = calloc(ENGINE_REQUEST_WORKERS, sizeof *engine->requests);
    if (engine->topics == NULL || engine->topic_runs == NULL || engine->bindings == NULL ||
        engine->numbers.groups == NULL || engine->numbers.chains == NULL || engine->numbers.definitions == NULL ||
        engine->numbers.schedules == NULL || engine->numbers.retired_topics == NULL ||
        engine->numbers.retired_taps == NULL || engine->groups == NULL || engine->requests == NULL ||
        engine->ticks_in_flight == NULL || !breakers_create(engine))
        return false;
    build_bindings(engine);
    for (; engine->group_count < config->group_count; engine->group_count++)
        if (!build_group(engine, &engine->groups[engine->group_count], &config->groups[engine->group_count], &lane))
            return false;
    for (; config->request_count > 0 && engine->request_worker_count < ENGINE_REQUEST_WORKERS;
         engine->request_worker_count++)
        if ((engine->requests[engine->request_worker_count] = worker_create(engine, NULL, lane++)) == NULL)
            return false;
    return config->schedule_count == 0 || (engine->scheduler = worker_create(engine, NULL, lane++)) != NULL;
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
    engine->config = parts->pipeline;
    engine->bus = parts->bus;
    engine->store = parts->store;
    engine->metrics = parts->metrics;
    atomic_store(&engine->begun, !parts->waits);
    if (getrandom(&engine->incarnation, sizeof engine->incarnation, 0) != sizeof engine->incarnation)
        engine->incarnation = clock_monotonic_ns() ^ (int64_t)getpid() << 32;
    engine->incarnation |= 1; /* never 0 */
    surroundings_read(&engine->surroundings);
    life_init(&engine->life);
    timer_init(&engine->parked_timer); /* advanced once the database is open */
    pauses_init(&engine->pauses);
    pthread_rwlockattr_t writers_first;
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&engine->quarantine, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
    if (!build(engine)) {
        engine_stop(engine);
        return error_set(error, ENOMEM, "out of memory");
    }
    int code = keeper_start(engine, error);
    if (engine->parts.stepped) {
        *ret = engine; /* before anything can be left at a failpoint */
        return code != 0 ? code : opener_step(engine, error);
    }
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

static bool requests_done(struct engine *engine)
{
    if (atomic_load(&engine->requests_waiting) > 0)
        return false;
    return engine->scheduler == NULL || mailbox_idle(&engine->scheduler->mailbox);
}

static void *leave_group(void *context)
{
    struct group_run *group = context;
    group->leaving.left = reader_stop(group, group->leaving.until_ms);
    return NULL;
}

/* Each by a thread of its own: what a group waits for, of its lanes and of the bus, keeps no other one. False when a
 * handler does not come back. */
static bool leave_groups(struct engine *engine, int64_t until_ms)
{
    bool left = true;
    for (size_t i = 0; i < engine->group_count; i++) {
        struct group_run *group = &engine->groups[i];
        group->leaving.until_ms = until_ms;
        group->leaving.started = pthread_create(&group->leaving.thread, NULL, leave_group, group) == 0;
        if (!group->leaving.started)
            leave_group(group);
    }
    for (size_t i = 0; i < engine->group_count; i++) {
        if (engine->groups[i].leaving.started)
            pthread_join(engine->groups[i].leaving.thread, NULL);
        left = left && engine->groups[i].leaving.left;
    }
    return left;
}

int engine_drain(struct engine *engine, int64_t drain_ms)
{
    int64_t until = clock_monotonic_ms() + drain_ms;
    atomic_store(&engine->life.draining, true);
    while (!requests_done(engine) && clock_monotonic_ms() < until)
        if (!life_sleep(&engine->life, 5))
            break;
    bool all = requests_done(engine);
    life_stop(&engine->life); /* no batch waits for a database from here on */
    if (engine->opener_started)
        pthread_join(engine->opener, NULL);
    engine->opener_started = false;
    if (!leave_groups(engine, until))
        return -EBUSY;
    keeper_stop(engine);
    return all ? 0 : -ETIMEDOUT;
}

/* False while it runs a handler. */
static bool worker_ends(struct worker *worker, bool first)
{
    if (worker == NULL)
        return true;
    if (first) {
        worker_stop(worker);
        worker_interrupt(worker);
    }
    return atomic_load_explicit(&worker->env.call_deadline_ms, memory_order_relaxed) == 0;
}

bool engine_interrupt(struct engine *engine)
{
    const struct timespec look = timespec_of_ms(5);
    int64_t until = clock_monotonic_ms() + ENGINE_INTERRUPTED_MS;
    for (bool first = true;; first = false) {
        bool ended = worker_ends(engine->scheduler, first);
        for (size_t w = 0; w < engine->request_worker_count; w++)
            ended = worker_ends(engine->requests[w], first) && ended;
        if (ended || clock_monotonic_ms() >= until)
            return ended;
        nanosleep(&look, NULL);
    }
}

static void group_destroy(struct group_run *group)
{
    for (size_t w = 0; w < group->worker_count; w++)
        worker_destroy(group->workers[w]);
    for (size_t i = 0; i < group->tracker_count; i++)
        tracker_destroy(group->trackers[i]);
    takeover_destroy(group);
    halted_destroy(&group->halted);
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
    if (!atomic_load(&engine->life.stop))
        engine_drain(engine, 0);
    keeper_stop(engine); /* unless the drain has */
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            worker_stop(engine->groups[i].workers[w]);
    for (size_t w = 0; w < engine->request_worker_count; w++)
        worker_destroy(engine->requests[w]);
    worker_destroy(engine->scheduler);
    for (size_t i = 0; i < engine->group_count; i++)
        group_destroy(&engine->groups[i]);
    keeper_destroy(engine);
    for (size_t i = 0; engine->bindings != NULL && i < engine->config->binding_count; i++)
        free(engine->bindings[i].by_outcome);
    map_destroy(engine->topics);
    arena_destroy(engine->names);
    connection_destroy(engine->opening);
    free(engine->topic_runs);
    free(engine->bindings);
    breakers_destroy(engine);
    free(engine->numbers.groups);
    free(engine->numbers.chains);
    free(engine->numbers.definitions);
    free(engine->numbers.schedules);
    free(engine->numbers.retired_topics);
    free(engine->numbers.retired_taps);
    free(engine->groups);
    free(engine->requests);
    free(engine->ticks_in_flight);
    timer_destroy(&engine->parked_timer);
    pauses_destroy(&engine->pauses);
    life_destroy(&engine->life);
    pthread_rwlock_destroy(&engine->quarantine);
    free(engine);
}
