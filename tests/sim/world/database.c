/*
 * database.c - what survives everything: the changes of committed transactions. Parked events and their operator, and
 * the outbox with its sweeper.
 */
#include "sim.h"

#include <stdlib.h>

bool database_up(const struct world *world)
{
    return world->store_down_ms <= world->now_ms;
}

/* ------------------------------------------------------------------------------------------------- parked events */

/* The heap carries event numbers as pointers, +1 because it knows no NULL. */
static void parked_due(struct world *world, uint32_t event, int64_t due_ms)
{
    world->events[event].parked_due_ms = due_ms;
    if (heap_push(world->parked, due_ms, (void *)((uintptr_t)event + 1)) != 0)
        sim_fail(world, "the simulation's own table of parked events is full");
}

void database_park(struct world *world, uint32_t event, enum parking parking, int64_t due_ms)
{
    struct event_state *state = &world->events[event];
    if (parking == PARKED_HELD && state->parking == PARKED_HELD)
        return; /* parking twice is once */
    world->parked_count += state->parking == NOT_PARKED;
    state->parking = (uint8_t)parking;
    state->was_parked = true;
    world->count.parked++;
    if (parking == PARKED) {
        parked_due(world, event, due_ms);
        return;
    }
    world->held = sim_grow(world->held, &world->held_size, world->held_count, sizeof *world->held);
    world->held[world->held_count++] = event;
}

void database_unpark(struct world *world, uint32_t event)
{
    if (world->events[event].parking == NOT_PARKED)
        return;
    world->events[event].parking = NOT_PARKED;
    world->parked_count--;
}

uint32_t database_parked_take(struct world *world)
{
    while (database_up(world) && heap_due(world->parked) <= world->now_ms) {
        int64_t due_ms = heap_due(world->parked);
        uint32_t event = (uint32_t)((uintptr_t)heap_pop(world->parked, world->now_ms) - 1);
        if (world->events[event].parking != PARKED || world->events[event].parked_due_ms != due_ms)
            continue; /* unparked, or taken and due later */
        parked_due(world, event, world->now_ms + world->settings.hold_ms);
        return event;
    }
    return SIM_NONE;
}

void database_operator(struct world *world)
{
    if (world->held_count == 0)
        return;
    size_t i = sim_below(world, (uint32_t)world->held_count);
    uint32_t event = world->held[i];
    struct event_state *state = &world->events[event];
    struct correlation *chain = &world->chains[state->chain];
    if (chain->locked_by != 0)
        return; /* somebody has the row; later */
    world->held[i] = world->held[--world->held_count];
    world->progress++;
    if (state->parking != PARKED_HELD)
        return;
    state->resumed++;
    if (chain->facts.state == CHAIN_STUCK)
        chain->facts.state = CHAIN_ABORTED;
    state->parking = PARKED;
    parked_due(world, event, world->now_ms);
}

/* ---------------------------------------------------------------------------------------------------------- outbox */

bool row_published(const struct world *world, const struct outbox_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (world->events[world->outbox_events[row->first + i]].first_index == SIM_NONE)
            return false;
    return true;
}

static void row_made(struct world *world, uint32_t number)
{
    size_t count;
    uint32_t first = events_emitted(world, world->outbox[number].bytes, &count);
    struct outbox_row *row = &world->outbox[number];
    row->live = true;
    row->pending = false;
    row->at_ms = world->now_ms;
    row->order = world->order;
    row->first = (uint32_t)world->outbox_event_count;
    row->count = (uint32_t)count;
    world->outbox_live++;
    for (size_t i = 0; i < count; i++) {
        world->outbox_events = sim_grow(world->outbox_events, &world->outbox_event_size, world->outbox_event_count,
                                        sizeof *world->outbox_events);
        world->outbox_events[world->outbox_event_count++] = first + (uint32_t)i;
    }
}

static void row_done(struct world *world, uint32_t number)
{
    if (!world->outbox[number].live)
        return;
    check_row_done(world, number);
    world->outbox[number].live = false;
    world->outbox_live--;
}

bool database_sweep(struct world *world, int64_t but_owner, int64_t age_ms)
{
    while (world->outbox_oldest < world->outbox_count && !world->outbox[world->outbox_oldest].live &&
           !world->outbox[world->outbox_oldest].pending)
        world->outbox_oldest++;
    for (size_t number = world->outbox_oldest; number < world->outbox_count; number++) {
        struct outbox_row *row = &world->outbox[number];
        if (!row->live || row->owner == but_owner || row->at_ms + age_ms > world->now_ms)
            continue;
        if (!database_up(world) || !bus_take(world, world->outbox_events + row->first, row->count))
            return false;
        world->progress++;
        if (sim_odds(world, world->settings.reply_lost))
            return false;
        row_done(world, (uint32_t)number);
    }
    return database_up(world);
}

/* ----------------------------------------------------------------------------------------------------------- commit */

static void attempt_counted(struct world *world, uint32_t number, int64_t tries)
{
    struct event_state *event = &world->events[number];
    if (event->attempts == 0) {
        world->attempted = sim_grow(world->attempted, &world->attempted_size, world->attempted_count,
                                    sizeof *world->attempted);
        world->attempted[world->attempted_count++] = number;
    }
    if (event->attempts < tries)
        event->attempts = (uint16_t)tries;
}

struct intmap *database_attempts(struct world *world)
{
    struct intmap *map = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < world->attempted_count; i++) {
        const struct event_state *event = &world->events[world->attempted[i]];
        if (event->attempts == 0)
            continue;
        world->attempted[kept++] = world->attempted[i];
        if (map == NULL)
            map = intmap_create(16);
        const struct binding *binding = world->pipeline.topics[event->topic].binding;
        intmap_set(map, attempt_key(pipeline_number(binding), event->id), (void *)(uintptr_t)event->attempts);
    }
    world->attempted_count = kept;
    return map;
}

static void chain_written(struct world *world, uint32_t number)
{
    struct correlation *chain = &world->chains[number];
    chain->facts = chain->working;
    chain->exists = chain->working_exists;
    memcpy(chain->data, chain->working_data, sizeof chain->data);
}

static void appended(struct world *world, struct span bytes)
{
    size_t count;
    uint32_t first = events_emitted(world, bytes, &count);
    for (size_t i = 0; i < count; i++)
        stream_append(world, first + (uint32_t)i);
}

static void change_apply(struct world *world, const struct change *change, uint32_t *row)
{
    struct event_state *event = &world->events[change->which]; /* of those kinds that are about one */
    switch (change->kind) {
    case CHANGE_CLAIM:
        event->claimed = true;
        event->recorded = 0;
        event->hash = change->value;
        break;
    case CHANGE_OUTCOME:
        event->recorded = (int16_t)change->value;
        break;
    case CHANGE_UNCLAIM:
        event->claimed = false;
        break;
    case CHANGE_EFFECT:
        check_effect(world, change->which);
        event->effects++;
        break;
    case CHANGE_ATTEMPT:
        attempt_counted(world, change->which, change->value);
        break;
    case CHANGE_NO_ATTEMPT:
        event->attempts = 0;
        break;
    case CHANGE_PARK:
        database_park(world, change->which, change->value < 0 ? PARKED_HELD : PARKED, change->value);
        break;
    case CHANGE_UNPARK:
        database_unpark(world, change->which);
        break;
    case CHANGE_CHAIN:
        chain_written(world, change->which);
        break;
    case CHANGE_HOLD:
    case CHANGE_HOLD_KEY:
    case CHANGE_HELD_ENDED:
        held_apply(world, change);
        break;
    case CHANGE_ROW:
        row_made(world, change->which);
        *row = change->which;
        break;
    case CHANGE_ROW_DONE:
        row_done(world, change->which);
        break;
    case CHANGE_ROW_FREE:
        if (world->outbox[change->which].live)
            world->outbox[change->which].owner = 0;
        break;
    case CHANGE_APPEND:
        appended(world, change->bytes);
        break;
    }
}

/* An event whose claim is still there when its transaction is committed has ended. */
static void claim_ended(struct world *world, uint32_t number, uint32_t row)
{
    struct event_state *event = &world->events[number];
    if (!event->claimed)
        return;
    const struct binding *binding = world->pipeline.topics[event->topic].binding;
    bool climbs = binding != NULL && binding->ladder != NULL && event->recorded == WORK_AGAIN;
    enum outcome outcome = event->recorded == OUTCOME_DEAD ? ENDED_DEAD : climbs ? ENDED_LADDER : ENDED_GOOD;
    check_ended(world, number);
    event->claimed = false;
    event->outcome = (uint8_t)outcome;
    event->outbox = row;
    if (event->kind == KIND_ABORT)
        world->chains[event->chain].aborted = true;
}

struct ending {
    uint32_t first_index, number;
};

static int ending_compare(const void *left, const void *right)
{
    const struct ending *a = left, *b = right;
    return a->first_index != b->first_index ? (a->first_index < b->first_index ? -1 : 1) : 0;
}

/* All of it at once. Claims stand in the order of their ids: what ends together ends in the order of the log. */
void database_apply(struct world *world, struct transaction *transaction)
{
    uint32_t row = SIM_NONE;
    struct ending endings[SIM_BATCH];
    size_t count = 0;
    world->order++;
    for (size_t i = 0; i < transaction->change_count; i++)
        change_apply(world, &transaction->changes[i], &row);
    for (size_t i = 0; i < transaction->change_count; i++) {
        uint32_t number = transaction->changes[i].which;
        if (transaction->changes[i].kind == CHANGE_CLAIM)
            endings[count++] = (struct ending){world->events[number].first_index, number};
    }
    qsort(endings, count, sizeof endings[0], ending_compare);
    for (size_t i = 0; i < count; i++)
        claim_ended(world, endings[i].number, row);
}
