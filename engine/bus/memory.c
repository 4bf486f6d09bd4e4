/*
 * memory.c - the log of the memory bus: publishing, scanning, trimming. See memory.h; the groups are in memory_group.c.
 */
#include "bus/memory.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static struct memory_bus *memory_of(struct bus *bus)
{
    return (struct memory_bus *)bus;
}

static struct timespec memory_deadline(int64_t monotonic_ms)
{
    return (struct timespec){.tv_sec = monotonic_ms / 1000, .tv_nsec = monotonic_ms % 1000 * 1000000};
}

static void segment_destroy(struct bus_chunk *chunk)
{
    free(chunk);
}

/* One segment with copies of the `count` records picked by index. NULL when out of memory. */
static struct segment *segment_create(const struct record *records, const uint32_t *picked, size_t count)
{
    size_t headers = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &records[picked[i]];
        headers += record->header_count;
        bytes += record->topic.length + record->key.length + record->value.length + 1;
        for (size_t j = 0; j < record->header_count; j++)
            bytes += record->headers[j].name.length + record->headers[j].value.length;
    }
    size_t size = sizeof(struct segment) + count * sizeof(struct record) + headers * sizeof(struct header) + bytes;
    struct segment *segment = malloc(size);
    if (segment == NULL)
        return NULL;
    *segment = (struct segment){.chunk = {.destroy = segment_destroy}, .size = size, .count = count};
    atomic_init(&segment->chunk.references, 1); /* the log's */

    struct header *header = (struct header *)(void *)&segment->records[count];
    char *at = (char *)(header + headers);
    int64_t now = clock_wall_ms();
#define KEEP(to, from)                                                                                                 \
    do {                                                                                                               \
        (to).length = (from).length;                                                                                   \
        (to).at = (from).at == NULL ? NULL : memcpy(at, (from).at, (from).length);                                     \
        at += (from).length;                                                                                           \
    } while (0)
    for (size_t i = 0; i < count; i++) {
        const struct record *from = &records[picked[i]];
        struct record *to = &segment->records[i];
        KEEP(to->topic, from->topic);
        KEEP(to->key, from->key);
        KEEP(to->value, from->value);
        to->headers = header;
        to->header_count = from->header_count;
        to->timestamp_ms = from->timestamp_ms != 0 ? from->timestamp_ms : now;
        for (size_t j = 0; j < from->header_count; j++, header++) {
            KEEP(header->name, from->headers[j].name);
            KEEP(header->value, from->headers[j].value);
        }
    }
#undef KEEP
    return segment;
}

struct segment *memory_find(const struct log_partition *partition, uint64_t offset)
{
    size_t low = partition->first, high = partition->end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct segment *segment = partition->segments[middle];
        if (segment->offset + segment->count <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < partition->end ? partition->segments[low] : NULL;
}

static bool partition_append(struct log_partition *partition, struct segment *segment)
{
    if (partition->end == partition->size) {
        size_t live = partition->end - partition->first;
        if (live * 2 > partition->size || partition->size == 0) {
            size_t size = partition->size == 0 ? 64 : partition->size * 2;
            struct segment **segments = reallocarray(partition->segments, size, sizeof *segments);
            if (segments == NULL)
                return false;
            partition->segments = segments;
            partition->size = size;
        }
        if (live > 0)
            memmove(partition->segments, partition->segments + partition->first, live * sizeof *partition->segments);
        partition->first = 0;
        partition->end = live;
    }
    segment->offset = partition->next;
    partition->next += segment->count;
    partition->segments[partition->end++] = segment;
    return true;
}

void memory_trim(struct memory_bus *bus, int64_t before_ms)
{
    if (bus->groups == NULL)
        return;
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct log_partition *partition = &bus->partitions[p];
        uint64_t done = UINT64_MAX;
        for (struct memory_group *group = bus->groups; group != NULL; group = group->next)
            done = group->leases[p].done < done ? group->leases[p].done : done;
        while (partition->first < partition->end) {
            struct segment *segment = partition->segments[partition->first];
            if (segment->offset + segment->count > done || segment->published_ms > before_ms)
                break;
            partition->first++;
            bus->bytes -= segment->size;
            bus_chunk_release(&segment->chunk, 1);
        }
    }
}

/* Waits until there is room or the deadline is over. With the lock. */
static int memory_make_room(struct memory_bus *bus, int64_t deadline_ms, struct error *error)
{
    while (bus->bytes > bus->bytes_max) {
        memory_trim(bus, INT64_MAX);
        if (bus->bytes <= bus->bytes_max)
            break;
        struct timespec until = memory_deadline(deadline_ms);
        if (pthread_cond_timedwait(&bus->room, &bus->lock, &until) == ETIMEDOUT) {
            error_set(error, ENOBUFS,
                      "the memory bus holds %zu MiB of events that are not handled yet and takes no more",
                      bus->bytes / (1024 * 1024));
            error_hint(error, "slow the producers down, raise engine.lanes, or use the postgres bus");
            return -ENOBUFS;
        }
    }
    return 0;
}

static int memory_publish(struct bus *head, const struct record *records, size_t count, int64_t deadline_ms,
                          size_t *ret_failed, struct error *error)
{
    struct memory_bus *bus = memory_of(head);
    for (size_t i = 0; i < count; i++) {
        int result = record_check(&records[i], error);
        if (result < 0) {
            *ret_failed = i;
            return result;
        }
    }
    if (count == 0)
        return 0;
    if (FAILPOINT("bus.append.before") == FAILPOINT_ERROR)
        return error_set(error, EIO, "publishing failed on purpose (failpoint bus.append.before)");

    uint32_t *picked = malloc(count * 2 * sizeof *picked), *home = picked == NULL ? NULL : picked + count;
    struct segment **made = calloc(bus->partition_count, sizeof(struct segment *));
    bool enough = picked != NULL && made != NULL;
    for (size_t i = 0; enough && i < count; i++)
        home[i] = record_partition(&records[i], bus->partition_count);
    for (uint32_t p = 0; enough && p < bus->partition_count; p++) {
        size_t of_partition = 0;
        for (size_t i = 0; i < count; i++)
            if (home[i] == p)
                picked[of_partition++] = (uint32_t)i;
        if (of_partition > 0) {
            made[p] = segment_create(records, picked, of_partition);
            enough = made[p] != NULL;
        }
    }
    int result = enough ? 0 : error_set(error, ENOMEM, "out of memory while publishing %zu records", count);

    pthread_mutex_lock(&bus->lock);
    if (result == 0)
        result = memory_make_room(bus, deadline_ms, error);
    bus->sequence++;
    for (uint32_t p = 0; made != NULL && p < bus->partition_count; p++) {
        if (made[p] == NULL)
            continue;
        made[p]->sequence = bus->sequence;
        made[p]->published_ms = clock_monotonic_ms();
        size_t size = made[p]->size;
        if (result == 0 && !partition_append(&bus->partitions[p], made[p]))
            result = error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
        if (result != 0)
            free(made[p]);
        else
            bus->bytes += size;
    }
    memory_wake_all(bus);
    pthread_mutex_unlock(&bus->lock);
    free(made);
    free(picked);
    return result;
}

/* The segment to scan next: the oldest publish among what stands at the cursors; holds it for the caller. With the
 * lock. */
static struct segment *memory_scan_next(struct memory_bus *bus, uint64_t *cursors, uint32_t *ret_partition)
{
    struct segment *found = NULL;
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct segment *segment = memory_find(&bus->partitions[p], cursors[p]);
        if (segment != NULL && (found == NULL || segment->sequence < found->sequence)) {
            found = segment;
            *ret_partition = p;
        }
    }
    if (found != NULL) {
        cursors[*ret_partition] = found->offset + found->count;
        bus_chunk_hold(&found->chunk, 1);
    }
    return found;
}

static int memory_scan(struct bus *head, const char *const *topics, size_t topic_count, struct span contains,
                       bool follow, const volatile int *stop,
                       bool (*each)(const struct record *record, int32_t partition, struct position position,
                                    void *context),
                       void *context, struct error *error)
{
    struct memory_bus *bus = memory_of(head);
    uint64_t *cursors = calloc(bus->partition_count, sizeof *cursors);
    if (cursors == NULL)
        return error_set(error, ENOMEM, "out of memory while reading the log");
    for (bool more = true; more && !scan_stopped(stop);) {
        uint32_t partition = 0;
        pthread_mutex_lock(&bus->lock);
        struct segment *segment = memory_scan_next(bus, cursors, &partition);
        if (segment == NULL && follow) {
            struct timespec until = memory_deadline(clock_monotonic_ms() + 100);
            pthread_cond_timedwait(&bus->arrived, &bus->lock, &until);
        }
        pthread_mutex_unlock(&bus->lock);
        if (segment == NULL) {
            more = follow;
            continue;
        }
        for (size_t i = 0; more && i < segment->count; i++) {
            const struct record *record = &segment->records[i];
            bool wanted = topics_match(topics, topic_count, record->topic) &&
                          (contains.length == 0 ||
                           (record->value.length >= contains.length &&
                            memmem(record->value.at, record->value.length, contains.at, contains.length) != NULL));
            if (wanted)
                more = each(record, (int32_t)partition, (struct position){segment->offset + i, 0}, context);
        }
        bus_chunk_release(&segment->chunk, 1);
    }
    free(cursors);
    return 0;
}

static int64_t memory_lag(struct bus *head, const char *name)
{
    struct memory_bus *bus = memory_of(head);
    int64_t lag = -ENOENT;
    pthread_mutex_lock(&bus->lock);
    for (struct memory_group *group = bus->groups; group != NULL; group = group->next) {
        if (strcmp(group->name, name) != 0)
            continue;
        lag = 0;
        for (uint32_t p = 0; p < bus->partition_count; p++)
            lag += (int64_t)(bus->partitions[p].next - group->leases[p].done);
    }
    pthread_mutex_unlock(&bus->lock);
    return lag;
}

static void memory_maintain(struct bus *head)
{
    struct memory_bus *bus = memory_of(head);
    pthread_mutex_lock(&bus->lock);
    memory_trim(bus, clock_monotonic_ms() - bus->retention_ms);
    pthread_mutex_unlock(&bus->lock);
}

static void memory_published(struct bus *head)
{
    (void)head; /* publish() wakes by itself */
}

static int64_t memory_member(struct bus_consumer *consumer)
{
    (void)consumer;
    return 0;
}

static void memory_describe(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf,
                            size_t size, int32_t *ret_partition, int64_t *ret_offset)
{
    (void)consumer;
    struct buffer text;
    buffer_init(&text, 128);
    buffer_format(&text, "partition %u at %llu", stream, (unsigned long long)position.high);
    if (size > 0) {
        size_t length = text.length < size - 1 ? text.length : size - 1;
        memcpy(buf, text.at, length);
        buf[length] = '\0';
    }
    buffer_free(&text);
    *ret_partition = (int32_t)stream;
    *ret_offset = (int64_t)position.high;
}

static int memory_append(struct bus *bus, struct connection *connection, const struct record *records, size_t count,
                         struct error *error)
{
    (void)bus, (void)connection, (void)records, (void)count;
    return error_set(error, ENOTSUP, "the memory bus cannot publish inside a database transaction");
}

static void memory_close(struct bus *head)
{
    struct memory_bus *bus = memory_of(head);
    for (struct memory_group *group = bus->groups, *next; group != NULL; group = next) {
        next = group->next;
        free(group->leases);
        free(group->name);
        free(group);
    }
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct log_partition *partition = &bus->partitions[p];
        for (size_t i = partition->first; i < partition->end; i++)
            bus_chunk_release(&partition->segments[i]->chunk, 1);
        free(partition->segments);
    }
    free(bus->partitions);
    pthread_cond_destroy(&bus->room);
    pthread_cond_destroy(&bus->arrived);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

static const struct bus_kind memory_kind = {
    .name = "memory",
    .durable = false,
    .transactional = false,
    .close = memory_close,
    .subscribe = memory_subscribe,
    .poll = memory_poll,
    .wake = memory_wake,
    .pause = memory_pause,
    .commit = memory_commit,
    .revoked = memory_revoked,
    .unsubscribe = memory_unsubscribe,
    .member = memory_member,
    .describe = memory_describe,
    .publish = memory_publish,
    .append = memory_append,
    .published = memory_published,
    .scan = memory_scan,
    .lag = memory_lag,
    .maintain = memory_maintain,
};

int bus_memory_open(const struct bus_options *options, struct bus **ret, struct error *error)
{
    if (options->partitions == 0 || options->partitions > MEMORY_PARTITIONS_MAX)
        return error_set(error, EINVAL, "the memory bus has 1 to %d partitions, not %u", MEMORY_PARTITIONS_MAX,
                         options->partitions);
    struct memory_bus *bus = calloc(1, sizeof *bus);
    struct log_partition *partitions = calloc(options->partitions, sizeof *partitions);
    if (bus == NULL || partitions == NULL) {
        free(bus);
        free(partitions);
        return error_set(error, ENOMEM, "out of memory while opening the memory bus");
    }
    bus->bus.kind = &memory_kind;
    bus->partition_count = options->partitions;
    bus->partitions = partitions;
    bus->retention_ms = options->retention_ms;
    bus->bytes_max = MEMORY_BYTES_MAX;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->room, &monotonic);
    pthread_cond_init(&bus->arrived, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret = &bus->bus;
    return 0;
}
