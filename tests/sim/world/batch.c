/*
 * batch.c - the life of a batch in a lane, as delivery.md tells it: claim, handle, chains, commit, emit, complete.
 * Each call of lane_step() does one of them, so that anything may happen in between.
 */
#include "sim.h"

void item_release(struct process *process, struct item *item)
{
    item->next_free = process->free_items;
    process->free_items = item;
    process->in_flight--;
}

/* ------------------------------------------------------------------------------------------------- giving a batch
 * up */

void lane_rollback(struct world *world, struct sim_lane *lane)
{
    for (size_t i = 0; lane->tx != 0 && i < lane->count; i++) {
        struct event_state *event = &world->events[lane->works[i].item->event];
        if (event->locked_by == lane->tx)
            event->locked_by = 0;
        if (event->chain != SIM_NONE && world->chains[event->chain].locked_by == lane->tx)
            world->chains[event->chain].locked_by = 0;
    }
    lane->tx = 0;
    lane->killed = false;
}

/* The transaction did not happen, or nobody knows. No attempt is counted. */
static void lane_fail(struct world *world, struct sim_lane *lane, bool alone, int64_t pause_ms)
{
    struct lane_entry *entries[SIM_BATCH];
    lane_rollback(world, lane);
    for (size_t i = 0; i < lane->count; i++)
        entries[i] = &lane->works[i].item->entry;
    if (alone && lane->count > 1) {
        lane_isolate(lane->lane, entries, lane->count);
        world->count.solos++;
    } else {
        lane_requeue(lane->lane, entries, lane->count);
    }
    lane->count = 0;
    lane->phase = PHASE_IDLE;
    lane->pause_ms = world->now_ms + pause_ms;
}

static bool lane_lost(struct world *world, struct sim_lane *lane)
{
    if (store_up(world) && !lane->killed)
        return false;
    lane_fail(world, lane, false, 5 + sim_below(world, 50));
    return true;
}

/* Waits for somebody else's lock: for a while, then the deadlock is broken. */
static void lane_wait(struct world *world, struct sim_lane *lane)
{
    if (++lane->waits > 12)
        lane_fail(world, lane, lane->waits % 2 == 0 && sim_below(world, 4) == 0, 1 + sim_below(world, 20));
}

/* ----------------------------------------------------------------------------------------------------- begin, claim */

static void batch_begin(struct world *world, struct process *process, struct sim_lane *lane)
{
    struct lane_entry *entries[SIM_BATCH];
    if (world->now_ms < lane->pause_ms)
        return;
    lane->count = lane_take(lane->lane, world->now_ms, world->settings.batch, entries);
    if (lane->count == 0) {
        for (size_t i = 0; store_up(world) && i < lane->done_count; i++, world->progress++)
            store_outbox_done(world, lane->done_rows[i]);
        lane->done_count = store_up(world) ? 0 : lane->done_count;
        return;
    }
    for (size_t i = 0; i < lane->count; i++) {
        struct item *item = (struct item *)entries[i];
        lane->works[i] = (struct work){.item = item};
        if (world->plant == PLANT_WATERMARK_OVER_INCOMPLETE && !item->parked &&
            process->trackers[item->stream] != NULL) {
            tracker_complete(process->trackers[item->stream], item->epoch, item->ticket);
            item->parked = true; /* so that it is not completed again */
        }
    }
    lane->output_count = lane->again_count = 0;
    lane->row = SIM_NONE;
    lane->waits = 0;
    lane->since_ms = world->now_ms;
    lane->phase = PHASE_CLAIM;
    world->progress++;
}

static void batch_hit(struct world *world, struct sim_lane *lane, const struct event_state *event)
{
    world->count.hits++;
    if (event->outbox == SIM_NONE || !world->outbox[event->outbox].live)
        return;
    for (size_t i = 0; i < lane->again_count; i++)
        if (lane->again[i] == event->outbox)
            return;
    lane->again[lane->again_count++] = event->outbox;
}

static void batch_claim(struct world *world, struct sim_lane *lane)
{
    if (lane_lost(world, lane))
        return;
    for (size_t i = 0; i < lane->count; i++) {
        if (world->events[lane->works[i].item->event].locked_by != 0) {
            lane_wait(world, lane); /* another transaction has claimed it: its end decides */
            return;
        }
    }
    lane->tx = ++world->next_tx;
    for (size_t i = 0; i < lane->count; i++) {
        struct work *work = &lane->works[i];
        struct event_state *event = &world->events[work->item->event];
        if (world->plant == PLANT_EFFECT_BEFORE_CLAIM)
            event->effects++;
        if (world->plant == PLANT_UNPARK_BEFORE_COMMIT && work->item->parked)
            store_unpark(world, work->item->event);
        if (event->outcome != NOT_ENDED) {
            work->verdict = VERDICT_HIT;
            batch_hit(world, lane, event);
        } else if (event->locked_by == lane->tx) {
            work->verdict = VERDICT_BACK; /* the same event a second time in this batch: it will be a hit, or not */
        } else {
            event->locked_by = lane->tx;
            work->claimed = true;
        }
    }
    lane->phase = PHASE_HANDLE;
}

/* ----------------------------------------------------------------------------------------------------------- handle */

/* Returns false when the event breaks the transaction. */
static bool handle_one(struct world *world, struct work *work)
{
    struct item *item = work->item;
    struct event_state *event = &world->events[item->event];
    work->verdict = VERDICT_DONE;
    if (item->condemned) {
        work->verdict = VERDICT_DEAD;
        return true;
    }
    if (event->not_before_ms > world->now_ms) {
        work->verdict = VERDICT_PARK;
        work->due_ms = event->not_before_ms;
        return true;
    }
    switch (event->fate) {
    case FATE_TRANSIENT:
        if (item->tries >= event->fate_count)
            break;
        int64_t delay = retry_delay_ms(&world->settings.retry, item->tries + 1, sim_below(world, 1000) / 1000.0);
        work->verdict = delay < 0 ? VERDICT_DEAD : VERDICT_RETRY;
        work->due_ms = world->now_ms + delay;
        break;
    case FATE_AWAY:
        if (event->fate_count == 0)
            break;
        event->fate_count--; /* the world outside, not the database's */
        work->verdict = VERDICT_LATER;
        work->due_ms = world->now_ms + 30;
        break;
    case FATE_POISON:
        work->verdict = VERDICT_DEAD;
        break;
    case FATE_DATA:
        return false;
    case FATE_LADDER:
        if (event->climbed < event->fate_count)
            work->verdict = VERDICT_LADDER;
        break;
    case FATE_STUCK:
        if (event->resumed < event->fate_count)
            work->verdict = VERDICT_STUCK;
        break;
    default:
        break;
    }
    return true;
}

static bool must_wait(const struct sim_lane *lane, uint32_t before)
{
    if (before == PLAN_NONE)
        return false;
    enum verdict verdict = lane->works[before].verdict;
    return verdict == VERDICT_RETRY || verdict == VERDICT_LATER || verdict == VERDICT_BACK;
}

static void batch_handle(struct world *world, struct sim_lane *lane)
{
    if (lane_lost(world, lane))
        return;
    uint64_t keys[SIM_BATCH];
    uint32_t bindings[SIM_BATCH], order[SIM_BATCH], before[SIM_BATCH];
    struct call_plan calls[SIM_BATCH];
    for (size_t i = 0; i < lane->count; i++) {
        keys[i] = lane->works[i].item->entry.key_hash;
        bindings[i] = lane->works[i].claimed ? world->events[lane->works[i].item->event].kind
                                             : (uint32_t)BINDING_NOBODY;
    }
    size_t call_count = plan_calls(lane->count, keys, bindings, world->settings.max_by_binding, order, before, calls,
                                   lane->arena);
    arena_reset(lane->arena);
    for (size_t c = 0; c < call_count; c++) {
        for (uint32_t n = calls[c].first; n < calls[c].first + calls[c].count; n++) {
            struct work *work = &lane->works[order[n]];
            bool passes = work->verdict == VERDICT_HIT && world->plant == PLANT_HIT_PASSES_A_HELD_KEY;
            if (must_wait(lane, before[order[n]]) && !passes) {
                /* a hit, too: else what stands behind it would not see what it waits for */
                work->verdict = VERDICT_BACK;
            } else if (work->claimed && !handle_one(world, work)) {
                work->item->condemned = lane->count == 1; /* alone, it is at fault */
                lane_fail(world, lane, true, 0);
                return;
            }
        }
    }
    lane->phase = PHASE_CHAINS;
}

/* --------------------------------------------------------------------------------------------- chains and outputs */

static void output_add(struct world *world, struct sim_lane *lane, struct output output)
{
    if (lane->output_count == SIM_OUTPUTS)
        sim_fail(world, "the simulation's own array of outputs is full");
    lane->outputs[lane->output_count++] = output;
}

static void chain_one(struct world *world, struct sim_lane *lane, const struct work *work)
{
    const struct event_state *event = &world->events[work->item->event];
    struct correlation *chain = &world->chains[event->chain];
    struct chain_facts before = chain->working;
    uint32_t emit = 0;
    if (work->verdict == VERDICT_STUCK) {
        chain_stuck(&chain->working);
    } else if (event->kind == KIND_DONE) {
        before.done |= 1u << event->step;
        emit = chain_step_done(&chain->shape, &chain->working, event->step);
        if (world->plant == PLANT_LATE_STEP_NOT_UNDONE)
            emit = 0;
    } else if (event->kind == KIND_ABORT) {
        if (before.state == CHAIN_RUNNING)
            before.state = CHAIN_ABORTED;
        emit = chain_abort(&chain->shape, &chain->working);
    } else if (event->kind == KIND_UNDO && chain->shape.waits >> event->step & 1) {
        output_add(world, lane,
                   (struct output){
                       .kind = KIND_UNDONE, .parent = work->item->event, .chain = event->chain, .step = event->step});
    } else {
        before.undone |= 1u << event->step;
        emit = chain_step_undone(&chain->shape, &chain->working, event->step);
    }
    check_undo(world, chain, &before, emit);
    for (int32_t step = chain->shape.step_count - 1; step >= 0; step--)
        if (emit >> step & 1)
            output_add(
                world, lane,
                (struct output){
                    .kind = KIND_UNDO, .parent = work->item->event, .chain = event->chain, .step = (uint8_t)step});
}

static bool on_chain(const struct world *world, const struct work *work)
{
    return work->claimed && (work->verdict == VERDICT_DONE || work->verdict == VERDICT_STUCK) &&
           world->events[work->item->event].chain != SIM_NONE;
}

/* What an ended event sends on, besides what its chain does. */
static void outputs_of(struct world *world, struct sim_lane *lane, const struct work *work)
{
    const struct event_state *event = &world->events[work->item->event];
    struct output output = {.parent = work->item->event, .chain = SIM_NONE};
    if (!work->claimed)
        return;
    if (work->verdict == VERDICT_DEAD) {
        output.kind = KIND_DEAD;
        output_add(world, lane, output);
    } else if (work->verdict == VERDICT_LADDER) {
        int64_t delay = ladder_delay_ms(&world->settings.ladder, event->climbed);
        output.kind = delay < 0 ? KIND_EXHAUSTED : KIND_RETRY;
        output.climbed = event->climbed + 1;
        output.not_before_ms = delay < 0 ? 0 : world->now_ms + delay;
        output_add(world, lane, output);
    } else if (work->verdict == VERDICT_DONE && event->kind == KIND_WORK && event->chain == SIM_NONE) {
        output.kind = KIND_NEXT;
        for (uint32_t n = work->item->event % 3; n > 0; n--)
            output_add(world, lane, output);
    }
}

static void batch_chains(struct world *world, struct sim_lane *lane)
{
    if (lane_lost(world, lane))
        return;
    for (size_t i = 0; i < lane->count; i++) {
        if (!on_chain(world, &lane->works[i]))
            continue;
        struct correlation *chain = &world->chains[world->events[lane->works[i].item->event].chain];
        if (chain->locked_by != 0 && chain->locked_by != lane->tx) {
            lane_wait(world, lane);
            return;
        }
        if (chain->locked_by == 0)
            chain->working = chain->facts;
        chain->locked_by = lane->tx;
    }
    for (int steps_first = 1; steps_first >= 0; steps_first--)
        for (size_t i = 0; i < lane->count; i++)
            if (on_chain(world, &lane->works[i]) &&
                (world->events[lane->works[i].item->event].kind == KIND_DONE) == steps_first)
                chain_one(world, lane, &lane->works[i]);
    for (size_t i = 0; i < lane->count; i++)
        outputs_of(world, lane, &lane->works[i]);
    lane->phase = PHASE_COMMIT;
}

/* ------------------------------------------------------------------------------------------------------------
 * commit */

static void record_one(struct world *world, struct sim_lane *lane, const struct work *work)
{
    struct item *item = work->item;
    struct event_state *event = &world->events[item->event];
    if (work->verdict == VERDICT_HIT && item->parked)
        store_unpark(world, item->event);
    if (!work->claimed)
        return;
    event->locked_by = 0;
    if (event->chain != SIM_NONE && world->chains[event->chain].locked_by == lane->tx) {
        world->chains[event->chain].facts = world->chains[event->chain].working;
        world->chains[event->chain].locked_by = 0;
    }
    enum outcome outcome = NOT_ENDED;
    switch (work->verdict) {
    case VERDICT_RETRY:
        if (event->attempts < item->tries + 1)
            event->attempts = item->tries + 1;
        if (world->plant == PLANT_CLAIM_KEPT_ON_RETRY)
            event->outcome = ENDED_GOOD;
        break;
    case VERDICT_PARK:
        store_park(world, item->event, PARKED, work->due_ms);
        break;
    case VERDICT_STUCK:
        store_park(world, item->event, PARKED_HELD, 0);
        break;
    case VERDICT_DONE:
        outcome = ENDED_GOOD;
        if (event->kind == KIND_ABORT)
            world->chains[event->chain].aborted = true;
        break;
    case VERDICT_LADDER:
        outcome = ENDED_LADDER;
        break;
    case VERDICT_DEAD:
        outcome = ENDED_DEAD;
        break;
    default:
        break;
    }
    if (outcome == NOT_ENDED)
        return;
    check_ended(world, item, item->event, outcome);
    event->outcome = (uint8_t)outcome;
    event->outbox = lane->row;
    event->attempts = 0;
    event->effects += outcome != ENDED_DEAD && world->plant != PLANT_EFFECT_BEFORE_CLAIM;
    if (item->parked)
        store_unpark(world, item->event);
}

/* All of it at once. */
static void commit_apply(struct world *world, struct sim_lane *lane)
{
    lane->row = lane->output_count == 0 ? SIM_NONE
                                        : store_outbox_add(world, world->now_ms, lane->outputs, lane->output_count);
    for (size_t i = 0; i < lane->count; i++)
        record_one(world, lane, &lane->works[i]);
    for (size_t i = 0; i < lane->done_count; i++)
        store_outbox_done(world, lane->done_rows[i]);
    lane->tx = 0;
}

static void batch_commit(struct world *world, struct sim_lane *lane)
{
    if (lane_lost(world, lane))
        return;
    if (sim_odds(world, world->settings.reply_lost)) {
        world->count.unknown++;
        bool applied = sim_below(world, 2) == 0;
        if (applied)
            commit_apply(world, lane);
        if (world->plant != PLANT_UNKNOWN_COMMIT_IS_DONE) {
            lane_fail(world, lane, false, sim_below(world, 30)); /* claim again: that tells */
            return;
        }
        lane_rollback(world, lane);
        lane->row = applied ? lane->row : SIM_NONE;
    } else {
        commit_apply(world, lane);
    }
    lane->done_count = 0;
    lane->phase = PHASE_EMIT;
}

/* ---------------------------------------------------------------------------------------------------- emit,
 * complete */

static void batch_emit(struct world *world, struct sim_lane *lane)
{
    bool forget = world->plant == PLANT_EMIT_NOT_AWAITED;
    for (;;) {
        uint32_t row = lane->row != SIM_NONE   ? lane->row
                       : lane->again_count > 0 ? lane->again[lane->again_count - 1]
                                               : SIM_NONE;
        if (row == SIM_NONE)
            break;
        if (!store_publish_row(world, row) && !forget)
            return; /* until it is acknowledged; whoever comes after us will do it if we die */
        if (forget) {
            store_outbox_done(world, row);
            world->outbox[row].published = true;
        }
        if (lane->done_count < SIM_DONE_ROWS) /* else the sweeper's */
            lane->done_rows[lane->done_count++] = row;
        if (lane->row != SIM_NONE)
            lane->row = SIM_NONE;
        else
            lane->again_count--;
    }
    lane->phase = PHASE_COMPLETE;
}

static void complete_one(struct world *world, struct process *process, struct sim_lane *lane, struct item *item)
{
    struct tracker *tracker = process->trackers[item->stream];
    if (!item->parked && tracker != NULL)
        tracker_complete(tracker, world->plant == PLANT_OLD_EPOCH_ACCEPTED ? tracker_epoch(tracker) : item->epoch,
                         item->ticket);
    lane_done(lane->lane, &item->entry);
    item_release(process, item);
}

static void batch_complete(struct world *world, struct process *process, struct sim_lane *lane)
{
    struct lane_entry *back[SIM_BATCH];
    size_t back_count = 0;
    for (size_t i = 0; i < lane->count; i++) {
        struct work *work = &lane->works[i];
        switch (work->verdict) {
        case VERDICT_RETRY:
            work->item->tries++;
            world->count.retries++;
            if (world->plant == PLANT_HELD_KEY_IGNORED)
                work->item->entry.key_hash = sim_random(world);
            lane_retry(lane->lane, &work->item->entry, work->due_ms);
            break;
        case VERDICT_LATER:
            lane_retry(lane->lane, &work->item->entry, work->due_ms);
            break;
        case VERDICT_BACK:
            back[back_count++] = &work->item->entry;
            break;
        default:
            complete_one(world, process, lane, work->item);
        }
    }
    if (back_count > 0)
        lane_requeue(lane->lane, back, back_count);
    lane->count = 0;
    lane->phase = PHASE_IDLE;
    world->progress++;
}

void lane_step(struct world *world, struct process *process, struct sim_lane *lane)
{
    switch (lane->phase) {
    case PHASE_IDLE:
        batch_begin(world, process, lane);
        break;
    case PHASE_CLAIM:
        batch_claim(world, lane);
        break;
    case PHASE_HANDLE:
        batch_handle(world, lane);
        break;
    case PHASE_CHAINS:
        batch_chains(world, lane);
        break;
    case PHASE_COMMIT:
        batch_commit(world, lane);
        break;
    case PHASE_EMIT:
        batch_emit(world, lane);
        break;
    case PHASE_COMPLETE:
        batch_complete(world, process, lane);
        break;
    }
}
