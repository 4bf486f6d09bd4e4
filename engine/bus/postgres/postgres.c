/*
 * postgres.c - opening and closing the postgres bus, and what it tells of itself. See postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "bus/open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct statement statement_leave_rest = {
    .text = "select sluice.bus_leave(m.consumer_group, m.id) from sluice.bus_member m where m.name = $1 and m.id <= $2"
            " and exists (select from sluice.bus_member s where s.name = $1 and s.id > $2)"};

static int64_t postgres_member(struct bus_consumer *consumer)
{
    return atomic_load(&consumer->member);
}

static void postgres_stream_name(struct bus_consumer *consumer, uint32_t stream, char *buf, size_t size)
{
    (void)consumer;
    snprintf(buf, size, "%u", stream);
}

static void postgres_describe(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf,
                              size_t size, int32_t *ret_partition, int64_t *ret_offset)
{
    (void)consumer;
    struct buffer text;
    buffer_init(&text, 128);
    buffer_format(&text, "partition %u at %llu/%llu:%llu", stream, (unsigned long long)position.high,
                  (unsigned long long)(position.low >> INDEX_BITS), (unsigned long long)(position.low & INDEX_LAST));
    if (size > 0) {
        size_t length = text.length < size - 1 ? text.length : size - 1;
        memcpy(buf, text.at, length);
        buf[length] = '\0';
    }
    buffer_free(&text);
    *ret_partition = (int32_t)stream;
    *ret_offset = (int64_t)position.low;
}

static void postgres_halted(struct bus_consumer *consumer,
                            void (*each)(const char *what, const char *place, const char *why, void *context),
                            void *context)
{
    char place[16];
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        if (consumer->streams[p].damaged_look_ms == 0 || consumer->streams[p].state != STREAM_ASSIGNED)
            continue;
        snprintf(place, sizeof place, "%u", p);
        each("partition", place, "a row of sluice.bus_log cannot be read", context);
    }
}

static void postgres_succeeded(struct bus *bus)
{
    atomic_store(&((struct postgres_bus *)bus)->succeeded, true);
}

/* A successor has joined its groups: those of which it has no part are left. Without one, another may come. */
static void leave_rest(struct postgres_bus *bus)
{
    struct span process = span_of(bus->process);
    int64_t member = atomic_load(&bus->handed_over);
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &process), STORE_VALUE(PARAM_INT8, &member)};
    struct rows *rows;
    if (member != 0)
        (void)connection_once(bus->maintenance, &statement_leave_rest, 2, params, STATEMENT_MS, &rows, NULL);
}

static void postgres_close(struct bus *head)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    leave_rest(bus);
    connection_destroy(bus->publisher);
    connection_destroy(bus->maintenance);
    pthread_mutex_destroy(&bus->consumers_lock);
    pthread_mutex_destroy(&bus->publish_lock);
    pthread_mutex_destroy(&bus->maintenance_lock);
    free(bus);
}

static const struct bus_kind postgres_kind = {
    .name = "postgres",
    .durable = true,
    .transactional = true,
    .close = postgres_close,
    .subscribe = postgres_subscribe,
    .poll = postgres_poll,
    .wake = postgres_wake,
    .pause = postgres_pause,
    .commit = postgres_commit,
    .revoked = postgres_revoked,
    .unsubscribe = postgres_unsubscribe,
    .succeeded = postgres_succeeded,
    .member = postgres_member,
    .halted = postgres_halted,
    .describe = postgres_describe,
    .stream_name = postgres_stream_name,
    .publish = postgres_publish,
    .append = postgres_append,
    .published = postgres_published,
    .scan = postgres_scan,
    .lag = postgres_lag,
    .standing = postgres_standing,
    .reading = postgres_reading,
    .begin = postgres_begin,
    .rename_group = postgres_rename_group,
    .maintain = postgres_maintain,
};

int bus_postgres_open(const struct bus_options *options, struct bus **ret, struct error *error)
{
    if (options->partitions == 0 || options->partitions > POSTGRES_PARTITIONS_MAX)
        return error_set(error, EINVAL, "the postgres bus has 1 to %d partitions, not %u", POSTGRES_PARTITIONS_MAX,
                         options->partitions);
    struct postgres_bus *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return error_set(error, ENOMEM, "out of memory while opening the postgres bus");
    bus->bus.kind = &postgres_kind;
    bus->store = options->store;
    store_mark_transactions(bus->store);
    bus->partition_count = options->partitions;
    bus->looked_at = options->looked_at;
    bus->retention_ms = options->retention_ms;
    pthread_mutex_init(&bus->consumers_lock, NULL);
    pthread_mutex_init(&bus->publish_lock, NULL);
    pthread_mutex_init(&bus->maintenance_lock, NULL);
    if (options->engine != NULL)
        snprintf(bus->process, sizeof bus->process, "%s", options->engine);
    else
        event_id_new(clock_wall_ms(), bus->process);
    bus->publisher = connection_create(options->store, "publisher");
    bus->maintenance = connection_create(options->store, "maintenance");
    int result = bus->publisher == NULL || bus->maintenance == NULL
                     ? error_set(error, ENOMEM, "out of memory while opening the postgres bus")
                     : postgres_verify(bus, error);
    if (result == -EAGAIN) {
        /* Not reachable yet: whoever needs the database first verifies again. */
        if (error != NULL)
            *error = (struct error){0};
    } else if (result < 0) {
        postgres_close(&bus->bus);
        return result;
    } else if (!options->looked_at) {
        postgres_maintain(&bus->bus); /* room for what is published, also where no engine runs */
    }
    *ret = &bus->bus;
    return 0;
}
