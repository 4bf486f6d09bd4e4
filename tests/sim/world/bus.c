/*
 * bus.c - struct bus as batches see it: acknowledgements that fail to come, and an outage. Per seed it is a table of
 * the database, whose outputs are part of the transaction, as on the postgres bus.
 */
#include "sim.h"

#include "event/record_batch.h"

#include <errno.h>
#include <stdio.h>

static struct world *bus_world(const struct bus *bus)
{
    return (struct world *)((char *)bus - offsetof(struct world, bus));
}

bool bus_take(struct world *world, const uint32_t *events, size_t count)
{
    if (world->bus_down_ms > world->now_ms)
        return false;
    size_t most = sim_odds(world, world->settings.reply_lost) ? sim_below(world, (uint32_t)count + 1) : SIZE_MAX;
    for (size_t i = 0; i < count && i < most; i++)
        stream_append(world, events[i]);
    return most == SIZE_MAX;
}

static int publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                   struct error *error)
{
    struct world *world = bus_world(bus);
    uint32_t *events = arena_array(world->running->connection.scratch, uint32_t, count);
    (void)deadline_ms;
    (void)ret_failed;
    if (world->settings.transactional)
        sim_fail(world, "outputs that are part of the transaction are published");
    for (size_t i = 0; i < count; i++)
        events[i] = event_of_record(world, &records[i]);
    if (world->plant == PLANT_EMIT_NOT_AWAITED)
        return 0;
    lane_pause(world);
    bool taken = bus_take(world, events, count);
    world->progress += taken;
    lane_pause(world);
    return taken ? 0 : error_set(error, ETIMEDOUT, "the bus does not answer");
}

static enum store_result append(struct bus *bus, struct connection *connection, const struct record *records,
                                size_t count, struct error *error)
{
    struct world *world = bus_world(bus);
    struct buffer packed;
    (void)error;
    if (connection->failed != STORE_OK)
        return (int)connection->failed;
    buffer_init(&packed, SIZE_MAX / 2);
    record_batch_begin(&packed);
    for (size_t i = 0; i < count; i++)
        record_batch_append(&packed, 0, &records[i]);
    connection_change(connection, CHANGE_APPEND, 0, 0)->bytes = arena_span(world->bytes, buffer_view(&packed));
    buffer_free(&packed);
    return STORE_OK;
}

static void published(struct bus *bus)
{
    (void)bus;
}

static void describe(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf, size_t size,
                     int32_t *ret_partition, int64_t *ret_offset)
{
    (void)consumer;
    snprintf(buf, size, "stream %u at %llu", stream, (unsigned long long)position.low);
    *ret_partition = (int32_t)stream;
    *ret_offset = (int64_t)position.low;
}

static void stream_name(struct bus_consumer *consumer, uint32_t stream, char *buf, size_t size)
{
    (void)consumer;
    snprintf(buf, size, "%u", stream);
}

void bus_open(struct world *world)
{
    static const struct bus_kind outside = {
        .name = "sim", .durable = true, .describe = describe, .stream_name = stream_name, .publish = publish};
    static const struct bus_kind inside = {.name = "sim",
                                           .durable = true,
                                           .transactional = true,
                                           .describe = describe,
                                           .stream_name = stream_name,
                                           .publish = publish,
                                           .append = append,
                                           .published = published};
    world->bus.kind = world->settings.transactional ? &inside : &outside;
}

void bus_chunk_release(struct bus_chunk *chunk, size_t records)
{
    (void)chunk;
    (void)records; /* no item of this world has one */
}
