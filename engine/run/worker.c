/*
 * worker.c - a lane's thread: takes what waits, runs it as a batch, sleeps until there is more.
 *
 * Natural batching: no linger, so an idle engine answers at once and a loaded one amortises. Only a tap that asks for
 * it (`max_wait`) lets a batch fill.
 */
#include "run/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "batch/batch.h"
#include "batch/definitions.h"
#include "batch/held.h"
#include "batch/limit.h"
#include "batch/outbox.h"
#include "batch/pause.h"
#include "batch/request.h"
#include "guard/watch.h"
#include "isolate/isolated.h"
#include "run/held.h"
#include "run/state.h"
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    WORKER_ARENA_BLOCK = 256 * 1024,
    WORKER_ARENA_MAX = 512 * 1024 * 1024,
    WORKER_BYTES_MAX = 256 * 1024 * 1024,
    WORKER_DELETE_PUBLISHED_MS = 150, /* after the last batch; mostly the next one deletes its published rows */
    WORKER_DELETE_AGAIN_MS = 1000,    /* when the database did not take it */
    WORKER_WARM_MS = 2000,
    WORKER_FOLLOWERS_MAX = 64,       /* entries behind a retry of a moment before its key is written down */
    WORKER_STORED_KEYS_MAX = 10000,  /* beyond that, keys are held in memory, and so the group pauses in the end */
    WORKER_PAUSED_KEYS_MAX = 250000, /* likewise of those that wait for the end of a pause: about 100 bytes each */
};

/* ------------------------------------------------------------------------------- what batches ask of the engine */

static bool worker_sleep(void *context, int64_t ms)
{
    struct worker *worker = context;
    bool goes_on = life_sleep(&worker->engine->life, ms);
    batch_env_at(&worker->env, "what follows a wait");
    return goes_on;
}

/* Requests and ticks. */
static void finish_ungrouped(struct engine *engine, struct item **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (items[i]->source == ITEM_TICK)
            atomic_store(&engine->ticks_in_flight[items[i]->schedule - engine->config->schedules], false);
    items_free(items, count);
}

static void worker_finish(void *context, struct item **items, size_t count, bool complete)
{
    const struct worker *worker = context;
    if (worker->group != NULL)
        group_finish(worker->group, items, count, complete);
    else
        finish_ungrouped(worker->engine, items, count);
}

static void worker_waits(void *context, const struct item *item)
{
    group_waits(((struct worker *)context)->group, item);
}

static void worker_parked(void *context, int64_t due_wall_ms)
{
    timer_advance(&((struct worker *)context)->engine->parked_timer, due_wall_ms);
}

static void worker_ready(void *context)
{
    struct group_run *group = ((struct worker *)context)->group;
    atomic_fetch_add(&group->ready, 1);
    group_wake(group);
}

static void env_of_group(struct batch_env *env, struct group_run *group)
{
    struct metrics *metrics = group->engine->metrics;
    env->group = group->config;
    env->consumer = &group->consumer;
    env->member = &group->member;
    env->attempts = &group->attempts;
    env->lane_index = group->worker_count; /* so many were made before */
    env->lane_count = group->config->lanes;
    env->streams = held_streams;
    env->batches = metrics_series(metrics, METRIC_BATCHES, group->config->name, NULL);
    env->batch_events = metrics_series(metrics, METRIC_BATCH_EVENTS, group->config->name, NULL);
    env->batch_seconds = metrics_series(metrics, METRIC_BATCH_SECONDS, group->config->name, NULL);
}

static bool worker_env(struct worker *worker, uint32_t number)
{
    struct engine *engine = worker->engine;
    struct batch_env *env = &worker->env;
    *env = (struct batch_env){
        .config = engine->config,
        .bindings = engine->bindings,
        .topics = engine->topic_runs,
        .dependencies = engine->dependencies,
        .topic_names = engine->topics,
        .numbers = &engine->numbers,
        .lane_number = number,
        .lane = lane_create(),
        .plugins = calloc(engine->config->plugin_count + 1, sizeof *env->plugins),
        .arena = arena_create(WORKER_ARENA_BLOCK, WORKER_ARENA_MAX),
        .outbox.owner = worker->group == NULL ? 0 : engine->incarnation,
        .random = (uint64_t)clock_monotonic_ns() * 2654435761u + number + 1,
        .bus = engine->bus,
        .surroundings = &engine->surroundings,
        .tracer = engine->parts.tracer,
        .suspects = engine->parts.suspects,
        .quarantine = &engine->quarantine,
        .draining = &engine->life.draining,
        .pauses = &engine->pauses.count,
        .context = worker,
        .sleep = worker_sleep,
        .finish = worker_finish,
        .waits = worker_waits,
        .parked = worker_parked,
        .ready = worker_ready,
    };
    buffer_init(&env->bytes, WORKER_BYTES_MAX);
    buffer_init(&env->packed, WORKER_BYTES_MAX);
    if (worker->group != NULL)
        env_of_group(env, worker->group);
    if (engine->store != NULL) {
        char name[300];
        snprintf(name, sizeof name, "%s%slane %u", worker->group == NULL ? "" : worker->group->config->name,
                 worker->group == NULL ? "" : " ", number);
        env->connection = connection_create(engine->store, name);
    }
    worker->holds = worker->group != NULL && group_is_recorded(engine, worker->group->config);
    if (worker->holds && env->lane != NULL)
        lane_use_store(env->lane, WORKER_FOLLOWERS_MAX, WORKER_STORED_KEYS_MAX, WORKER_PAUSED_KEYS_MAX);
    return env->lane != NULL && env->arena != NULL && env->plugins != NULL &&
           (engine->store == NULL || env->connection != NULL);
}

struct worker *worker_create(struct engine *engine, struct group_run *group, uint32_t number)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->engine = engine;
    worker->group = group;
    mailbox_init(&worker->mailbox);
    if (!worker_env(worker, number)) {
        worker_destroy(worker);
        return NULL;
    }
    return worker;
}

/* --------------------------------------------------------------------------------------------------------- release */

/* What lane_drop() hands to its callbacks. */
struct dropping {
    struct worker *worker;
    const struct release_request *request; /* NULL: everything */
};

static bool drop_matches(const struct lane_entry *entry, void *context)
{
    const struct item *item = (const struct item *)entry;
    const struct release_request *request = ((struct dropping *)context)->request;
    if (request == NULL || item->source == ITEM_HELD)
        return true; /* what was read from the database is read again, by whoever has its stream then */
    if (item->source != ITEM_BUS)
        return false;
    for (size_t i = 0; i < request->count; i++)
        if (request->streams[i] == item->stream)
            return true;
    return false;
}

static void drop_item(struct lane_entry *entry, void *context)
{
    struct item *item = (struct item *)entry;
    if (item->source == ITEM_REQUEST)
        request_refuse(item);
    worker_finish(((struct dropping *)context)->worker, &item, 1, false);
}

static void worker_release(struct worker *worker, const struct release_request *request)
{
    struct dropping dropping = {worker, request};
    lane_drop(worker->env.lane, drop_matches, drop_item, &dropping);
    held_forget(worker);
    outbox_settle(&worker->env); /* whoever takes the streams over finds nothing left to publish */
    outbox_release_uncertain(&worker->env);
    pthread_mutex_lock(request->lock);
    if (--*request->left == 0)
        pthread_cond_broadcast(request->done);
    pthread_mutex_unlock(request->lock); /* the request must not be touched after this */
}

/* ------------------------------------------------------------------------------------------------------- the thread */

static const struct tap *worker_tap(const struct worker *worker)
{
    return worker->group == NULL ? NULL : worker->group->config->tap;
}

/* How long the batch may still fill, 0 when it should run now. */
static int64_t worker_fill_ms(struct worker *worker, int64_t now_ms)
{
    const struct tap *tap = worker_tap(worker);
    struct lane *lane = worker->env.lane;
    if (tap == NULL || tap->binding->max_wait_ms == 0 || lane_due(lane, now_ms) > now_ms)
        return 0;
    if (worker->batch_since_ms == 0)
        worker->batch_since_ms = now_ms;
    if (lane_waiting(lane) >= tap->binding->max_events || atomic_load(&worker->group->paused))
        return 0;
    int64_t left = worker->batch_since_ms + tap->binding->max_wait_ms - now_ms;
    return left > 0 ? left : 0;
}

static size_t worker_batch_max(const struct worker *worker)
{
    const struct tap *tap = worker_tap(worker);
    return tap != NULL ? tap->binding->max_events : worker->engine->config->engine.max_events;
}

/* Where time is stepped (flow tests), all plugins run here: a process of their own would have another time. */
static bool worker_isolates(const struct worker *worker, const struct plugin_ref *plugin)
{
    return plugin->isolation == ISOLATION_PROCESS && worker->started;
}

static bool worker_open_plugins(struct worker *worker)
{
    const struct pipeline *config = worker->engine->config;
    for (size_t i = 0; i < config->plugin_count; i++) {
        const struct plugin_ref *plugin = &config->plugins[i];
        struct error error = {0};
        bool apart = worker_isolates(worker, plugin);
        int (*open)(const struct plugin_ref *, uint32_t, struct plugin_state *, struct error *) = apart ? isolated_open
                                                                                                        : plugin_open;
        if (open(plugin, worker->env.lane_number, &worker->env.plugins[i], &error) != 0) {
            error_prefix(&error, "%s:%d:%d: plugin '%s' does not open", plugin->place.file, plugin->place.line,
                         plugin->place.column, plugin->name);
            life_set_fault(&worker->engine->life, &error);
            return false;
        }
        const char *changed = apart ? NULL : surroundings_restore(&worker->engine->surroundings);
        if (changed != NULL)
            log_line(LOG_ERROR, "lane", "open() of plugin '%s' changed the %s of the process, which is put back",
                     plugin->name, changed);
    }
    return true;
}

static bool pauses_changed(const struct worker *worker)
{
    return atomic_load(&worker->engine->pauses.changes) != worker->pause_changes;
}

static void worker_resume(struct worker *worker)
{
    worker->pause_changes = atomic_load(&worker->engine->pauses.changes); /* before the flags are read */
    pause_resume(&worker->env);
}

/* When there is something to do, but for what comes through the mailbox (monotonic); INT64_MAX: never. `looks`: what
 * others may have changed in the database counts, too. */
static int64_t worker_until(struct worker *worker, int64_t now, bool looks)
{
    struct lane *lane = worker->env.lane;
    int64_t fill = worker_fill_ms(worker, now);
    int64_t due = held_is_unknown(worker) ? INT64_MAX : lane_due(lane, now);
    int64_t held = !looks && !held_is_unknown(worker) ? INT64_MAX : held_due(worker);
    int64_t limit = limit_due_ms(&worker->env);
    int64_t until = !worker->opened ? INT64_MAX : fill > 0 ? now + fill : due;
    held = limit < held ? limit : held;
    until = worker->opened && held < until ? held : until;
    int64_t published = outbox_needs_settling(&worker->env.outbox) ? worker->delete_published_ms : INT64_MAX;
    return until < published ? until : published;
}

/* Sleeps until there is something to do, and takes what is in the mailbox. False: the lane is to stop. */
static bool worker_wait(struct worker *worker, struct lane_entry **ret_entries,
                        const struct release_request **ret_release)
{
    struct mailbox *mailbox = &worker->mailbox;
    pthread_mutex_lock(&mailbox->lock);
    for (;;) {
        int64_t now = clock_monotonic_ms(), until = worker_until(worker, now, true);
        if (mailbox->stop || mailbox->release != NULL || mailbox->head != NULL || until <= now ||
            pauses_changed(worker))
            break;
        mailbox->idle = lane_waiting(worker->env.lane) == 0;
        mailbox_wait_locked(mailbox, until);
        batch_env_at(&worker->env, "what follows a wait");
    }
    bool stop = mailbox->stop;
    mailbox->idle = false;
    *ret_release = mailbox->release;
    mailbox->release = NULL;
    *ret_entries = mailbox_take_locked(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
    return !stop;
}

static void worker_batch(struct worker *worker, struct lane_entry **taken, size_t count)
{
    struct batch_env *env = &worker->env;
    worker->batch_since_ms = 0;
    batch_run(env, taken, count);
    worker->delete_published_ms = clock_monotonic_ms() + WORKER_DELETE_PUBLISHED_MS;
    arena_reset(env->arena);
}

static void worker_gauge(struct worker *worker)
{
    size_t keys = lane_held_keys(worker->env.lane);
    if (worker->group == NULL || keys == worker->held_keys)
        return;
    series_add(worker->group->metric_waiting, (int64_t)keys - (int64_t)worker->held_keys);
    worker->held_keys = keys;
}

static void worker_begin(struct worker *worker)
{
    watch_lane(worker->env.suspects, worker->env.lane_number);
    worker->taken = calloc(worker_batch_max(worker), sizeof(struct lane_entry *));
    worker->opened = worker->taken != NULL && worker_open_plugins(worker);
    if (worker->opened && worker->engine->parts.waits && !worker->engine->parts.stepped &&
        worker->env.connection != NULL)
        ledger_warm(worker->env.connection, clock_monotonic_ms() + WORKER_WARM_MS);
    atomic_fetch_add(&worker->engine->lanes_open, worker->opened);
}

static void worker_offer(struct worker *worker, struct lane_entry *entry)
{
    while (entry != NULL) {
        struct lane_entry *next = entry->next;
        lane_offer(worker->env.lane, entry);
        entry = next;
    }
}

/* What is due now: a batch, or what stands beside the batches. */
static void worker_pass(struct worker *worker)
{
    struct batch_env *env = &worker->env;
    batch_env_at(env, "choosing a batch");
    if (pauses_changed(worker))
        worker_resume(worker);
    if (limit_due_ms(env) <= clock_monotonic_ms()) {
        limit_resume(env);
        arena_reset(env->arena);
    }
    bool may_take = worker->opened && held_update(worker);
    int64_t now = clock_monotonic_ms();
    size_t count = !may_take || worker_fill_ms(worker, now) > 0
                       ? 0
                       : lane_take(env->lane, now, worker_batch_max(worker), worker->taken);
    if (count > 0) {
        worker_batch(worker, worker->taken, count);
    } else if (outbox_needs_settling(&env->outbox) && now >= worker->delete_published_ms) {
        outbox_settle(env);
        worker->delete_published_ms = now + WORKER_DELETE_AGAIN_MS;
    }
    worker_gauge(worker);
}

static void worker_end(struct worker *worker)
{
    outbox_settle(&worker->env);
    outbox_release_uncertain(&worker->env);
    for (size_t i = 0; i < worker->engine->config->plugin_count; i++)
        isolated_close(&worker->env.plugins[i]); /* their processes end with this thread */
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    worker_begin(worker);
    for (;;) {
        struct lane_entry *entry;
        const struct release_request *release;
        bool go_on = worker_wait(worker, &entry, &release);
        worker_offer(worker, entry);
        if (release != NULL)
            worker_release(worker, release);
        if (!go_on)
            break;
        worker_pass(worker);
    }
    worker_end(worker);
    return NULL;
}

void worker_prepare(struct worker *worker)
{
    if (worker->taken == NULL)
        worker_begin(worker);
}

bool worker_step(struct worker *worker)
{
    worker_prepare(worker);
    pthread_mutex_lock(&worker->mailbox.lock);
    struct lane_entry *entry = mailbox_take_locked(&worker->mailbox);
    const struct release_request *release = worker->mailbox.release;
    worker->mailbox.release = NULL;
    pthread_mutex_unlock(&worker->mailbox.lock);
    int64_t now = clock_monotonic_ms();
    if (entry == NULL && release == NULL && worker_until(worker, now, true) > now && !pauses_changed(worker))
        return false;
    worker_offer(worker, entry);
    if (release != NULL)
        worker_release(worker, release);
    worker_pass(worker);
    return true;
}

int64_t worker_due_ms(struct worker *worker)
{
    return worker_until(worker, clock_monotonic_ms(), false);
}

int worker_start(struct worker *worker, struct error *error)
{
    worker->started = true; /* before the thread looks */
    int code = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (code == 0)
        return 0;
    worker->started = false;
    return error_set(error, code, "no thread for lane %u: %s", worker->env.lane_number, strerror(code));
}

void worker_interrupt(struct worker *worker)
{
    atomic_store(&worker->env.interrupted, true);
    if (worker->env.connection != NULL)
        connection_interrupt(worker->env.connection);
}

void worker_stop(struct worker *worker)
{
    if (worker != NULL)
        mailbox_stop(&worker->mailbox);
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    struct batch_env *env = &worker->env;
    if (worker->started) {
        worker_stop(worker);
        pthread_join(worker->thread, NULL);
    } else if (worker->taken != NULL) {
        worker_end(worker);
    }
    struct dropping everything = {worker, NULL};
    for (struct lane_entry *entry = worker->mailbox.head; entry != NULL;) {
        struct lane_entry *next = entry->next;
        drop_item(entry, &everything);
        entry = next;
    }
    if (env->lane != NULL)
        lane_drop(env->lane, drop_matches, drop_item, &everything);
    if (env->plugins != NULL)
        for (size_t i = 0; i < worker->engine->config->plugin_count; i++)
            plugin_close(&env->plugins[i]);
    free(env->plugins);
    free(worker->taken);
    connection_destroy(env->connection);
    lane_destroy(env->lane);
    arena_destroy(env->arena);
    buffer_free(&env->bytes);
    buffer_free(&env->packed);
    outbox_free(&env->outbox);
    held_free(env);
    limits_free(env);
    definitions_free(env->definitions);
    mailbox_destroy(&worker->mailbox);
    free(worker);
}
