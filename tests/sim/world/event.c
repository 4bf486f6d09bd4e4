/*
 * event.c - the events of the world: their bytes, and which event an id or a record is.
 *
 * Those from outside are written here; those that the engine emits are read here, once their transaction is committed.
 * An id stands for one event: the engine derives it from what the event comes from, so a second one of the same id is
 * something that was done twice.
 */
#include "sim.h"

#include "event/record_batch.h"
#include "flow/retry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct id_slot { /* open addressing; number 0: free, else the event's + 1 */
    struct event_id id;
    uint32_t number;
};

static size_t id_home(const struct world *world, struct event_id id)
{
    return (size_t)span_hash((struct span){(const char *)id.bytes, sizeof id.bytes}) & (world->id_size - 1);
}

static struct id_slot *id_slot(const struct world *world, struct event_id id)
{
    for (size_t at = id_home(world, id);; at = (at + 1) & (world->id_size - 1)) {
        struct id_slot *slot = &world->ids[at];
        if (slot->number == 0 || memcmp(&slot->id, &id, sizeof id) == 0)
            return slot;
    }
}

static void ids_grow(struct world *world)
{
    struct id_slot *smaller = world->ids;
    size_t size = world->id_size;
    world->id_size = size == 0 ? 1024 : size * 2;
    world->ids = calloc(world->id_size, sizeof *world->ids);
    if (world->ids == NULL)
        abort();
    for (size_t i = 0; i < size; i++)
        if (smaller[i].number != 0)
            *id_slot(world, smaller[i].id) = smaller[i];
    free(smaller);
}

void event_alias(struct world *world, struct event_id id, uint32_t number)
{
    if (world->id_count * 2 >= world->id_size)
        ids_grow(world);
    struct id_slot *slot = id_slot(world, id);
    world->id_count += slot->number == 0;
    *slot = (struct id_slot){id, number + 1};
}

uint32_t event_find(const struct world *world, struct event_id id)
{
    return world->id_size == 0 ? SIM_NONE : id_slot(world, id)->number - 1;
}

uint32_t event_known(const struct world *world, struct event_id id, const char *what)
{
    uint32_t number = event_find(world, id);
    char text[37];
    event_id_format(&id, text);
    if (number == SIM_NONE)
        sim_fail(world, "an event %s is %s, and nobody has made it", text, what);
    return number;
}

/* ------------------------------------------------------------------------------------------------------------- fate */

/* What will happen to an event. Undos and what they report come to a good end: someone sees to it that they do. */
void event_fate(struct world *world, struct event_state *event)
{
    static const uint8_t any[] = {FATE_TRANSIENT, FATE_FLAKY, FATE_AWAY, FATE_POISON, FATE_DATA, FATE_LADDER};
    uint64_t dice = sim_random(world);
    event->fate = FATE_GOOD;
    if (world->pipeline.topics[event->topic].binding == NULL || dice % 100 >= world->settings.trouble)
        return;
    dice /= 100;
    bool undo = event->kind == KIND_UNDO || event->kind == KIND_UNDONE;
    if (undo)
        event->fate = dice % 3 == 0                                 ? FATE_TRANSIENT
                      : dice % 3 == 1 || event->kind == KIND_UNDONE ? FATE_AWAY
                                                                    : FATE_STUCK;
    else
        event->fate = any[dice % 6];
    if (event->fate == FATE_LADDER && event->kind != KIND_WORK)
        event->fate = FATE_GOOD;
    bool ends_well = undo || event->fate == FATE_FLAKY;
    uint32_t most = event->fate == FATE_LADDER ? (uint32_t)world->settings.ladder.max_retries + 2
                    : ends_well                ? (uint32_t)world->settings.retry.max_retries
                                               : (uint32_t)world->settings.retry.max_retries + 2;
    event->fate_count = (uint8_t)(1 + (dice >> 16) % most);
}

static uint32_t event_new(struct world *world, struct event_state event)
{
    world->events = sim_grow(world->events, &world->event_size, world->event_count, sizeof *world->events);
    event.first_index = event.outbox = event.dead = event.undo = SIM_NONE;
    world->events[world->event_count] = event;
    return (uint32_t)world->event_count++;
}

/* ----------------------------------------------------------------------------------------------------- from outside */

/* Half of the ids are UUIDs, which are their own bytes; the others are hashed. A chain's correlation is a UUID that
 * ends in its number. */
uint32_t event_input(struct world *world, struct event_state event)
{
    event_fate(world, &event);
    uint32_t number = event_new(world, event);
    struct event_state *state = &world->events[number];
    struct record *record = arena_new(world->bytes, struct record);
    char id[40], value[320], key[16];
    if (number % 2 == 0)
        snprintf(id, sizeof id, "018b0000-0000-7000-8000-%012" PRIx32, number);
    else
        snprintf(id, sizeof id, "event-%" PRIu32, number);
    int key_length = snprintf(key, sizeof key, "k%" PRIu32, event.key);
    int length = snprintf(value, sizeof value, "{\"eventId\":\"%s\",\"data\":{\"key\":\"%s\"", id, key);
    if (event.chain != SIM_NONE)
        length += snprintf(value + length, sizeof value - (size_t)length,
                           ",\"chain\":\"c4a10000-0000-4000-8000-%012" PRIx32 "\",\"step\":%u,\"doing\":\"%u\"",
                           event.chain, event.step, number);
    length += snprintf(value + length, sizeof value - (size_t)length, "}}");
    *record = (struct record){.topic = span_of(world->pipeline.topics[event.topic].name),
                              .key = arena_span(world->bytes, (struct span){key, (size_t)key_length}),
                              .value = arena_span(world->bytes, (struct span){value, (size_t)length}),
                              .timestamp_ms = SIM_WALL_MS + world->now_ms};
    state->record = record;
    state->id = event_id_of(span_of(id));
    event_alias(world, state->id, number);
    return number;
}

/* --------------------------------------------------------------------------------------------------------- emitted */

static uint8_t record_topic(const struct world *world, const struct record *record)
{
    const char *name = record->topic.at;
    size_t index = record->topic.length < 3 ? SIZE_MAX : (size_t)(name[0] - '0') * 10 + (size_t)(name[1] - '0');
    if (index >= world->pipeline.config.topic_count || !span_is(record->topic, world->pipeline.topics[index].name))
        sim_fail(world, "there is no topic %.*s", (int)record->topic.length, name);
    return (uint8_t)index;
}

/* The text of a field whose name is written `"name":"`, {NULL, 0} when there is none. */
static struct span record_text(const struct record *record, struct span name)
{
    const char *at = memmem(record->value.at, record->value.length, name.at, name.length);
    if (at == NULL)
        return (struct span){NULL, 0};
    at += name.length;
    const char *end = memchr(at, '"', (size_t)(record->value.at + record->value.length - at));
    return (struct span){at, end == NULL ? 0 : (size_t)(end - at)};
}

static struct event_id record_id(const struct record *record)
{
    return event_id_of(record_text(record, SPAN("\"eventId\":\"")));
}

/* Dead letters carry the id of what they are about, which is theirs alone in no other way. */
uint32_t event_of_record(const struct world *world, const struct record *record)
{
    uint32_t number = event_known(world, record_id(record), "published");
    if (world->pipeline.states[record_topic(world, record)].kind == KIND_DEAD)
        number = world->events[number].dead;
    if (number == SIM_NONE)
        sim_fail(world, "a dead letter is published that nobody has made");
    return number;
}

static void emitted_dead(struct world *world, struct event_state *event)
{
    event->parent = event_known(world, record_id(event->record), "dead");
    if (!span_equal(event->record->value, world->events[event->parent].record->value))
        sim_fail(world, "the dead letter of event %u is not its value", event->parent);
    event->key = world->events[event->parent].key;
    uint32_t number = event_new(world, *event);
    world->events[event->parent].dead = number;
    world->events[event->parent].dead_letters++;
}

static void emitted_retry(struct world *world, struct event_state *event)
{
    const struct event_state *parent = &world->events[event->parent];
    struct span not_before = record_header(event->record, HEADER_NOT_BEFORE);
    int64_t at_ms = 0;
    if (json_int64(not_before, &at_ms) != 0 ||
        at_ms != event->record->timestamp_ms + ladder_delay_ms(&world->settings.ladder, parent->climbed))
        sim_fail(world, "a step of the ladder of event %u has another time than it says", event->parent);
    event->not_before_ms = at_ms - SIM_WALL_MS;
    event->climbed = parent->climbed + 1;
    event->fate = parent->fate; /* the same event, a step higher */
    event->fate_count = parent->fate_count;
}

static void emitted_of_chain(struct world *world, struct event_state *event)
{
    struct span text = record_text(event->record, SPAN("\"chain\":\""));
    if (text.length != 36)
        sim_fail(world, "an event of topic %s has no correlation", world->pipeline.topics[event->topic].name);
    event->chain = (uint32_t)strtoul(text.at + 24, NULL, 16);
    event->step = (uint8_t)world->pipeline.states[event->topic].step;
    if (event->chain >= world->chain_count ||
        world->chains[event->chain].config != world->pipeline.states[event->topic].chain)
        sim_fail(world, "an event of chain %u is on a topic of another one", event->chain);
    char step[16];
    int length = snprintf(step, sizeof step, "\"step\":%u", event->step);
    if (memmem(event->record->value.at, event->record->value.length, step, (size_t)length) == NULL)
        sim_fail(world, "the undo of step %u of chain %u has the data of another step", event->step, event->chain);
}

static void emitted_undo(struct world *world, uint32_t number)
{
    const struct event_state *event = &world->events[number];
    struct span text = record_text(event->record, SPAN("\"doing\":\""));
    uint32_t done = text.length == 0 ? SIM_NONE : (uint32_t)strtoul(text.at, NULL, 10);
    if (done >= number || world->events[done].kind != KIND_DONE || world->events[done].chain != event->chain ||
        world->events[done].step != event->step)
        sim_fail(world, "event %u undoes what was not done: event %u", number, done);
    if (world->events[done].undo != SIM_NONE)
        sim_fail(world, "event %u, step %u of chain %u, is undone twice: by events %u and %u", done, event->step,
                 event->chain, world->events[done].undo, number);
    world->events[done].undo = number;
    world->count.undos++;
}

static void event_emitted(struct world *world, const struct record *record)
{
    struct event_state event = {.record = record, .chain = SIM_NONE, .parent = SIM_NONE};
    event.topic = record_topic(world, record);
    event.kind = (uint8_t)world->pipeline.states[event.topic].kind;
    if (event.kind == KIND_DEAD) {
        emitted_dead(world, &event);
        world->events[event.parent].children++;
        return;
    }
    event.id = record_id(record);
    event.parent = event_known(world, event_id_of(record_header(record, HEADER_PARENT)), "a parent");
    event.key = world->events[event.parent].key;
    if (event.kind == KIND_UNDO || event.kind == KIND_UNDONE)
        emitted_of_chain(world, &event);
    if (event.kind == KIND_RETRY)
        emitted_retry(world, &event);
    else
        event_fate(world, &event);
    uint32_t earlier = event_find(world, event.id);
    if (earlier != SIM_NONE && event.kind != KIND_UNDO)
        sim_fail(world, "event %u is made twice by event %u", earlier, event.parent);
    if (earlier == SIM_NONE && !span_equal(record->key, world->events[event.parent].record->key))
        sim_fail(world, "an event that event %u makes has another key", event.parent);
    uint32_t number = event_new(world, event);
    event_alias(world, event.id, number);
    world->events[event.parent].children++;
    if (event.kind == KIND_UNDO)
        emitted_undo(world, number);
}

uint32_t events_emitted(struct world *world, struct span bytes, size_t *ret_count)
{
    struct record *records;
    uint32_t first = (uint32_t)world->event_count;
    if (record_batch_read(bytes, world->bytes, &records, ret_count, NULL) != 0)
        sim_fail(world, "outputs cannot be read back from the bytes that were committed");
    for (size_t i = 0; i < *ret_count; i++)
        event_emitted(world, &records[i]);
    return first;
}
