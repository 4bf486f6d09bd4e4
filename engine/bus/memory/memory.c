/*
 * memory.c - opening and closing the memory bus, and what it tells of itself. See memory.h.
 */
#include "bus/memory/memory.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/condition.h"
#include "bus/open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t memory_lag(struct bus *head, const char *name)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    int64_t lag = -ENOENT;
    pthread_mutex_lock(&bus->lock);
    for (struct memory_group *group = bus->groups; group != NULL; group = group->next) {
        if (strcmp(group->name, name) != 0)
            continue;
        lag = 0;
        for (uint32_t p = 0; p < bus->partition_count; p++)
            lag += (int64_t)(bus->partitions[p].next - group->leases[p].completed);
    }
    pthread_mutex_unlock(&bus->lock);
    return lag;
}

static void memory_maintain(struct bus *head)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    pthread_mutex_lock(&bus->lock);
    memory_trim(bus, clock_monotonic_ms() - bus->retention_ms);
    pthread_mutex_unlock(&bus->lock);
}

static int64_t memory_member(struct bus_consumer *consumer)
{
    (void)consumer;
    return 0;
}

static void memory_stream_name(struct bus_consumer *consumer, uint32_t stream, char *buf, size_t size)
{
    (void)consumer;
    snprintf(buf, size, "%u", stream);
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

static void memory_close(struct bus *head)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    memory_groups_free(bus);
    for (uint32_t p = 0; p < bus->partition_count; p++)
        memory_log_free(&bus->partitions[p]);
    free(bus->partitions);
    pthread_cond_destroy(&bus->completed);
    pthread_cond_destroy(&bus->appended);
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
    .leave = memory_leave,
    .find = memory_find,
    .member = memory_member,
    .describe = memory_describe,
    .stream_name = memory_stream_name,
    .publish = memory_publish,
    .writer_open = memory_writer_open,
    .writer_publish = memory_writer_publish,
    .writer_close = memory_writer_close,
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
    struct memory_log *partitions = calloc(options->partitions, sizeof *partitions);
    if (bus == NULL || partitions == NULL) {
        free(bus);
        free(partitions);
        return error_set(error, ENOMEM, "out of memory while opening the memory bus");
    }
    bus->bus.kind = &memory_kind;
    bus->partition_count = options->partitions;
    bus->partitions = partitions;
    bus->retention_ms = options->retention_ms;
    for (size_t i = 0; i < options->topic_count; i++)
        bus->own = options->topics[i].own ? options->topics[i].name : bus->own;
    bus->bytes_max = MEMORY_BYTES_MAX;
    pthread_mutex_init(&bus->lock, NULL);
    cond_init_monotonic(&bus->completed);
    cond_init_monotonic(&bus->appended);
    *ret = &bus->bus;
    return 0;
}
