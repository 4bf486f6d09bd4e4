/*
 * check.c - what must hold: at every end of an event, at every commit of a position, for every undo, and when all is
 * over. It knows what each event's fate is and nothing of how the engine gets there.
 */
#include "sim.h"

#include <stdlib.h>

/* An event that waits in the database leaves its place in the order; all others of a key end in the order of the
 * log. */
void check_ended(struct world *world, const struct item *item, uint32_t number, enum outcome outcome)
{
    const struct event_state *event = &world->events[number];
    (void)item;
    (void)outcome;
    if (event->outcome != NOT_ENDED)
        sim_fail(world, "event %u ends a second time", number);
    if (event->first_index == SIM_NONE)
        sim_fail(world, "event %u ends before it was published", number);
    if (event->not_before_ms > world->now_ms)
        sim_fail(world, "event %u is handled %lld ms too early", number,
                 (long long)(event->not_before_ms - world->now_ms));
    if (event->not_before_ms != 0 || event->was_parked)
        return;
    uint32_t *last = &world->key_last[event->key];
    if (event->first_index + 1 <= *last)
        sim_fail(world, "event %u of key %u ends after one that came later", number, event->key);
    *last = event->first_index + 1;
}

/* `before`: what was known just before the undos in `emit` were decided on, the input itself included. */
void check_undo(struct world *world, const struct correlation *chain, const struct chain_facts *before, uint32_t emit)
{
    uint32_t concerned = before->done & chain->shape.has_undo;
    for (int32_t step = 0; step < chain->shape.step_count; step++) {
        uint32_t newer = ~((2u << step) - 1) & concerned;
        if (!(emit >> step & 1))
            continue;
        if (before->state == CHAIN_RUNNING)
            sim_fail(world, "step %d is undone without an abort", step);
        if (!(concerned >> step & 1) || (before->undoing >> step & 1))
            sim_fail(world, "step %d is undone though it was not done, or again", step);
        if (newer & ~(before->undoing | emit))
            sim_fail(world, "step %d is undone before a newer one", step);
        if (newer & chain->shape.waits & ~before->undone)
            sim_fail(world, "step %d is undone though a newer undo is still waited for", step);
    }
}

/* Everything up to the committed position has ended, or waits in the database, and what came of it is published. */
void check_committed(struct world *world, uint32_t number)
{
    struct stream *stream = &world->streams[number];
    for (; stream->verified < stream->committed_index; stream->verified++) {
        uint32_t at = stream->records[stream->verified].event;
        const struct event_state *event = &world->events[at];
        if (event->kind == KIND_DEAD || event->was_parked)
            continue;
        if (event->outcome == NOT_ENDED)
            sim_fail(world, "stream %u is committed past event %u, which has not ended", number, at);
        if (event->outbox != SIM_NONE && world->outbox[event->outbox].live && !world->outbox[event->outbox].published)
            sim_fail(world, "stream %u is committed past event %u, whose outputs are not published", number, at);
    }
}

static enum outcome outcome_expected(const struct world *world, const struct event_state *event)
{
    switch (event->fate) {
    case FATE_POISON:
    case FATE_DATA:
        return ENDED_DEAD;
    case FATE_TRANSIENT:
        return event->fate_count <= world->settings.retry.max_retries ? ENDED_GOOD : ENDED_DEAD;
    case FATE_LADDER:
        return event->climbed < event->fate_count ? ENDED_LADDER : ENDED_GOOD;
    default:
        return ENDED_GOOD;
    }
}

static void check_event(struct world *world, uint32_t number, uint32_t *done_of_chain, bool *aborted_chain)
{
    const struct event_state *event = &world->events[number];
    if (event->first_index == SIM_NONE)
        sim_fail(world, "event %u, made by event %u, was never published", number, event->parent);
    if (event->kind == KIND_DEAD)
        return;
    enum outcome expected = outcome_expected(world, event);
    if (event->outcome != expected)
        sim_fail(world, "event %u ended as %d, its fate was %d", number, event->outcome, expected);
    if (event->effects != (expected != ENDED_DEAD))
        sim_fail(world, "event %u took effect %u times", number, event->effects);
    if (event->dead_letters != (expected == ENDED_DEAD))
        sim_fail(world, "event %u has %u dead letters", number, event->dead_letters);
    if (event->children != event->dead_letters + (expected == ENDED_LADDER) && event->chain == SIM_NONE &&
        !(event->kind == KIND_WORK && expected == ENDED_GOOD && event->children == number % 3))
        sim_fail(world, "event %u has %u outputs", number, event->children);
    if (event->attempts != 0 || event->locked_by != 0 || event->parking != NOT_PARKED)
        sim_fail(world, "event %u left something in the database", number);
    if (event->kind == KIND_RETRY && event->climbed > world->settings.ladder.max_retries)
        sim_fail(world, "event %u climbed past the top of its ladder", number);
    if (event->kind == KIND_DONE && expected == ENDED_GOOD)
        done_of_chain[event->chain] |= 1u << event->step;
    if (event->kind == KIND_ABORT && expected == ENDED_GOOD)
        aborted_chain[event->chain] = true;
}

static void check_chain(struct world *world, uint32_t number, uint32_t done, bool aborted)
{
    const struct correlation *chain = &world->chains[number];
    if (chain->locked_by != 0 || chain->facts.done != done || chain->aborted != aborted)
        sim_fail(world, "chain %u does not know what was done", number);
    if (chain->facts.state != (aborted ? CHAIN_UNDONE : CHAIN_RUNNING))
        sim_fail(world, "chain %u ends in state %d", number, chain->facts.state);
    for (int32_t step = 0; step < chain->shape.step_count; step++) {
        bool undone = aborted && (done & chain->shape.has_undo) >> step & 1;
        if (undone != (chain->undo[step] != SIM_NONE))
            sim_fail(world, "step %d of chain %u is %s", step, number, undone ? "not undone" : "undone for no reason");
        if (undone && world->events[chain->undo[step]].effects != 1)
            sim_fail(world, "the undo of step %d of chain %u took effect %u times", step, number,
                     world->events[chain->undo[step]].effects);
    }
}

void check_end(struct world *world)
{
    uint32_t *done = calloc(world->chain_count + 1, sizeof *done);
    bool *aborted = calloc(world->chain_count + 1, sizeof *aborted);
    for (uint32_t i = 0; i < world->event_count; i++)
        check_event(world, i, done, aborted);
    for (uint32_t i = 0; i < world->chain_count; i++)
        check_chain(world, i, done[i], aborted[i]);
    free(done);
    free(aborted);
    if (world->outbox_live != 0 || world->parked_count != 0)
        sim_fail(world, "%zu outbox rows and %zu parked events are left", world->outbox_live, world->parked_count);
    for (uint32_t p = 0; p < world->settings.processes; p++)
        for (uint32_t s = 0; s < world->settings.streams; s++)
            if (world->processes[p].trackers[s] != NULL && tracker_in_flight(world->processes[p].trackers[s]) != 0)
                sim_fail(world, "the tracker of stream %u has something in flight", s);
    for (uint32_t p = 0; p < world->settings.processes; p++)
        for (uint32_t l = 0; world->processes[p].alive && l < world->settings.lanes; l++)
            if (lane_waiting(world->processes[p].lanes[l].lane) != 0 ||
                lane_held_keys(world->processes[p].lanes[l].lane) != 0)
                sim_fail(world, "lane %u of process %u is not empty", l, p);
}
