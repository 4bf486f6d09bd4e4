/*
 * consumer.c - one member of a group of the memory bus: what it reads, and what it commits. See memory.h.
 */
#include "bus/memory/memory.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>

static void consumer_free(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    for (size_t i = 0; consumer->topics != NULL && i < consumer->topic_count; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    free(consumer->records);
    free(consumer->streams);
    free(consumer->epochs);
    pthread_cond_destroy(&consumer->wake_up);
    free(consumer);
}

static struct bus_consumer *consumer_create(struct memory_bus *bus, const struct bus_subscription *subscription)
{
    struct bus_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return NULL;
    cond_init_monotonic(&consumer->wake_up);
    consumer->bus = bus;
    consumer->poll_records = subscription->poll_records != 0 ? subscription->poll_records : 500;
    consumer->poll_bytes = subscription->poll_bytes != 0 ? subscription->poll_bytes : 1024 * 1024;
    consumer->records = calloc(consumer->poll_records, sizeof *consumer->records);
    consumer->streams = calloc(bus->partition_count, sizeof *consumer->streams);
    consumer->epochs = calloc(bus->partition_count, sizeof *consumer->epochs);
    consumer->topics = calloc(subscription->topic_count + 1, sizeof *consumer->topics);
    consumer->topic_count = subscription->topic_count;
    bool enough = consumer->records != NULL && consumer->streams != NULL && consumer->epochs != NULL &&
                  consumer->topics != NULL;
    for (size_t i = 0; enough && i < subscription->topic_count; i++)
        enough = (consumer->topics[i] = strdup(subscription->topics[i])) != NULL;
    if (enough)
        return consumer;
    consumer_free(consumer);
    return NULL;
}

int memory_subscribe(struct bus *head, const struct bus_subscription *subscription, struct bus_consumer **ret,
                     struct error *error)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    struct bus_consumer *consumer = consumer_create(bus, subscription);
    if (consumer == NULL)
        return error_set(error, ENOMEM, "out of memory while subscribing group \"%s\"", subscription->group);
    pthread_mutex_lock(&bus->lock);
    struct memory_group *group = memory_group_get(bus, subscription->group);
    if (group != NULL)
        memory_group_join(bus, group, consumer);
    pthread_mutex_unlock(&bus->lock);
    if (group == NULL) {
        consumer_free(consumer);
        return error_set(error, ENOMEM, "out of memory while subscribing group \"%s\"", subscription->group);
    }
    *ret = consumer;
    return 0;
}

void memory_unsubscribe(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    struct memory_bus *bus = consumer->bus;
    pthread_mutex_lock(&bus->lock);
    memory_group_leave(bus, consumer);
    pthread_mutex_unlock(&bus->lock);
    consumer_free(consumer);
}

/* Moves the consumer's leases from one state to the next and lists them in *ret. False when there are none. */
static bool consumer_collect(struct bus_consumer *consumer, enum lease_state from, enum lease_state to,
                             enum bus_event_kind kind, struct bus_event *ret)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        struct memory_lease *lease = &consumer->group->leases[p];
        if (lease->owner != consumer || lease->state != from)
            continue;
        lease->state = to;
        consumer->streams[count] = p;
        consumer->epochs[count++] = lease->epoch;
    }
    if (count == 0)
        return false;
    *ret = (struct bus_event){
        .kind = kind, .streams = consumer->streams, .epochs = consumer->epochs, .stream_count = count};
    return true;
}

/* Adds records of one partition to consumer->records; returns how many bytes. */
static size_t consumer_take(struct bus_consumer *consumer, uint32_t p, size_t bytes_left, size_t *count)
{
    struct memory_lease *lease = &consumer->group->leases[p];
    const struct memory_log *log = &consumer->bus->partitions[p];
    size_t bytes = 0;
    while (*count < consumer->poll_records && bytes < bytes_left) {
        struct segment *segment = memory_log_find(log, lease->cursor);
        if (segment == NULL)
            break;
        size_t before = *count;
        for (size_t i = lease->cursor - segment->offset; i < segment->count; i++) {
            if (*count == consumer->poll_records || bytes >= bytes_left)
                break;
            lease->cursor = segment->offset + i + 1;
            const struct record *record = &segment->records[i];
            if (!memory_matches(consumer->bus, (const char *const *)consumer->topics, consumer->topic_count,
                                record->topic))
                continue;
            struct position position = {segment->offset + i, 0};
            consumer->records[(*count)++] = (struct bus_record){
                .record = *record,
                .position = position,
                .stream = p,
                .epoch = lease->epoch,
                .key_hash = record_key_hash(record, position),
                .chunk = &segment->chunk,
            };
            bytes += record->value.length + record->key.length + sizeof(struct bus_record);
            lease->delivered = lease->cursor;
        }
        bus_chunk_hold(&segment->chunk, *count - before);
    }
    /* All that was delivered is complete: so is what was read past it, which is of other topics. */
    if (lease->delivered <= lease->completed && lease->completed < lease->cursor)
        lease->completed = lease->cursor;
    return bytes;
}

static bool consumer_fetch(struct bus_consumer *consumer, struct bus_event *ret)
{
    size_t count = 0, bytes = 0;
    uint32_t partitions = consumer->bus->partition_count;
    for (uint32_t i = 0; i < partitions && count < consumer->poll_records && bytes < consumer->poll_bytes; i++) {
        uint32_t p = (consumer->turn + i) % partitions;
        if (consumer->group->leases[p].owner == consumer && consumer->group->leases[p].state == LEASE_ASSIGNED)
            bytes += consumer_take(consumer, p, consumer->poll_bytes - bytes, &count);
    }
    consumer->turn = (consumer->turn + 1) % partitions;
    if (count == 0)
        return false;
    *ret = (struct bus_event){.kind = BUS_RECORDS, .records = consumer->records, .record_count = count};
    return true;
}

int memory_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error)
{
    (void)error;
    struct memory_bus *bus = consumer->bus;
    int64_t until_ms = clock_monotonic_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    int result = -EAGAIN;
    bool fetches = FAILPOINT("bus.poll.before") != FAILPOINT_ERROR;
    pthread_mutex_lock(&bus->lock);
    for (bool expired = false;;) {
        if (consumer_collect(consumer, LEASE_REVOKE_PENDING, LEASE_REVOKING, BUS_REVOKED, ret) ||
            consumer_collect(consumer, LEASE_ASSIGN_PENDING, LEASE_ASSIGNED, BUS_ASSIGNED, ret) ||
            (fetches && !consumer->paused && consumer_fetch(consumer, ret))) {
            result = 0;
            break;
        }
        if (consumer->wake_requested || expired || timeout_ms <= 0)
            break;
        expired = cond_timedwait_ms(&consumer->wake_up, &bus->lock, until_ms) == ETIMEDOUT;
    }
    consumer->wake_requested = false;
    pthread_mutex_unlock(&bus->lock);
    if (result == 0 && ret->kind == BUS_ASSIGNED)
        (void)FAILPOINT("bus.assign");
    else if (result == 0 && ret->kind == BUS_REVOKED)
        (void)FAILPOINT("bus.revoke");
    return result;
}

void memory_wake(struct bus_consumer *consumer)
{
    pthread_mutex_lock(&consumer->bus->lock);
    consumer->wake_requested = true;
    pthread_cond_signal(&consumer->wake_up);
    pthread_mutex_unlock(&consumer->bus->lock);
}

void memory_pause(struct bus_consumer *consumer, bool paused)
{
    pthread_mutex_lock(&consumer->bus->lock);
    consumer->paused = paused;
    pthread_mutex_unlock(&consumer->bus->lock);
}

int memory_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                  const struct position *positions, struct error *error)
{
    struct memory_bus *bus = consumer->bus;
    if (FAILPOINT("bus.commit.before") == FAILPOINT_ERROR)
        return error_set(error, EIO, "committing failed on purpose (failpoint bus.commit.before)");
    pthread_mutex_lock(&bus->lock);
    for (size_t i = 0; i < count; i++) {
        if (streams[i] >= bus->partition_count)
            continue;
        struct memory_lease *lease = &consumer->group->leases[streams[i]];
        if (lease->owner != consumer || lease->epoch != epochs[i] || lease->state == LEASE_ASSIGN_PENDING)
            continue;
        if (positions[i].high + 1 > lease->completed)
            lease->completed = positions[i].high + 1;
        if (lease->delivered <= lease->completed && lease->completed < lease->cursor)
            lease->completed = lease->cursor;
    }
    pthread_cond_broadcast(&bus->completed);
    pthread_mutex_unlock(&bus->lock);
    (void)FAILPOINT("bus.commit.after");
    return 0;
}

int memory_revoked(struct bus_consumer *consumer, struct error *error)
{
    (void)error;
    pthread_mutex_lock(&consumer->bus->lock);
    memory_group_release(consumer->bus, consumer);
    pthread_mutex_unlock(&consumer->bus->lock);
    return 0;
}
