/*
 * worker.c - a lane's thread: takes what waits, runs it as a batch, sleeps until there is more.
 *
 * Natural batching: no linger, so an idle engine answers at once and a loaded one amortises. Only a tap that asks
 * for it (`max_wait`) lets a batch fill.
 */
#include "run/intake.h"
#include "run/outbox.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    WORKER_ARENA_BLOCK = 256 * 1024,
    WORKER_ARENA_MAX = 512 * 1024 * 1024,
    WORKER_BYTES_MAX = 256 * 1024 * 1024,
    /* without another transaction: then rows that are published are deleted by one of their own */
    WORKER_FORGET_MS = 150,
    WORKER_FORGET_AGAIN_MS = 1000, /* when the database did not take it */
};

struct item_block {
    atomic_size_t items;
    struct rows *rows;
    struct item item[];
};

struct item_block *item_block_create(size_t count, struct rows *rows)
{
    struct item_block *block = calloc(1, sizeof *block + count * sizeof block->item[0]);
    if (block == NULL)
        return NULL;
    atomic_init(&block->items, count);
    block->rows = rows;
    for (size_t i = 0; i < count; i++)
        block->item[i].block = block;
    return block;
}

struct item *item_block_items(struct item_block *block)
{
    return block->item;
}

struct header *item_headers(struct item *item, size_t count)
{
    item->headers = calloc(count, sizeof *item->headers);
    return item->headers;
}

void item_block_release(struct item_block *block, size_t items)
{
    if (atomic_fetch_sub_explicit(&block->items, items, memory_order_acq_rel) == items) {
        rows_free(block->rows);
        free(block);
    }
}

void items_finish(struct worker *worker, struct item **items, size_t count, bool complete)
{
    struct group_run *group = worker->group;
    size_t taken = 0, bytes = 0, parked = 0;

    if (complete && group != NULL) {
        pthread_mutex_lock(&group->lock);
        for (size_t i = 0; i < count; i++) {
            const struct item *item = items[i];
            if (item->source == ITEM_BUS && item->stream < group->tracker_count &&
                group->trackers[item->stream] != NULL)
                tracker_complete(group->trackers[item->stream], item->epoch, item->ticket);
        }
        pthread_mutex_unlock(&group->lock);
    }
    /* Items of a batch mostly come in runs of one block and one chunk: one atomic for each run. */
    for (size_t i = 0; i < count;) {
        struct item_block *block = items[i]->block;
        struct bus_chunk *chunk = items[i]->chunk;
        size_t run = 0;
        while (i + run < count && items[i + run]->block == block && items[i + run]->chunk == chunk) {
            free(items[i + run]->sentence);
            parked += items[i + run]->source == ITEM_PARKED;
            free(items[i + run]->headers);
            if (items[i + run]->source == ITEM_BUS) {
                taken++;
                bytes += items[i + run]->record.value.length;
            }
            run++;
        }
        if (chunk != NULL)
            bus_chunk_release(chunk, run);
        item_block_release(block, run);
        i += run;
    }
    if (parked > 0)
        atomic_fetch_sub(&worker->engine->parked_in_flight, parked);
    if (group != NULL && taken > 0) {
        atomic_fetch_sub(&group->in_flight, taken);
        atomic_fetch_sub(&group->in_flight_bytes, bytes);
        series_add(group->metric_in_flight, -(int64_t)taken);
        if (atomic_load(&group->paused))
            bus_wake(group->engine->bus, group->consumer);
    }
}

struct worker *worker_create(struct engine *engine, struct group_run *group, enum worker_kind kind, uint32_t number)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return NULL;
    worker->engine = engine;
    worker->group = group;
    worker->kind = kind;
    worker->number = number;
    worker->inbox_tail = &worker->inbox_head;
    worker->random = (uint64_t)clock_monotonic_ns() * 2654435761u + number + 1;
    worker->idle = true;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    worker->lane = lane_create();
    worker->arena = arena_create(WORKER_ARENA_BLOCK, WORKER_ARENA_MAX);
    worker->plugins = calloc(engine->pipeline->plugin_count + 1, sizeof worker->plugins[0]);
    buffer_init(&worker->bytes, WORKER_BYTES_MAX);
    buffer_init(&worker->packed, WORKER_BYTES_MAX);
    if (engine->store != NULL) {
        char name[64];
        snprintf(name, sizeof name, "lane %u", number);
        worker->connection = connection_create(engine->store, name);
    }
    if (worker->lane == NULL || worker->arena == NULL || worker->plugins == NULL ||
        (engine->store != NULL && worker->connection == NULL)) {
        worker_destroy(worker);
        return NULL;
    }
    return worker;
}

double worker_random(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return (double)(worker->random >> 11) / (double)(1ull << 53);
}

void worker_push(struct worker *worker, struct lane_entry *head, struct lane_entry **tail)
{
    pthread_mutex_lock(&worker->lock);
    *worker->inbox_tail = head;
    worker->inbox_tail = tail;
    *tail = NULL;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
}

void worker_drop(struct worker *worker, const struct drop_request *drop)
{
    pthread_mutex_lock(&worker->lock);
    worker->drop = drop;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
}

bool worker_idle(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    bool idle = worker->idle && worker->inbox_head == NULL;
    pthread_mutex_unlock(&worker->lock);
    return idle;
}

/* What lane_drop() hands to its callbacks. */
struct dropping {
    struct worker *worker;
    const struct drop_request *request; /* NULL: everything */
};

static bool drop_matches(const struct lane_entry *entry, void *context)
{
    const struct item *item = (const struct item *)entry;
    const struct drop_request *request = ((struct dropping *)context)->request;
    if (request == NULL)
        return true;
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
    struct worker *worker = ((struct dropping *)context)->worker;
    if (item->source == ITEM_REQUEST)
        intake_refuse(worker->engine, item);
    items_finish(worker, &item, 1, false);
}

static void worker_let_go(struct worker *worker, const struct drop_request *request)
{
    struct dropping dropping = {worker, request};
    lane_drop(worker->lane, drop_matches, drop_item, &dropping);
    outbox_forget(worker); /* whoever gets the streams finds nothing left to publish */
    outbox_leave(worker);
    pthread_mutex_lock(request->lock);
    if (--*request->left == 0)
        pthread_cond_broadcast(request->done);
    pthread_mutex_unlock(request->lock); /* the request is gone after this */
}

/* How long the batch may still fill, 0 when it should run now. */
static int64_t worker_fill_ms(struct worker *worker, int64_t now_ms)
{
    const struct tap *tap = worker->group == NULL ? NULL : worker->group->group->tap;
    if (tap == NULL || tap->binding->max_wait_ms == 0 || lane_due(worker->lane, now_ms) > now_ms)
        return 0;
    if (worker->batch_since_ms == 0)
        worker->batch_since_ms = now_ms;
    if (lane_waiting(worker->lane) >= tap->binding->max_events || atomic_load(&worker->group->paused))
        return 0;
    int64_t left = worker->batch_since_ms + tap->binding->max_wait_ms - now_ms;
    return left > 0 ? left : 0;
}

static void worker_wait_locked(struct worker *worker, int64_t until_ms)
{
    if (until_ms == INT64_MAX) {
        pthread_cond_wait(&worker->wake, &worker->lock);
        return;
    }
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = (until_ms % 1000) * 1000000};
    pthread_cond_timedwait(&worker->wake, &worker->lock, &until);
}

static size_t worker_batch_max(const struct worker *worker)
{
    if (worker->group != NULL && worker->group->group->tap != NULL)
        return worker->group->group->tap->binding->max_events;
    return worker->engine->pipeline->engine.max_events;
}

static bool worker_open_plugins(struct worker *worker)
{
    const struct pipeline *pipeline = worker->engine->pipeline;
    for (size_t i = 0; i < pipeline->plugin_count; i++) {
        struct error error = {0};
        if (plugin_open(&pipeline->plugins[i], worker->number, &worker->plugins[i], &error) != 0) {
            error_prefix(&error, "%s:%d:%d: plugin '%s' does not open", pipeline->plugins[i].place.file,
                         pipeline->plugins[i].place.line, pipeline->plugins[i].place.column, pipeline->plugins[i].name);
            engine_set_fault(worker->engine, &error);
            return false;
        }
    }
    return true;
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    size_t max = worker_batch_max(worker);
    suspects_lane(worker->engine->parts.suspects, worker->number);
    struct lane_entry **taken = calloc(max, sizeof *taken);
    bool opened = taken != NULL && worker_open_plugins(worker);

    for (;;) {
        pthread_mutex_lock(&worker->lock);
        for (;;) {
            int64_t now = clock_monotonic_ms();
            int64_t fill = worker_fill_ms(worker, now);
            int64_t due = lane_due(worker->lane, now);
            int64_t forget = worker->outbox_id_count > 0 ? worker->forget_ms : INT64_MAX;
            if (worker->stop || worker->drop != NULL || worker->inbox_head != NULL ||
                (opened && due <= now && fill == 0) || forget <= now)
                break;
            worker->idle = lane_waiting(worker->lane) == 0;
            int64_t until = !opened ? INT64_MAX : fill > 0 ? now + fill : due;
            worker_wait_locked(worker, until < forget ? until : forget);
        }
        bool stop = worker->stop;
        worker->idle = false;
        const struct drop_request *drop = worker->drop;
        worker->drop = NULL;
        struct lane_entry *entry = worker->inbox_head;
        worker->inbox_head = NULL;
        worker->inbox_tail = &worker->inbox_head;
        pthread_mutex_unlock(&worker->lock);

        while (entry != NULL) {
            struct lane_entry *next = entry->next;
            lane_offer(worker->lane, entry);
            entry = next;
        }
        if (drop != NULL)
            worker_let_go(worker, drop);
        if (stop)
            break;
        int64_t now = clock_monotonic_ms();
        size_t count = !opened || worker_fill_ms(worker, now) > 0 ? 0 : lane_take(worker->lane, now, max, taken);
        if (count == 0 && worker->outbox_id_count > 0 && now >= worker->forget_ms) {
            outbox_forget(worker);
            worker->forget_ms = now + WORKER_FORGET_AGAIN_MS;
        }
        if (count > 0) {
            worker->batch_since_ms = 0;
            batch_run(worker, taken, count);
            worker->forget_ms = clock_monotonic_ms() + WORKER_FORGET_MS;
            if (worker->group != NULL && lane_held_keys(worker->lane) != worker->held_keys) {
                series_add(worker->group->metric_waiting,
                           (int64_t)lane_held_keys(worker->lane) - (int64_t)worker->held_keys);
                worker->held_keys = lane_held_keys(worker->lane);
            }
            arena_reset(worker->arena);
        }
    }
    outbox_forget(worker);
    outbox_leave(worker);
    free(taken);
    return NULL;
}

int worker_start(struct worker *worker, struct error *error)
{
    int code = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (code != 0)
        return error_set(error, code, "no thread for lane %u: %s", worker->number, strerror(code));
    worker->started = true;
    return 0;
}

void worker_stop(struct worker *worker)
{
    if (worker == NULL)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->stop = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    if (worker->started) {
        worker_stop(worker);
        pthread_join(worker->thread, NULL);
    }
    struct dropping everything = {worker, NULL};
    for (struct lane_entry *entry = worker->inbox_head; entry != NULL;) {
        struct lane_entry *next = entry->next;
        drop_item(entry, &everything);
        entry = next;
    }
    if (worker->lane != NULL)
        lane_drop(worker->lane, drop_matches, drop_item, &everything);
    if (worker->plugins != NULL)
        for (size_t i = 0; i < worker->engine->pipeline->plugin_count; i++)
            plugin_close(&worker->plugins[i]);
    free(worker->plugins);
    connection_destroy(worker->connection);
    lane_destroy(worker->lane);
    arena_destroy(worker->arena);
    buffer_free(&worker->bytes);
    buffer_free(&worker->packed);
    free(worker->outbox_ids);
    free(worker->doubted);
    pthread_cond_destroy(&worker->wake);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}
