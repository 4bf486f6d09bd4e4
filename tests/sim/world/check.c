/*
 * check.c - what must hold: at every end of an event, at every commit of a position, for every undo, and when all is
 * over. It knows what each event's fate is and nothing of how the engine gets there.
 */
#include "sim.h"

#include <stdlib.h>

enum { CHECK_EARLY_MS = 2 /* an event this close to its time is handled at once */ };

/* An event that waits in the database leaves its place in the order; all others of a key come in the order of the log.
 * last: by key, the first_index after the latest one. */
static void check_order(struct world *world, uint32_t number, uint32_t *last, const char *what)
{
    const struct event_state *event = &world->events[number];
    if (event->not_before_ms != 0 || event->was_parked)
        return;
    if (event->first_index + 1 <= last[event->key])
        sim_fail(world, "event %u of key %u %s after one that came later", number, event->key, what);
    last[event->key] = event->first_index + 1;
}

/* Of events of a key that end together, too, the earlier one is handled first. */
void check_effect(struct world *world, uint32_t number)
{
    check_order(world, number, world->key_effect, "takes effect");
}

void check_ended(struct world *world, uint32_t number)
{
    const struct event_state *event = &world->events[number];
    if (event->outcome != NOT_ENDED)
        sim_fail(world, "event %u ends a second time", number);
    if (event->first_index == SIM_NONE)
        sim_fail(world, "event %u ends before it was published", number);
    if (event->not_before_ms > world->now_ms + CHECK_EARLY_MS)
        sim_fail(world, "event %u is handled %lld ms too early", number,
                 (long long)(event->not_before_ms - world->now_ms));
    check_order(world, number, world->key_last, "ends");
}

/* `before`: what was known just before the undos in `emit` were decided on, the input itself included. */
void check_undo(struct world *world, const struct correlation *chain, const struct chain_facts *before, uint32_t emit)
{
    const struct chain_shape *shape = &world->pipeline.shapes[chain->config];
    uint32_t concerned = before->done & shape->has_undo;
    for (int32_t step = 0; step < shape->step_count; step++) {
        uint32_t newer = ~((2u << step) - 1) & concerned;
        if (!(emit >> step & 1))
            continue;
        if (before->state == CHAIN_RUNNING)
            sim_fail(world, "step %d is undone without an abort", step);
        if (!(concerned >> step & 1) || (before->undoing >> step & 1))
            sim_fail(world, "step %d is undone though it was not done, or again", step);
        if (newer & ~(before->undoing | emit))
            sim_fail(world, "step %d is undone before a newer one", step);
        if (newer & shape->waits & ~before->undone)
            sim_fail(world, "step %d is undone though a newer undo is still waited for", step);
    }
}

/* Whether this process is to have published the row before it commits a position of the stream: the row is its own, or
 * somebody else's that it found when it took the stream over. */
static bool row_is_due(const struct outbox_row *row, const struct process *process, uint32_t stream)
{
    return row->live && (row->owner == process->incarnation ||
                         (row->maker != process->incarnation && row->order <= process->since[stream]));
}

/* Everything up to the committed position has ended, or waits in the database, and what came of it is published. */
void check_committed(struct world *world, uint32_t number, const struct process *process)
{
    struct stream *stream = &world->streams[number];
    for (; stream->verified < stream->committed_index; stream->verified++) {
        uint32_t at = stream->records[stream->verified].event;
        const struct event_state *event = &world->events[at];
        if (event->kind == KIND_DEAD || event->was_parked)
            continue;
        if (event->outcome == NOT_ENDED && event->held_rows > 0)
            continue;
        if (event->outcome == NOT_ENDED)
            sim_fail(world, "stream %u is committed past event %u, which has not ended", number, at);
        if (event->outbox == SIM_NONE || event->was_held) /* its position was complete before it was handled */
            continue;
        const struct outbox_row *row = &world->outbox[event->outbox];
        if (row_is_due(row, process, number) && !row_published(world, row))
            sim_fail(world, "stream %u is committed past event %u, whose outputs are not published", number, at);
    }
}

void check_row_done(struct world *world, uint32_t row)
{
    if (!row_published(world, &world->outbox[row]))
        sim_fail(world, "outbox row %u is deleted, and not all of it was published", row + 1);
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

/* Events that its handler's outcome makes, besides what its chain does. */
static uint32_t children_expected(const struct event_state *event, uint32_t number, enum outcome expected)
{
    bool work = event->kind == KIND_WORK || event->kind == KIND_RETRY;
    return expected != ENDED_GOOD || (work && number % 3 != 0);
}

static void check_event(struct world *world, uint32_t number, uint32_t *done_of_chain, bool *aborted_chain)
{
    const struct event_state *event = &world->events[number];
    if (event->first_index == SIM_NONE)
        sim_fail(world, "event %u, made by event %u, was never published", number, event->parent);
    if (event->kind == KIND_DEAD)
        return;
    enum outcome expected = outcome_expected(world, event);
    bool handled = world->pipeline.topics[event->topic].binding != NULL;
    if (event->outcome != expected)
        sim_fail(world, "event %u ended as %d, its fate %d was %d", number, event->outcome, event->fate, expected);
    if (event->effects != (handled && expected != ENDED_DEAD))
        sim_fail(world, "event %u took effect %u times", number, event->effects);
    if (event->dead_letters != (expected == ENDED_DEAD))
        sim_fail(world, "event %u has %u dead letters", number, event->dead_letters);
    if (event->chain == SIM_NONE && event->children != children_expected(event, number, expected))
        sim_fail(world, "event %u has %u outputs", number, event->children);
    /* A try that fails once and not again may be counted by a COMMIT whose reply is lost, or by an earlier owner:
     * such a row is pruned when it is old. */
    bool tries_left = event->attempts != 0 && event->fate != FATE_FLAKY;
    if (tries_left || event->locked_by != 0 || event->parking != NOT_PARKED)
        sim_fail(world, "event %u left something in the database: %u tries, lock %u, parked %u", number,
                 event->attempts, event->locked_by, event->parking);
    if (event->kind == KIND_RETRY && event->climbed > world->settings.ladder.max_retries)
        sim_fail(world, "event %u climbed past the top of its ladder", number);
    /* What passes on the topic has happened, whatever its handler here makes of it. */
    if (event->kind == KIND_DONE)
        done_of_chain[event->chain] |= 1u << event->step;
    if (event->kind == KIND_ABORT)
        aborted_chain[event->chain] = true;
}

static void check_chain(struct world *world, uint32_t number, uint32_t done, bool aborted)
{
    const struct correlation *chain = &world->chains[number];
    const struct chain_shape *shape = &world->pipeline.shapes[chain->config];
    done &= shape->has_undo; /* the others are not written down */
    if (chain->locked_by != 0 || chain->facts.done != done || chain->aborted != aborted)
        sim_fail(world, "chain %u does not know what was done", number);
    if (chain->facts.state != (aborted ? CHAIN_UNDONE : CHAIN_RUNNING))
        sim_fail(world, "chain %u ends in state %d", number, chain->facts.state);
    for (int32_t step = 0; step < shape->step_count; step++) {
        bool undone = aborted && done >> step & 1;
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
    if (world->outbox_live != 0 || world->parked_count != 0 || !held_empty(world))
        sim_fail(world, "%zu outbox rows, %zu parked and %zu held events are left", world->outbox_live,
                 world->parked_count, world->held_live);
    for (uint32_t p = 0; p < world->settings.processes; p++)
        for (uint32_t s = 0; s < world->settings.streams; s++)
            if (world->processes[p].trackers[s] != NULL && tracker_in_flight(world->processes[p].trackers[s]) != 0)
                sim_fail(world, "the tracker of stream %u has something in flight", s);
    for (uint32_t p = 0; p < world->settings.processes; p++)
        for (uint32_t l = 0; world->processes[p].alive && l < world->settings.lanes; l++)
            if (lane_waiting(world->processes[p].lanes[l].env.lane) != 0 ||
                lane_held_keys(world->processes[p].lanes[l].env.lane) != 0)
                sim_fail(world, "lane %u of process %u is not empty", l, p);
}
