/*
 * memory_group.c - consumer groups of the memory bus: who reads which partition, and how far. See memory.h.
 *
 * Whenever members come, go or give back, memory_balance() compares what each holds with its share: what is too much is
 * recalled, what is free is given. A recalled partition stays with its owner until revoked().
 */
#include "bus/memory.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

void memory_wake_all(struct memory_bus *bus)
{
    for (struct memory_group *group = bus->groups; group != NULL; group = group->next)
        for (struct bus_consumer *member = group->members; member != NULL; member = member->next)
            pthread_cond_signal(&member->news);
    pthread_cond_broadcast(&bus->arrived);
}

static void memory_balance(struct memory_bus *bus, struct memory_group *group)
{
    uint32_t rank = 0;
    for (struct bus_consumer *member = group->members; member != NULL; member = member->next, rank++) {
        uint32_t share = share_of(bus->partition_count, group->member_count, rank), held = 0;
        for (uint32_t p = 0; p < bus->partition_count; p++)
            held += group->leases[p].owner == member && group->leases[p].state < LEASE_RECALLED;
        for (uint32_t p = bus->partition_count; p-- > 0 && held > share;) {
            struct memory_lease *lease = &group->leases[p];
            if (lease->owner != member || lease->state >= LEASE_RECALLED)
                continue;
            if (lease->state == LEASE_GIVEN) { /* it never heard of it */
                lease->owner = NULL;
                lease->state = LEASE_FREE;
            } else {
                lease->state = LEASE_RECALLED;
            }
            held--;
        }
    }
    rank = 0;
    for (struct bus_consumer *member = group->members; member != NULL; member = member->next, rank++) {
        uint32_t share = share_of(bus->partition_count, group->member_count, rank), held = 0;
        for (uint32_t p = 0; p < bus->partition_count; p++)
            held += group->leases[p].owner == member && group->leases[p].state < LEASE_RECALLED;
        for (uint32_t p = 0; p < bus->partition_count && held < share; p++) {
            struct memory_lease *lease = &group->leases[p];
            if (lease->state != LEASE_FREE)
                continue;
            lease->owner = member;
            lease->state = LEASE_GIVEN;
            lease->epoch++;
            lease->cursor = lease->queued = lease->done;
            held++;
        }
        pthread_cond_signal(&member->news);
    }
}

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
    pthread_cond_destroy(&consumer->news);
    free(consumer);
}

static struct bus_consumer *consumer_create(struct memory_bus *bus, const struct bus_subscription *subscription)
{
    struct bus_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&consumer->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
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

/* The group of this name, made when there is none; it starts at the beginning of the log. With the lock. */
static struct memory_group *memory_group_get(struct memory_bus *bus, const char *name)
{
    for (struct memory_group *group = bus->groups; group != NULL; group = group->next)
        if (strcmp(group->name, name) == 0)
            return group;
    struct memory_group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    group->name = strdup(name);
    group->leases = calloc(bus->partition_count, sizeof *group->leases);
    if (group->name == NULL || group->leases == NULL) {
        free(group->name);
        free(group->leases);
        free(group);
        return NULL;
    }
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct segment *oldest = memory_find(&bus->partitions[p], 0);
        group->leases[p].done = oldest != NULL ? oldest->offset : bus->partitions[p].next;
    }
    group->next = bus->groups;
    bus->groups = group;
    return group;
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
    if (group != NULL) {
        struct bus_consumer **last = &group->members;
        while (*last != NULL)
            last = &(*last)->next;
        *last = consumer;
        consumer->group = group;
        group->member_count++;
        memory_balance(bus, group);
    }
    pthread_mutex_unlock(&bus->lock);
    if (group == NULL) {
        consumer_free(consumer);
        return error_set(error, ENOMEM, "out of memory while subscribing group \"%s\"", subscription->group);
    }
    *ret = consumer;
    return 0;
}

/* Moves leases of ours from one state to the next and lists them. */
static bool memory_collect(struct bus_consumer *consumer, enum lease_state from, enum lease_state to,
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

/* Fills consumer->records from one partition; returns bytes taken. */
static size_t memory_take(struct bus_consumer *consumer, uint32_t p, size_t bytes_left, size_t *count)
{
    struct memory_lease *lease = &consumer->group->leases[p];
    const struct log_partition *partition = &consumer->bus->partitions[p];
    size_t bytes = 0;
    while (*count < consumer->poll_records && bytes < bytes_left) {
        struct segment *segment = memory_find(partition, lease->cursor);
        if (segment == NULL)
            break;
        size_t before = *count;
        for (size_t i = lease->cursor - segment->offset; i < segment->count; i++) {
            if (*count == consumer->poll_records || bytes >= bytes_left)
                break;
            lease->cursor = segment->offset + i + 1;
            const struct record *record = &segment->records[i];
            if (!topics_match((const char *const *)consumer->topics, consumer->topic_count, record->topic))
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
            lease->queued = lease->cursor;
        }
        bus_chunk_hold(&segment->chunk, *count - before);
    }
    if (lease->queued <= lease->done &&
        lease->done < lease->cursor) /* nothing of ours is out: what follows was for others */
        lease->done = lease->cursor;
    return bytes;
}

static bool memory_fetch(struct bus_consumer *consumer, struct bus_event *ret)
{
    size_t count = 0, bytes = 0;
    uint32_t partitions = consumer->bus->partition_count;
    if (FAILPOINT("bus.poll.before") == FAILPOINT_ERROR)
        return false;
    for (uint32_t i = 0; i < partitions && count < consumer->poll_records && bytes < consumer->poll_bytes; i++) {
        uint32_t p = (consumer->turn + i) % partitions;
        if (consumer->group->leases[p].owner == consumer && consumer->group->leases[p].state == LEASE_HELD)
            bytes += memory_take(consumer, p, consumer->poll_bytes - bytes, &count);
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
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int result = -EAGAIN;
    pthread_mutex_lock(&bus->lock);
    for (bool late = false;;) {
        if (memory_collect(consumer, LEASE_RECALLED, LEASE_RETURNING, BUS_REVOKED, ret) ||
            memory_collect(consumer, LEASE_GIVEN, LEASE_HELD, BUS_ASSIGNED, ret) ||
            (!consumer->paused && memory_fetch(consumer, ret))) {
            result = 0;
            break;
        }
        if (consumer->woken || late || timeout_ms <= 0)
            break;
        late = pthread_cond_timedwait(&consumer->news, &bus->lock, &until) == ETIMEDOUT;
    }
    consumer->woken = false;
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
    consumer->woken = true;
    pthread_cond_signal(&consumer->news);
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
    bool any_epoch = FAILPOINT("bus.epoch.mutate") == FAILPOINT_MUTATE;
    pthread_mutex_lock(&bus->lock);
    for (size_t i = 0; i < count; i++) {
        if (streams[i] >= bus->partition_count)
            continue;
        struct memory_lease *lease = &consumer->group->leases[streams[i]];
        if (!any_epoch && (lease->owner != consumer || lease->epoch != epochs[i] || lease->state == LEASE_GIVEN))
            continue;
        if (positions[i].high + 1 > lease->done)
            lease->done = positions[i].high + 1;
        if (lease->done >= lease->queued && lease->done < lease->cursor)
            lease->done = lease->cursor;
    }
    pthread_cond_broadcast(&bus->room);
    pthread_mutex_unlock(&bus->lock);
    (void)FAILPOINT("bus.commit.after");
    return 0;
}

int memory_revoked(struct bus_consumer *consumer, struct error *error)
{
    (void)error;
    struct memory_bus *bus = consumer->bus;
    pthread_mutex_lock(&bus->lock);
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct memory_lease *lease = &consumer->group->leases[p];
        if (lease->owner == consumer && lease->state == LEASE_RETURNING) {
            lease->owner = NULL;
            lease->state = LEASE_FREE;
        }
    }
    memory_balance(bus, consumer->group);
    pthread_mutex_unlock(&bus->lock);
    return 0;
}

void memory_unsubscribe(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    struct memory_bus *bus = consumer->bus;
    struct memory_group *group = consumer->group;
    pthread_mutex_lock(&bus->lock);
    for (struct bus_consumer **at = &group->members; *at != NULL; at = &(*at)->next) {
        if (*at != consumer)
            continue;
        *at = consumer->next;
        break;
    }
    group->member_count--;
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct memory_lease *lease = &group->leases[p];
        if (lease->owner == consumer) {
            lease->owner = NULL;
            lease->state = LEASE_FREE;
        }
    }
    memory_balance(bus, group);
    pthread_mutex_unlock(&bus->lock);
    consumer_free(consumer);
}
