/*
 * fake_bus.c - see fake_bus.h.
 */
#include "fake_bus.h"

#include "check.h"
#include "event/record_batch.h"
#include "fake_store.h"

static struct record record_copy(struct arena *arena, const struct record *record)
{
    struct record copy = *record;
    copy.topic = arena_span(arena, record->topic);
    copy.key = record->key.at == NULL ? record->key : arena_span(arena, record->key);
    copy.value = arena_span(arena, record->value);
    copy.headers = arena_alloc(arena, (record->header_count + 1) * sizeof *copy.headers);
    for (size_t i = 0; i < record->header_count; i++)
        copy.headers[i] = (struct header){arena_span(arena, record->headers[i].name),
                                          arena_span(arena, record->headers[i].value)};
    return copy;
}

/* A call with a record that is refused publishes nothing, as brokers may do. */
static int publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                   struct error *error)
{
    struct fake_bus *fake = (struct fake_bus *)bus;
    (void)deadline_ms;
    fake->publishes++;
    if (fake->on_publish != NULL)
        fake->on_publish(fake, fake->context);
    assert_true(count > 0 && fake->count + count <= FAKE_BUS_RECORDS_MAX);
    if (fake->down != 0) {
        fake->down -= fake->down > 0;
        return error_set(error, EAGAIN, "the fake bus is down");
    }
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < fake->refusal_count; r++)
            if (span_is(records[i].topic, fake->refusals[r].topic)) {
                *ret_failed = i;
                return error_set(error, -fake->refusals[r].code, "%s is refused", fake->refusals[r].topic);
            }
    for (size_t i = 0; i < count; i++)
        fake->records[fake->count++] = record_copy(fake->arena, &records[i]);
    return 0;
}

static enum store_result append(struct bus *bus, struct connection *connection, const struct record *records,
                                size_t count, struct error *error)
{
    struct buffer packed;
    (void)bus;
    buffer_init(&packed, 64u << 20);
    record_batch_begin(&packed);
    for (size_t i = 0; i < count; i++)
        record_batch_append(&packed, 0, &records[i]);
    assert_false(packed.failed);
    enum store_result result = fake_store_log(connection, buffer_view(&packed), error);
    buffer_free(&packed);
    return result;
}

static void published(struct bus *bus)
{
    ((struct fake_bus *)bus)->woken++;
}

static void describe(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf, size_t size,
                     int32_t *ret_partition, int64_t *ret_offset)
{
    (void)consumer;
    *ret_partition = (int32_t)stream;
    *ret_offset = (int64_t)position.high;
    snprintf(buf, size, "partition %u at %llu", stream, (unsigned long long)position.high);
}

static void stream_name(struct bus_consumer *consumer, uint32_t stream, char *buf, size_t size)
{
    (void)consumer;
    snprintf(buf, size, "%u", stream);
}

void fake_bus_init(struct fake_bus *bus, bool transactional)
{
    *bus = (struct fake_bus){.kind = {.name = "fake",
                                      .durable = true,
                                      .transactional = transactional,
                                      .publish = transactional ? NULL : publish,
                                      .append = transactional ? append : NULL,
                                      .published = published,
                                      .describe = describe,
                                      .stream_name = stream_name},
                             .arena = arena_create(64 * 1024, 256u << 20)};
    bus->bus.kind = &bus->kind;
}

void fake_bus_free(struct fake_bus *bus)
{
    arena_destroy(bus->arena);
}

void fake_bus_refuse(struct fake_bus *bus, const char *topic, int code)
{
    assert_true(bus->refusal_count < FAKE_BUS_REFUSALS_MAX);
    bus->refusals[bus->refusal_count].topic = topic;
    bus->refusals[bus->refusal_count++].code = code;
}

const struct record *fake_bus_record(const struct fake_bus *bus, const char *topic, size_t n)
{
    for (size_t i = 0; i < bus->count; i++)
        if (span_is(bus->records[i].topic, topic) && n-- == 0)
            return &bus->records[i];
    return NULL;
}
