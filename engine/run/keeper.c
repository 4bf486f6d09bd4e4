/*
 * keeper.c - the thread that watches the clock: parked events that are due, ticks of schedules, outputs left
 * unpublished, the log's and the inbox's size, and handlers that do not come back.
 *
 * The sweeper is one of the two healers (redelivery is the other): an outbox row of another process that is older
 * than engine.sweep_after is published by it (outbox.c).
 */
#include "run/outbox.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/record_batch.h"
#include "store/ledger.h"

#include <errno.h>
#include <stdlib.h>

enum {
    KEEPER_PARKED_HOLD_MS = 30000, /* a parked event taken by a process that died comes again after this */
    KEEPER_PARKED_LIMIT = 1000,
    KEEPER_PARKED_IN_FLIGHT_MAX = 4000,
    KEEPER_TEND_MS = 1000,
    KEEPER_PRUNE_MS = 10000,
    KEEPER_PRUNE_LIMIT = 10000,
    KEEPER_GAUGES_MS = 5000,
    KEEPER_LAG_MS = 10000,
    KEEPER_LAG_SHARE = 20,    /* looking up the lag may take one part of so many of the time */
    KEEPER_OVERDUE_MS = 5000, /* a handler this far past its deadline is reported */
};

struct keeper {
    struct engine *engine;
    pthread_t thread;
    struct connection *connection;
    struct arena *arena;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int64_t parked_due_ms; /* wall; when the next parked event is due, as far as is known */
    bool stop;
    int64_t *next_slot; /* by schedule, wall */
    struct series *outbox_age, *outbox_refused, *parked, *stuck;
};

void keeper_due(struct engine *engine, int64_t due_wall_ms)
{
    struct keeper *keeper = engine->keeper;
    pthread_mutex_lock(&keeper->lock);
    if (due_wall_ms < keeper->parked_due_ms) {
        keeper->parked_due_ms = due_wall_ms;
        pthread_cond_signal(&keeper->wake);
    }
    pthread_mutex_unlock(&keeper->lock);
}

static struct group_run *group_of_number(struct engine *engine, int16_t number)
{
    for (size_t i = 0; i < engine->group_count; i++)
        if (engine->group_numbers[engine->groups[i].group->index] == number)
            return &engine->groups[i];
    return NULL;
}

static void parked_push(struct keeper *keeper, struct rows *rows, size_t row, struct item *item)
{
    struct engine *engine = keeper->engine;
    struct group_run *group = group_of_number(engine, (int16_t)rows_int64(rows, row, 0));
    struct record *records = NULL;
    size_t count = 0;
    struct error error = {0};

    if (group == NULL || record_batch_read(rows_span(rows, row, 2), keeper->arena, &records, &count, &error) != 0 ||
        count != 1) {
        log_rarely(10000, LOG_ERROR, "keeper", "a parked event cannot be read: %s; it stays parked", error.text);
        item_block_release(item->block, 1);
        return;
    }
    item->source = ITEM_PARKED;
    atomic_fetch_add(&engine->parked_in_flight, 1);
    item->record = records[0];
    item->topic = map_get(engine->topics, item->record.topic);
    item->binding = group->group->tap != NULL ? group->group->tap->binding
                    : item->topic == NULL     ? NULL
                                              : item->topic->binding;
    item->entry.key_hash = span_hash(item->record.key.at != NULL ? item->record.key : item->record.value);
    /* Headers were read into this thread's arena: the item keeps a copy of the list beside its bytes. */
    item->record.headers = item_headers(item, item->record.header_count + 1);
    if (item->record.headers == NULL) {
        atomic_fetch_sub(&engine->parked_in_flight, 1);
        item_block_release(item->block, 1);
        return;
    }
    memcpy(item->record.headers, records[0].headers, item->record.header_count * sizeof records[0].headers[0]);
    worker_push(group->workers[(item->entry.key_hash >> 17) % group->worker_count], &item->entry, &item->entry.next);
}

static void keeper_parked(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    int64_t next = INT64_MAX;
    struct rows *rows = NULL;
    struct error error = {0};

    pthread_mutex_lock(&keeper->lock);
    bool due = keeper->parked_due_ms <= clock_wall_ms();
    if (due)
        keeper->parked_due_ms = INT64_MAX;
    pthread_mutex_unlock(&keeper->lock);
    if (due && atomic_load(&engine->parked_in_flight) >= KEEPER_PARKED_IN_FLIGHT_MAX) {
        keeper_due(engine, clock_wall_ms() + 200); /* what was taken has to end first */
        return;
    }
    if (!due)
        return;
    enum store_result result = ledger_parked_take(keeper->connection, engine->incarnation, engine->group_numbers,
                                                  engine->pipeline->group_count, KEEPER_PARKED_HOLD_MS,
                                                  KEEPER_PARKED_LIMIT, &rows, &next, &error);
    if (result != STORE_OK) {
        keeper_due(engine, clock_wall_ms() + 1000);
        return;
    }
    size_t count = rows_count(rows);
    if (count > 0) {
        rows = rows_detach(keeper->connection, rows);
        struct item_block *block = item_block_create(count, rows);
        for (size_t i = 0; block != NULL && i < count; i++)
            parked_push(keeper, rows, i, &item_block_items(block)[i]);
        if (block == NULL)
            rows_free(rows);
    }
    arena_reset(keeper->arena);
    if (next != INT64_MAX)
        keeper_due(engine, next);
}

static void keeper_ticks(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < engine->pipeline->schedule_count; i++) {
        const struct schedule *schedule = &engine->pipeline->schedules[i];
        if (now < keeper->next_slot[i])
            continue;
        int64_t slot = now / schedule->every_ms * schedule->every_ms;
        keeper->next_slot[i] = slot + schedule->every_ms;
        if (!worker_idle(engine->scheduler))
            continue; /* the last one still runs: this tick's work is found by the next */
        struct item_block *block = item_block_create(1, NULL);
        if (block == NULL)
            continue;
        struct item *item = item_block_items(block);
        item->source = ITEM_TICK;
        item->binding = schedule->binding;
        item->schedule = schedule;
        item->slot_ms = slot;
        item->record.topic = span_of(schedule->name);
        item->entry.key_hash = i;
        worker_push(engine->scheduler, &item->entry, &item->entry.next);
    }
}

static void overdue(struct worker *worker, int64_t now)
{
    int64_t deadline = atomic_load_explicit(&worker->call_deadline_ms, memory_order_relaxed);
    if (deadline == 0 || now <= deadline + KEEPER_OVERDUE_MS)
        return;
    log_rarely(
        5000, LOG_ERROR, "keeper", "handler %s does not come back: %lld ms past its deadline; lane %u stands still",
        atomic_load_explicit(&worker->call_handler, memory_order_relaxed), (long long)(now - deadline), worker->number);
    if (worker->engine->parts.suspects != NULL)
        suspects_hang(worker->engine->parts.suspects, worker->number);
}

static void keeper_watch(struct engine *engine)
{
    int64_t now = clock_monotonic_ms();
    for (size_t i = 0; i < engine->group_count; i++)
        for (size_t w = 0; w < engine->groups[i].worker_count; w++)
            overdue(engine->groups[i].workers[w], now);
    for (size_t w = 0; w < engine->request_worker_count; w++)
        overdue(engine->requests[w], now);
    if (engine->scheduler != NULL)
        overdue(engine->scheduler, now);
}

static void keeper_gauges(struct keeper *keeper)
{
    struct ledger_health health;
    if (ledger_health(keeper->connection, &health, NULL) != STORE_OK)
        return;
    series_set(keeper->outbox_age, health.outbox_age_ms / 1000);
    series_set(keeper->outbox_refused, health.outbox_refused);
    series_set(keeper->parked, health.parked);
    series_set(keeper->stuck, health.chains_stuck);
}

/* When to look again, as a wall time: what is slow to tell is asked for seldom. */
static int64_t keeper_lag(const struct engine *engine)
{
    int64_t began = clock_monotonic_ms();
    for (size_t i = 0; i < engine->group_count; i++) {
        int64_t lag = bus_lag(engine->bus, engine->groups[i].group->name);
        if (lag >= 0)
            series_set(engine->groups[i].metric_lag, lag);
    }
    int64_t pause = KEEPER_LAG_SHARE * (clock_monotonic_ms() - began);
    return clock_wall_ms() + (pause > KEEPER_LAG_MS ? pause : KEEPER_LAG_MS);
}

static void keeper_prune(struct keeper *keeper)
{
    size_t pruned = 0;
    struct error error = {0};
    if (ledger_prune(keeper->connection, keeper->engine->pipeline->store.inbox_retention_ms, KEEPER_PRUNE_LIMIT,
                     &pruned, &error) == STORE_OK &&
        pruned > 0)
        log_debug("keeper", "pruned %zu inbox rows", pruned);
    (void)ledger_replies_prune(keeper->connection, keeper->engine->pipeline->store.inbox_retention_ms, &error);
}

/* When there is something to do next, as a wall time. */
static int64_t keeper_next(const struct keeper *keeper, int64_t tend_ms)
{
    int64_t next = tend_ms < keeper->parked_due_ms ? tend_ms : keeper->parked_due_ms;
    for (size_t i = 0; i < keeper->engine->pipeline->schedule_count; i++)
        if (keeper->next_slot[i] < next)
            next = keeper->next_slot[i];
    return next;
}

static void *keeper_main(void *context)
{
    struct keeper *keeper = context;
    struct engine *engine = keeper->engine;
    int64_t tend = 0, prune = clock_wall_ms() + KEEPER_PRUNE_MS, gauges = 0, lag = 0;

    for (;;) {
        pthread_mutex_lock(&keeper->lock);
        int64_t wait = keeper_next(keeper, tend) - clock_wall_ms();
        if (wait > KEEPER_TEND_MS)
            wait = KEEPER_TEND_MS; /* a wall clock may jump */
        if (wait > 0 && !keeper->stop) {
            int64_t until = clock_monotonic_ms() + wait;
            struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
            pthread_cond_timedwait(&keeper->wake, &keeper->lock, &at);
        }
        bool stop = keeper->stop;
        pthread_mutex_unlock(&keeper->lock);
        if (stop)
            return NULL;
        if (!atomic_load(&engine->open)) {
            tend = clock_wall_ms() + 20;
            continue;
        }
        int64_t now = clock_wall_ms();
        if (keeper->connection != NULL && !atomic_load(&engine->draining))
            keeper_parked(keeper);
        if (engine->scheduler != NULL && !atomic_load(&engine->draining))
            keeper_ticks(keeper);
        if (now < tend)
            continue;
        tend = now + KEEPER_TEND_MS;
        bus_maintain(engine->bus);
        keeper_watch(engine);
        if (now >= lag)
            lag = keeper_lag(engine);
        if (keeper->connection == NULL)
            continue;
        if (!engine->bus->kind->transactional)
            outbox_sweep(engine, keeper->connection, keeper->arena, engine->pipeline->engine.sweep_after_ms);
        if (now >= gauges) {
            gauges = now + KEEPER_GAUGES_MS;
            keeper_gauges(keeper);
        }
        if (now >= prune) {
            prune = now + KEEPER_PRUNE_MS;
            keeper_prune(keeper);
        }
    }
}

int keeper_start(struct engine *engine, struct error *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL)
        return error_set(error, ENOMEM, "out of memory for the keeper");
    engine->keeper = keeper;
    keeper->engine = engine;
    keeper->parked_due_ms = engine->store == NULL ? INT64_MAX : 0; /* without a store nothing is parked */
    keeper->arena = arena_create(64 * 1024, 256 * 1024 * 1024);
    keeper->next_slot = calloc(engine->pipeline->schedule_count + 1, sizeof *keeper->next_slot);
    if (engine->store != NULL)
        keeper->connection = connection_create(engine->store, "keeper");
    keeper->outbox_age = metrics_series(engine->metrics, METRIC_OUTBOX_AGE, NULL, NULL);
    keeper->outbox_refused = metrics_series(engine->metrics, METRIC_OUTBOX_REFUSED, NULL, NULL);
    keeper->parked = metrics_series(engine->metrics, METRIC_PARKED, NULL, NULL);
    keeper->stuck = metrics_series(engine->metrics, METRIC_CHAINS_STUCK, NULL, NULL);
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int code = pthread_create(&keeper->thread, NULL, keeper_main, keeper);
    if (code != 0)
        return error_set(error, code, "no thread for the keeper: %s", strerror(code));
    return 0;
}

void keeper_stop(struct engine *engine)
{
    struct keeper *keeper = engine->keeper;
    if (keeper == NULL)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->lock);
    if (keeper->connection != NULL)
        connection_interrupt(keeper->connection);
    pthread_join(keeper->thread, NULL);
}

void keeper_destroy(struct engine *engine)
{
    struct keeper *keeper = engine->keeper;
    if (keeper == NULL)
        return;
    connection_destroy(keeper->connection);
    arena_destroy(keeper->arena);
    free(keeper->next_slot);
    pthread_cond_destroy(&keeper->wake);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
    engine->keeper = NULL;
}
