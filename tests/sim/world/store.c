/*
 * store.c - the fake database: what a transaction left there survives everything. Parked events, and the outbox with
 * its sweeper.
 */
#include "sim.h"

bool store_up(const struct world *world)
{
    return world->store_down_ms <= world->now_ms;
}

/* The heap carries event numbers as pointers, +1 because it knows no NULL. */
static void store_due(struct world *world, uint32_t event, int64_t due_ms)
{
    world->events[event].parked_due_ms = due_ms;
    if (heap_push(world->parked, due_ms, (void *)((uintptr_t)event + 1)) != 0)
        sim_fail(world, "the simulation's own table of parked events is full");
}

void store_park(struct world *world, uint32_t event, enum parking parking, int64_t due_ms)
{
    struct event_state *state = &world->events[event];
    if (state->parking == parking || state->parking == PARKED_HELD)
        return; /* parking twice is once */
    world->parked_count += state->parking == NOT_PARKED;
    state->parking = (uint8_t)parking;
    state->was_parked = true;
    world->count.parked++;
    if (parking == PARKED) {
        store_due(world, event, due_ms);
        return;
    }
    world->held = sim_grow(world->held, &world->held_list_size, world->held_list_count, sizeof *world->held);
    world->held[world->held_list_count++] = event;
}

void store_unpark(struct world *world, uint32_t event)
{
    if (world->events[event].parking == NOT_PARKED)
        return;
    world->events[event].parking = NOT_PARKED;
    world->parked_count--;
}

uint32_t store_parked_take(struct world *world)
{
    while (store_up(world) && heap_due(world->parked) <= world->now_ms) {
        int64_t due_ms = heap_due(world->parked);
        uint32_t event = (uint32_t)((uintptr_t)heap_pop(world->parked, world->now_ms) - 1);
        if (world->events[event].parking != PARKED || world->events[event].parked_due_ms != due_ms)
            continue; /* unparked, or taken and due later */
        store_due(world, event, world->now_ms + world->settings.hold_ms);
        return event;
    }
    return SIM_NONE;
}

void store_operator(struct world *world)
{
    if (world->held_list_count == 0)
        return;
    size_t i = sim_below(world, (uint32_t)world->held_list_count);
    uint32_t event = world->held[i];
    struct event_state *state = &world->events[event];
    struct correlation *chain = &world->chains[state->chain];
    if (chain->locked_by != 0)
        return; /* somebody has the row; later */
    world->held[i] = world->held[--world->held_list_count];
    state->resumed++;
    if (chain->facts.state == CHAIN_STUCK)
        chain->facts.state = CHAIN_ABORTED;
    if (state->parking == PARKED_HELD) {
        state->parking = PARKED;
        store_due(world, event, world->now_ms);
    }
    world->progress++;
}

/* Makes the events of a transaction's outputs, and their row. */
uint32_t store_outbox_add(struct world *world, int64_t at_ms, const struct output *outputs, size_t count)
{
    world->outbox = sim_grow(world->outbox, &world->outbox_size, world->outbox_count, sizeof *world->outbox);
    uint32_t row = (uint32_t)world->outbox_count++;
    world->outbox[row] = (struct outbox_row){
        .at_ms = at_ms, .first = (uint32_t)world->outbox_event_count, .count = (uint32_t)count, .live = true};
    world->outbox_live++;
    for (size_t i = 0; i < count; i++) {
        const struct output *output = &outputs[i];
        struct event_state event = {.kind = output->kind,
                                    .key = world->events[output->parent].key,
                                    .chain = output->chain,
                                    .step = output->step,
                                    .climbed = output->climbed,
                                    .parent = output->parent,
                                    .not_before_ms = output->not_before_ms};
        if (output->kind == KIND_RETRY) { /* the same event, a step higher */
            event.fate = world->events[output->parent].fate;
            event.fate_count = world->events[output->parent].fate_count;
        } else {
            sim_fate(world, &event);
        }
        uint32_t number = sim_event_new(world, event);
        world->events[output->parent].children++;
        if (output->kind == KIND_DEAD)
            world->events[output->parent].dead_letters++;
        if (output->kind == KIND_UNDO) {
            struct correlation *chain = &world->chains[output->chain];
            if (chain->undo[output->step] != SIM_NONE)
                sim_fail(world, "step %d of chain %u is undone twice: events %u and %u", output->step, output->chain,
                         chain->undo[output->step], number);
            chain->undo[output->step] = number;
            world->count.undos++;
        }
        world->outbox_events = sim_grow(world->outbox_events, &world->outbox_event_size, world->outbox_event_count,
                                        sizeof *world->outbox_events);
        world->outbox_events[world->outbox_event_count++] = number;
    }
    return row;
}

void store_outbox_done(struct world *world, uint32_t row)
{
    if (world->outbox[row].live)
        world->outbox_live--;
    world->outbox[row].live = false;
}

bool store_publish_row(struct world *world, uint32_t number)
{
    const struct outbox_row *row = &world->outbox[number];
    if (!bus_publish(world, world->outbox_events + row->first, row->count))
        return false;
    world->outbox[number].published = true;
    return true;
}

/* Publishes what has stood for too long, whoever made it. May die between publishing and deleting. */
void store_sweep(struct world *world)
{
    while (world->outbox_oldest < world->outbox_count && !world->outbox[world->outbox_oldest].live)
        world->outbox_oldest++;
    size_t looked = 0;
    for (size_t row = world->outbox_oldest; row < world->outbox_count && looked < 16; row++, looked++) {
        if (world->outbox[row].at_ms + world->settings.sweep_after_ms > world->now_ms)
            break; /* they stand by age */
        if (!world->outbox[row].live)
            continue;
        if (!store_up(world) || !store_publish_row(world, (uint32_t)row))
            break;
        world->count.sweeps++;
        world->progress++;
        if (!sim_odds(world, world->settings.reply_lost))
            store_outbox_done(world, (uint32_t)row);
    }
}
