/*
 * reader.c - a group's thread: takes records from the bus, hands each to the lane of its key, commits what is complete.
 *
 * It parses nothing (the lanes do, in parallel) and waits for nobody: when the group holds too much, it asks the bus
 * for no more records and goes on answering revocations. A revocation is cooperative: lanes drop what is
 * queued, finish what runs, what is complete is committed, and only then the rebalance goes on.
 */
#include "run/reader.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "run/state.h"
#include "run/takeover.h"

#include <errno.h>
#include <stdlib.h>

enum {
    READER_COMMIT_MS = 200, /* positions are committed this often */
    READER_POLL_MS = 1000,
    READER_FULL_MS = 10000,
    READER_RELEASE_SLOW_MS = 2000, /* a handler that holds a rebalance for so long is named, and again so often */
    READER_TRACKER_MAX = 1 << 20,
};

static const int64_t NEVER_MS = INT64_MAX / 2;

static size_t in_flight_max(const struct group_run *group)
{
    size_t most = 4 * (size_t)group->engine->config->engine.max_events * group->worker_count;
    return most < 2000 ? 2000 : most;
}

/* A paused tap stops reading: its group has nothing else to do. Of the pipeline's own group only a topic is paused, and
 * lanes write its events down. */
static bool reader_is_paused(const struct group_run *group)
{
    const struct tap *tap = group->config->tap;
    return tap != NULL && atomic_load(&group->engine->bindings[tap->binding->index].paused);
}

/* Events that wait for their time have no bound but memory, which has one. `share` of it, in percent. */
static bool reader_is_full(const struct group_run *group, size_t share)
{
    return atomic_load(&group->waiting) >= GROUP_WAITING_MAX / 100 * share ||
           atomic_load(&group->waiting_bytes) >= GROUP_WAITING_BYTES_MAX / 100 * share;
}

static void reader_pace(struct group_run *group)
{
    size_t events = atomic_load(&group->in_flight), bytes = atomic_load(&group->in_flight_bytes),
           most = in_flight_max(group), bytes_max = group_bytes_max(group->config);
    bool paused = atomic_load(&group->paused), by_operator = reader_is_paused(group);
    if (reader_is_full(group, 100))
        log_rarely(READER_FULL_MS, LOG_WARN, "reader",
                   "group %s: %zu events wait for their time in memory, as the file has no store, and that is all it "
                   "takes: nothing more is read until some are due",
                   group->config->name, atomic_load(&group->waiting));
    if (!paused && (events >= most || bytes >= bytes_max || by_operator || reader_is_full(group, 100))) {
        atomic_store(&group->paused, true);
        bus_pause(group->engine->bus, group->consumer, true);
    } else if (paused && !by_operator && !reader_is_full(group, 90) && events <= most / 2 && bytes <= bytes_max / 2) {
        atomic_store(&group->paused, false);
        bus_pause(group->engine->bus, group->consumer, false);
    }
}

/* Lists as long as there are streams, so that no pass allocates. */
static bool reader_room(struct group_run *group, size_t count)
{
    free(group->streams);
    free(group->epochs);
    free(group->positions);
    group->streams = calloc(count, sizeof *group->streams);
    group->epochs = calloc(count, sizeof *group->epochs);
    group->positions = calloc(count, sizeof *group->positions);
    return group->streams != NULL && group->epochs != NULL && group->positions != NULL;
}

static bool reader_assign(struct group_run *group, uint32_t stream, uint32_t epoch)
{
    if (stream >= group->tracker_count) {
        size_t count = stream + 16;
        struct tracker **trackers = realloc(group->trackers, count * sizeof *trackers);
        group->trackers = trackers == NULL ? group->trackers : trackers;
        if (trackers == NULL || !reader_room(group, count))
            return false;
        memset(trackers + group->tracker_count, 0, (count - group->tracker_count) * sizeof *trackers);
        group->tracker_count = count;
    }
    tracker_destroy(group->trackers[stream]);
    group->trackers[stream] = tracker_create(epoch, READER_TRACKER_MAX);
    return group->trackers[stream] != NULL;
}

static size_t assigned_streams(const struct group_run *group)
{
    size_t count = 0;
    for (size_t i = 0; i < group->tracker_count; i++)
        count += group->trackers[i] != NULL;
    return count;
}

/* Of the stream's present assignment; NULL when that is not this epoch's. Under the group's lock. */
static struct tracker *reader_tracker(const struct group_run *group, uint32_t stream, uint32_t epoch)
{
    struct tracker *tracker = stream < group->tracker_count ? group->trackers[stream] : NULL;
    return tracker != NULL && tracker_epoch(tracker) == epoch ? tracker : NULL;
}

/* One pass over a poll's records: an item for each that a tracker takes, linked per lane, pushed once per lane. */
static int reader_dispatch(struct group_run *group, const struct bus_event *event)
{
    struct engine *engine = group->engine;
    struct item_block *block = item_block_create(event->record_count, NULL);
    if (block == NULL)
        return -ENOMEM;
    struct item *items = item_block_items(block);
    struct lane_entry **heads = group->heads, ***tails = group->tails;
    for (size_t i = 0; i < group->worker_count; i++)
        tails[i] = &heads[i];

    size_t taken = 0, bytes = 0, refused = 0;
    struct span last_name = {0};
    struct topic *last_topic = NULL;
    bool last_renamed = false;
    pthread_mutex_lock(&group->lock);
    for (size_t i = 0; i < event->record_count; i++) {
        const struct bus_record *record = &event->records[i];
        struct item *item = &items[i];
        struct tracker *tracker = reader_tracker(group, record->stream, record->epoch);
        if (tracker != NULL && record->before.high != 0)
            tracker_consume(tracker, record->before);
        if (tracker == NULL || tracker_add(tracker, record->position, &item->ticket) != 0) {
            refused++;
            bus_chunk_release(record->chunk, 1);
            continue;
        }
        if (last_topic == NULL || !span_equal(last_name, record->record.topic)) {
            last_name = record->record.topic;
            last_topic = map_get(engine->topics, last_name);
            last_renamed = last_topic != NULL && !span_is(last_name, last_topic->name);
        }
        item_of_record(item, ITEM_BUS, &record->record, record->key_hash, last_topic, group->config);
        if (last_renamed)
            item_rename(item);
        item->other_file = record->other_file;
        item->chunk = record->chunk;
        item->position = record->position;
        item->stream = record->stream;
        item->epoch = record->epoch;
        size_t lane = lane_of_key(item->entry.key_hash, group->worker_count);
        *tails[lane] = &item->entry;
        tails[lane] = &item->entry.next;
        taken++;
        bytes += record->record.value.length;
    }
    pthread_mutex_unlock(&group->lock);

    atomic_fetch_add(&group->in_flight, taken);
    atomic_fetch_add(&group->in_flight_bytes, bytes);
    series_add(group->metric_in_flight, (int64_t)taken);
    for (size_t i = 0; i < group->worker_count; i++)
        if (tails[i] != &heads[i])
            mailbox_push(&group->workers[i]->mailbox, heads[i], tails[i]);
    if (refused > 0)
        item_block_release(block, refused);
    return 0;
}

/* Commits every watermark that moved. */
static void reader_commit(struct group_run *group)
{
    struct error error = {0};
    size_t count = 0;
    pthread_mutex_lock(&group->lock);
    for (uint32_t i = 0; i < group->tracker_count; i++) {
        if (group->trackers[i] == NULL || !tracker_watermark(group->trackers[i], &group->positions[count]))
            continue;
        group->streams[count] = i;
        group->epochs[count] = tracker_epoch(group->trackers[i]);
        count++;
    }
    pthread_mutex_unlock(&group->lock);
    if (count == 0)
        return;
    if (FAILPOINT("reader.commit.before") == FAILPOINT_ERROR)
        return;
    int code = bus_commit(group->engine->bus, group->consumer, count, group->streams, group->epochs, group->positions,
                          &error);
    if (code != 0) {
        pthread_mutex_lock(&group->lock);
        for (size_t i = 0; i < count; i++)
            tracker_remind(group->trackers[group->streams[i]]);
        pthread_mutex_unlock(&group->lock);
        log_rarely(5000, LOG_WARN, "reader",
                   "group %s: positions are not committed now (%s); they will be with the next", group->config->name,
                   error.text);
    }
    (void)FAILPOINT("reader.commit.after");
}

/* What runs in a lane here is waited for: in a rebalance by the whole group, for peers read again when all have
 * released. */
static void log_slow_release(const struct group_run *group, const char *what, int64_t waited_ms)
{
    for (size_t i = 0; i < group->worker_count; i++) {
        struct batch_env *env = &group->workers[i]->env;
        if (atomic_load_explicit(&env->call_deadline_ms, memory_order_relaxed) != 0)
            log_rarely(READER_RELEASE_SLOW_MS / 2, LOG_WARN, "reader",
                       "group %s: handler %s in lane %u has held %s for %lld s", group->config->name,
                       atomic_load_explicit(&env->call_handler, memory_order_relaxed), env->lane_number, what,
                       (long long)waited_ms / 1000);
    }
}

/* Every lane releases these streams; one in a batch does so at its end, which the batch's deadline bounds. */
static bool lanes_release(struct group_run *group, const uint32_t *streams, size_t count, int64_t until_ms)
{
    size_t left = group->worker_count;
    struct release_request request = {
        .streams = streams, .count = count, .lock = &group->lock, .done = &group->released, .left = &left};
    for (size_t i = 0; i < group->worker_count; i++)
        mailbox_release(&group->workers[i]->mailbox, &request);
    for (size_t i = 0; group->engine->parts.stepped && i < group->worker_count; i++)
        (void)worker_step(group->workers[i]);
    bool interrupted = false, rebalance = until_ms == NEVER_MS;
    int64_t began_ms = clock_monotonic_ms(), slow_ms = began_ms + READER_RELEASE_SLOW_MS;
    pthread_mutex_lock(&group->lock);
    while (left > 0) {
        bool ended = until_ms <= slow_ms;
        if (cond_timedwait_ms(&group->released, &group->lock, ended ? until_ms : slow_ms) != ETIMEDOUT)
            continue;
        if (!ended) {
            log_slow_release(group, rebalance ? "a rebalance of the whole group" : "the stop",
                             clock_monotonic_ms() - began_ms);
            slow_ms += READER_RELEASE_SLOW_MS;
            continue;
        }
        if (interrupted)
            break;
        interrupted = true;
        log_warn("reader", "group %s: batches that still run are interrupted; their events come again",
                 group->config->name);
        until_ms = clock_monotonic_ms() + ENGINE_INTERRUPTED_MS;
        for (size_t i = 0; i < group->worker_count; i++)
            worker_interrupt(group->workers[i]);
        bus_abort_publishes(group->engine->bus);
    }
    pthread_mutex_unlock(&group->lock);
    return left == 0;
}

static bool reader_release(struct group_run *group, const struct bus_event *event, bool lost, int64_t until_ms)
{
    (void)FAILPOINT("reader.revoke");
    if (!lanes_release(group, event->streams, event->stream_count, until_ms))
        return false;
    if (!lost)
        reader_commit(group);
    pthread_mutex_lock(&group->lock);
    for (size_t i = 0; i < event->stream_count; i++) {
        uint32_t stream = event->streams[i];
        if (stream < group->tracker_count) {
            tracker_destroy(group->trackers[stream]);
            group->trackers[stream] = NULL;
        }
    }
    pthread_mutex_unlock(&group->lock);
    group_changed(group);
    return true;
}

static void reader_event(struct group_run *group, const struct bus_event *event)
{
    struct error error = {0};
    switch (event->kind) {
    case BUS_RECORDS:
        while (reader_dispatch(group, event) == -ENOMEM)
            if (!life_sleep(&group->engine->life, 100))
                return;
        break;
    case BUS_CONSUMED:
        pthread_mutex_lock(&group->lock);
        for (size_t i = 0; i < event->stream_count; i++) {
            struct tracker *tracker = reader_tracker(group, event->streams[i], event->epochs[i]);
            if (tracker != NULL)
                tracker_consume(tracker, event->positions[i]);
        }
        pthread_mutex_unlock(&group->lock);
        break;
    case BUS_ASSIGNED:
        takeover_run(group);
        pthread_mutex_lock(&group->lock);
        for (size_t i = 0; i < event->stream_count; i++)
            reader_assign(group, event->streams[i], event->epochs[i]);
        pthread_mutex_unlock(&group->lock);
        atomic_store(&group->member, bus_member(group->engine->bus, group->consumer));
        group_changed(group);
        series_set(group->metric_partitions, (int64_t)assigned_streams(group));
        log_info("reader", "group %s: %zu partitions assigned, %zu in all", group->config->name, event->stream_count,
                 assigned_streams(group));
        break;
    case BUS_REVOKED:
    case BUS_LOST:
        (void)reader_release(group, event, event->kind == BUS_LOST, NEVER_MS); /* the batches' deadlines bound it */
        if (event->kind == BUS_REVOKED && bus_revoked(group->engine->bus, group->consumer, &error) != 0)
            log_error("reader", &error);
        atomic_store(&group->member, bus_member(group->engine->bus, group->consumer));
        series_set(group->metric_partitions, (int64_t)assigned_streams(group));
        log_info("reader", "group %s: %zu partitions %s, %zu left", group->config->name, event->stream_count,
                 event->kind == BUS_LOST ? "lost" : "handed over", assigned_streams(group));
        break;
    case BUS_FAULT:
        log_error("reader", &event->error);
        break;
    }
}

/* Waits up to wait_ms for what the bus has, and takes it. 0, -EAGAIN: nothing came, or the group cannot go on. */
static int reader_pass(struct group_run *group, int wait_ms)
{
    struct engine *engine = group->engine;
    struct bus_event event = {0};
    struct error error = {0};
    int code = bus_poll(engine->bus, group->consumer, wait_ms, &event, &error);
    if (code == 0) {
        reader_event(group, &event);
    } else if (code != -EAGAIN) {
        error_prefix(&error, "group %s cannot go on", group->config->name);
        life_set_fault(&engine->life, &error);
    }
    return code;
}

static void *reader_main(void *context)
{
    struct group_run *group = context;
    int64_t next_commit = clock_monotonic_ms() + READER_COMMIT_MS;
    int code = 0;

    while (!atomic_load(&group->stop) && (code == 0 || code == -EAGAIN)) {
        reader_pace(group);
        halted_look(group);
        int64_t now = clock_monotonic_ms();
        if (now >= next_commit) {
            reader_commit(group);
            next_commit = now + READER_COMMIT_MS;
        }
        /* While events are in flight a commit is soon due; an idle group sleeps. */
        int wait = atomic_load(&group->in_flight) > 0 || next_commit - now < READER_COMMIT_MS ? (int)(next_commit - now)
                                                                                              : READER_POLL_MS;
        code = reader_pass(group, wait > 0 ? wait : 1);
    }
    return NULL;
}

bool reader_step(struct group_run *group)
{
    if (group->consumer == NULL)
        return false;
    reader_pace(group);
    if (reader_pass(group, 0) == 0)
        return true;
    reader_commit(group);
    return false;
}

bool reader_has_topics(const struct group_run *group)
{
    return group->config->topic_count > 0 || (group->others != NULL && group->others[0] != NULL);
}

/* Those of the file, and those that left it. */
static const char **reader_topics(const struct group_run *group, size_t *ret_count)
{
    const char **others = group->others;
    size_t count = group->config->topic_count, other_count = 0;
    while (others != NULL && others[other_count] != NULL)
        other_count++;
    const char **topics = calloc(count + other_count + 1, sizeof *topics);
    for (size_t i = 0; topics != NULL && i < count + other_count; i++)
        topics[i] = i < count ? group->config->topics[i] : others[i - count];
    *ret_count = count + other_count;
    return topics;
}

/* `topics` of it are NULL when there is no memory; else they are the caller's to free. */
static struct bus_subscription reader_subscription(const struct group_run *group)
{
    struct bus_subscription subscription = {.group = group->config->name,
                                            .others = group->elsewhere,
                                            .poll_records = (uint32_t)in_flight_max(group) / 2,
                                            .poll_bytes = group_bytes_max(group->config) / 4,
                                            .recorded = group_is_recorded(group->engine, group->config)};
    subscription.topics = reader_topics(group, &subscription.topic_count);
    return subscription;
}

void reader_prepare(struct group_run *group)
{
    struct bus_subscription subscription = reader_subscription(group);
    if (subscription.topics != NULL && subscription.topic_count > 0) {
        bus_prepare(group->engine->bus, &subscription);
        if (subscription.recorded && takeover_prepare(group))
            takeover_warm(group);
    }
    free((void *)subscription.topics);
}

int reader_start(struct group_run *group, struct error *error)
{
    struct engine *engine = group->engine;
    struct bus_subscription subscription = reader_subscription(group);
    int code = subscription.topics == NULL || (subscription.recorded && !takeover_prepare(group))
                   ? error_set(error, ENOMEM, "out of memory")
                   : bus_subscribe(engine->bus, &subscription, &group->consumer, error);
    free((void *)subscription.topics);
    if (code != 0)
        return code;
    atomic_store(&group->member, bus_member(engine->bus, group->consumer));
    if (engine->parts.stepped)
        return 0;
    code = pthread_create(&group->reader, NULL, reader_main, group);
    if (code != 0)
        return error_set(error, code, "no thread for the reader of group %s: %s", group->config->name, strerror(code));
    group->reader_started = true;
    return 0;
}

/* The reader stops first; then lanes finish what is running, everything complete is committed, and the group is
 * left. */
bool reader_stop(struct group_run *group, int64_t until_ms)
{
    if (group->consumer == NULL)
        return true;
    atomic_store(&group->stop, true);
    bus_wake(group->engine->bus, group->consumer);
    if (group->reader_started)
        pthread_join(group->reader, NULL);
    group->reader_started = false;
    uint32_t *mine = calloc(group->tracker_count + 1, sizeof *mine);
    struct bus_event all = {.streams = mine};
    for (uint32_t i = 0; mine != NULL && i < group->tracker_count; i++)
        if (group->trackers[i] != NULL)
            mine[all.stream_count++] = i;
    bool all_back = reader_release(group, &all, false, until_ms);
    free(mine);
    if (!all_back)
        return false;
    log_debug("reader", "group %s: lanes have finished, positions are committed", group->config->name);
    bus_unsubscribe(group->engine->bus, group->consumer);
    group->consumer = NULL;
    log_debug("reader", "group %s: left", group->config->name);
    return true;
}
