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
void check_undo(struct world *world, const struct correlation *chain, const struct chain_facts *before, uint64_t emit)
{
    const struct chain_shape *shape = &world->pipeline.shapes[chain->config];
    for (int32_t doing = 0; doing < CHAIN_DOINGS_MAX; doing++) {
        if (!(emit >> doing & 1))
            continue;
        if (before->state == CHAIN_RUNNING)
            sim_fail(world, "doing %d is undone without an abort", doing);
        if (doing >= before->count || (before->undoing >> doing & 1))
            sim_fail(world, "doing %d is undone though it was not done, or again", doing);
        for (int32_t other = 0; other < before->count; other++) {
            if (before->steps[other] <= before->steps[doing])
                continue;
            if (!((before->undoing | emit) >> other & 1))
                sim_fail(world, "doing %d is undone before one of a newer step", doing);
            if ((shape->waits >> before->steps[other] & 1) && !(before->undone >> other & 1))
                sim_fail(world, "doing %d is undone though a newer undo is still waited for", doing);
        }
    }
}

/* Whether this process is to have published the row before it commits a position of the stream: whoever made it, and
 * however late its COMMIT was; but one of another process that has no owner any more only when it was there when the
 * stream was taken over. */
static bool row_is_due(const struct outbox_row *row, const struct process *process, uint32_t stream)
{
    return row->live &&
           (row->owner == row->maker || row->maker == process->incarnation || row->order <= process->since[stream]);
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

/* What passed of a chain, by the events. */
struct tally {
    uint32_t done, undone; /* doings of steps that have an undo; those that have one */
    bool aborted;
};

static void tally_event(struct world *world, const struct event_state *event, struct tally *tally)
{
    const struct chain_shape *shape = &world->pipeline.shapes[world->chains[event->chain].config];
    if (event->kind == KIND_ABORT)
        tally->aborted = true;
    if (event->kind != KIND_DONE || !(shape->has_undo >> event->step & 1))
        return; /* the others are not written down */
    tally->done++;
    if (event->undo == SIM_NONE)
        return;
    tally->undone++;
    if (world->events[event->undo].effects != 1)
        sim_fail(world, "the undo of step %u of chain %u took effect %u times", event->step, event->chain,
                 world->events[event->undo].effects);
}

static void check_event(struct world *world, uint32_t number, struct tally *tallies)
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
    if (event->chain != SIM_NONE)
        tally_event(world, event, &tallies[event->chain]);
}

/* Everything that was done was undone, but for the doings of a generation that goes on. */
static void check_chain(struct world *world, uint32_t number, const struct tally *tally)
{
    const struct correlation *chain = &world->chains[number];
    const struct chain_facts *facts = &chain->facts;
    uint32_t running = facts->state == CHAIN_RUNNING ? (uint32_t)facts->count : 0;
    if (chain->locked_by != 0 || chain->aborted != tally->aborted)
        sim_fail(world, "chain %u does not know what was done", number);
    if (facts->state != CHAIN_UNDONE && facts->state != CHAIN_RUNNING)
        sim_fail(world, "chain %u ends in state %d", number, facts->state);
    if (facts->state == CHAIN_RUNNING ? tally->aborted && facts->generation == 0 : !tally->aborted)
        sim_fail(world, "chain %u ends in state %d, generation %d, and was%s aborted", number, facts->state,
                 facts->generation, tally->aborted ? "" : " not");
    if (tally->done - tally->undone != running)
        sim_fail(world, "of chain %u %u steps were done, %u were undone, and %u are of a generation that goes on",
                 number, tally->done, tally->undone, running);
}

void check_end(struct world *world)
{
    struct tally *tallies = calloc(world->chain_count + 1, sizeof *tallies);
    for (uint32_t i = 0; i < world->event_count; i++)
        check_event(world, i, tallies);
    for (uint32_t i = 0; i < world->chain_count; i++)
        check_chain(world, i, &tallies[i]);
    free(tallies);
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
