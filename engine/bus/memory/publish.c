/*
 * publish.c - publishing to the memory bus, and making room for it. See memory.h.
 */
#include "bus/memory/memory.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/failpoint.h"

#include <errno.h>
#include <stdlib.h>

bool memory_matches(const struct memory_bus *bus, const char *const *topics, size_t count, struct span topic)
{
    if (bus->own == NULL || !span_is(topic, bus->own))
        return topics_match(topics, count, topic);
    for (size_t i = 0; i < count; i++)
        if (strcmp(topics[i], bus->own) == 0)
            return true;
    return false;
}

void memory_trim(struct memory_bus *bus, int64_t before_ms)
{
    if (bus->groups == NULL)
        return;
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        uint64_t completed = UINT64_MAX;
        for (struct memory_group *group = bus->groups; group != NULL; group = group->next)
            completed = group->leases[p].completed < completed ? group->leases[p].completed : completed;
        bus->bytes -= memory_log_trim(&bus->partitions[p], completed, before_ms);
    }
}

/* Waits until there is room or the deadline is over. With the lock. */
static int memory_make_room(struct memory_bus *bus, int64_t deadline_ms, struct error *error)
{
    while (bus->bytes > bus->bytes_max) {
        memory_trim(bus, INT64_MAX);
        if (bus->bytes <= bus->bytes_max)
            break;
        if (cond_timedwait_ms(&bus->completed, &bus->lock, deadline_ms) == ETIMEDOUT) {
            error_set(error, ENOBUFS,
                      "the memory bus holds %zu MiB of events that are not handled yet and takes no more",
                      bus->bytes / (1024 * 1024));
            error_hint(error, "slow the producers down, raise engine.lanes, or use the postgres bus");
            return -ENOBUFS;
        }
    }
    return 0;
}

/* A segment for each partition that some of the records belong to; the others stay NULL. False when out of memory. */
static bool segments_create(const struct memory_bus *bus, const struct record *records, size_t count,
                            struct segment **ret_segments)
{
    uint32_t *picked = malloc(count * 2 * sizeof *picked);
    bool enough = picked != NULL;
    uint32_t *partitions = enough ? picked + count : NULL;
    for (size_t i = 0; enough && i < count; i++)
        partitions[i] = record_partition(&records[i], bus->partition_count);
    for (uint32_t p = 0; enough && p < bus->partition_count; p++) {
        size_t of_partition = 0;
        for (size_t i = 0; i < count; i++)
            if (partitions[i] == p)
                picked[of_partition++] = (uint32_t)i;
        if (of_partition > 0) {
            ret_segments[p] = memory_segment_create(records, picked, of_partition);
            enough = ret_segments[p] != NULL;
        }
    }
    free(picked);
    return enough;
}

int memory_publish(struct bus *head, const struct record *records, size_t count, int64_t deadline_ms,
                   size_t *ret_failed, struct error *error)
{
    struct memory_bus *bus = (struct memory_bus *)head;
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

    struct segment **segments = calloc(bus->partition_count, sizeof(struct segment *));
    int result = 0;
    if (segments == NULL || !segments_create(bus, records, count, segments))
        result = error_set(error, ENOMEM, "out of memory while publishing %zu records", count);

    pthread_mutex_lock(&bus->lock);
    if (result == 0 && bus->left)
        result = error_set(error, EAGAIN, "the events in memory were handed over to the process that goes on");
    if (result == 0)
        result = memory_make_room(bus, deadline_ms, error);
    bus->sequence++;
    for (uint32_t p = 0; segments != NULL && p < bus->partition_count; p++) {
        if (segments[p] == NULL)
            continue;
        segments[p]->sequence = bus->sequence;
        segments[p]->published_ms = clock_monotonic_ms();
        size_t size = segments[p]->size;
        if (result == 0 && !memory_log_append(&bus->partitions[p], segments[p]))
            result = error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
        if (result != 0)
            free(segments[p]);
        else
            bus->bytes += size;
    }
    memory_groups_notify(bus);
    pthread_mutex_unlock(&bus->lock);
    free(segments);
    return result;
}

struct bus_writer { /* of the memory bus */
    struct memory_bus *bus;
    uint64_t number;
};

int memory_writer_open(struct bus *head, const char *name, int64_t deadline_ms, struct bus_writer **ret,
                       struct error *error)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    struct bus_writer *writer = calloc(1, sizeof *writer);
    (void)name, (void)deadline_ms;
    if (writer == NULL)
        return error_set(error, ENOMEM, "out of memory");
    pthread_mutex_lock(&bus->lock);
    *writer = (struct bus_writer){bus, ++bus->writers};
    pthread_mutex_unlock(&bus->lock);
    *ret = writer;
    return 0;
}

int memory_writer_publish(struct bus_writer *writer, const struct record *records, size_t count, int64_t deadline_ms,
                          size_t *ret_failed, struct error *error)
{
    pthread_mutex_lock(&writer->bus->lock);
    bool last = writer->number == writer->bus->writers;
    pthread_mutex_unlock(&writer->bus->lock);
    if (!last)
        return error_set(error, EBUSY, "another call writes now");
    return memory_publish(&writer->bus->bus, records, count, deadline_ms, ret_failed, error);
}

void memory_writer_close(struct bus_writer *writer)
{
    free(writer);
}
