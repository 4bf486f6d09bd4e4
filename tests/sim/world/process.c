/*
 * process.c - a process of the engine: it learns of its assignments sooner or later, reads, tracks, runs its lanes,
 * commits, sweeps, and loses everything it knows when it dies.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

enum { PROCESS_BLOCK = 256, PROCESS_POLL = 48 };

static struct item *item_new(struct process *process)
{
    if (process->free_items == NULL) {
        struct item *block = calloc(PROCESS_BLOCK, sizeof *block);
        process->blocks = realloc(process->blocks, (process->block_count + 1) * sizeof *process->blocks);
        process->blocks[process->block_count++] = block;
        for (size_t i = 0; i < PROCESS_BLOCK; i++) {
            block[i].next_free = process->free_items;
            process->free_items = &block[i];
        }
    }
    struct item *item = process->free_items;
    process->free_items = item->next_free;
    process->in_flight++;
    *item = (struct item){0};
    return item;
}

void process_start(struct world *world, struct process *process)
{
    process->alive = true;
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        process->lanes[l] = (struct sim_lane){.lane = lane_create(), .arena = arena_create(16384, SIZE_MAX)};
}

/* Back to a process that was never started. */
void process_free(struct process *process)
{
    for (size_t l = 0; l < SIM_LANES; l++) {
        lane_destroy(process->lanes[l].lane);
        arena_destroy(process->lanes[l].arena);
    }
    for (size_t s = 0; s < SIM_STREAMS; s++)
        tracker_destroy(process->trackers[s]);
    for (size_t b = 0; b < process->block_count; b++)
        free(process->blocks[b]);
    free(process->blocks);
    *process = (struct process){0};
}

void process_crash(struct world *world, struct process *process)
{
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        lane_rollback(world, &process->lanes[l]);
    process_free(process);
    process->back_ms = world->now_ms + 1 + sim_below(world, 500);
    world->count.crashes++;
}

bool process_idle(const struct process *process)
{
    return process->in_flight == 0;
}

/* ------------------------------------------------------------------------------------------------------ assignments */

struct dropping {
    struct process *process;
    uint32_t stream;
};

static bool drop_match(const struct lane_entry *entry, void *context)
{
    const struct item *item = (const struct item *)entry;
    return !item->parked && item->stream == ((const struct dropping *)context)->stream;
}

static void drop_each(struct lane_entry *entry, void *context)
{
    item_release(((struct dropping *)context)->process, (struct item *)entry);
}

/* Lanes let go of what waits; what is in a batch is not interrupted. */
static void process_drop(struct world *world, struct process *process, uint32_t stream)
{
    struct dropping dropping = {process, stream};
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        lane_drop(process->lanes[l].lane, drop_match, drop_each, &dropping);
}

static bool process_busy(const struct world *world, const struct process *process, uint32_t stream)
{
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        for (size_t i = 0; i < process->lanes[l].count; i++)
            if (!process->lanes[l].works[i].item->parked && process->lanes[l].works[i].item->stream == stream)
                return true;
    return false;
}

static void process_commit(struct world *world, struct process *process, uint32_t stream)
{
    struct tracker *tracker = process->trackers[stream];
    if (tracker == NULL)
        return;
    if (tracker_watermark(tracker, &process->pending[stream]))
        process->commit_pending[stream] = true;
    if (!process->commit_pending[stream] || world->bus_down_ms > world->now_ms)
        return; /* it is tried again: the tracker tells a position once */
    bus_commit(world, stream, process->epochs[stream], process->pending[stream]);
    process->commit_pending[stream] = false;
    world->progress++;
}

static void process_let_go(struct process *process, uint32_t stream)
{
    tracker_destroy(process->trackers[stream]);
    process->trackers[stream] = NULL;
    process->commit_pending[stream] = false;
}

static void process_assignment(struct world *world, struct process *process, uint32_t number)
{
    struct stream *stream = &world->streams[number];
    bool mine = stream->owner == (uint32_t)(process - world->processes);
    if (process->trackers[number] != NULL && (!mine || stream->epoch != process->epochs[number])) {
        if (!world->calm && sim_below(world, 4) != 0)
            return;                           /* has not heard of it yet: a zombie */
        process_drop(world, process, number); /* lost: what is in a batch comes back late, with an old epoch */
        process_let_go(process, number);
    }
    if (!mine)
        return;
    if (process->trackers[number] == NULL) {
        process->trackers[number] = tracker_create(stream->epoch, world->settings.in_flight);
        process->epochs[number] = stream->epoch;
        process->next_index[number] = stream->committed_index;
        world->progress++;
    }
    if (stream->revoking) {
        process_drop(world, process, number);
        if (process_busy(world, process, number))
            return;
        process_commit(world, process, number);
        process_let_go(process, number);
        stream->owner = SIM_NONE;
        stream->revoking = false;
    }
}

/* ---------------------------------------------------------------------------------------------------------- reading */

static void process_offer(struct world *world, struct process *process, struct item *item)
{
    const struct event_state *event = &world->events[item->event];
    item->entry.key_hash = bus_key_hash(event->key);
    item->tries = event->attempts;
    lane_offer(process->lanes[(item->entry.key_hash >> 17) % world->settings.lanes].lane, &item->entry);
    world->count.deliveries++;
    world->progress++;
}

static void process_poll(struct world *world, struct process *process, uint32_t number)
{
    struct stream *stream = &world->streams[number];
    struct tracker *tracker = process->trackers[number];
    if (tracker == NULL || stream->epoch != process->epochs[number] || stream->revoking ||
        world->bus_down_ms > world->now_ms)
        return;
    size_t *next = &process->next_index[number];
    if (*next > stream->committed_index && sim_odds(world, 60)) /* a bus may repeat itself within an assignment */
        *next -= sim_below(world, (uint32_t)(*next - stream->committed_index) + 1);
    for (size_t n = 0; n < PROCESS_POLL && *next < stream->count && process->in_flight < world->settings.in_flight;
         n++) {
        const struct log_record *record = &stream->records[*next];
        uint64_t ticket;
        if (world->events[record->event].kind == KIND_DEAD) {
            (*next)++; /* not subscribed */
            continue;
        }
        int code = tracker_add(tracker, record->position, &ticket);
        if (code == 0) {
            struct item *item = item_new(process);
            item->event = record->event;
            item->stream = number;
            item->epoch = process->epochs[number];
            item->ticket = ticket;
            process_offer(world, process, item);
        } else if (code == -ENOSPC) {
            return; /* offered again later */
        }
        (*next)++;
    }
}

static void process_parked(struct world *world, struct process *process)
{
    for (int n = 0; n < 8 && process->in_flight < world->settings.in_flight; n++) {
        uint32_t event = store_parked_take(world);
        if (event == SIM_NONE)
            return;
        struct item *item = item_new(process);
        item->event = event;
        item->stream = bus_stream_of(world, world->events[event].key);
        item->parked = true;
        process_offer(world, process, item);
    }
}

void process_step(struct world *world, struct process *process)
{
    if (!process->alive) {
        if (process->back_ms <= world->now_ms || world->calm)
            process_start(world, process);
        return;
    }
    if (process->frozen_ms > world->now_ms)
        return;
    uint64_t dice = sim_random(world);
    for (uint32_t s = 0; s < world->settings.streams; s++)
        process_assignment(world, process, s);
    for (uint32_t s = 0; s < world->settings.streams; s++)
        process_poll(world, process, (uint32_t)((s + dice) % world->settings.streams));
    process_parked(world, process);
    for (uint32_t l = 0; l < world->settings.lanes; l++) {
        if (sim_odds(world, world->settings.crash)) {
            process_crash(world, process);
            return;
        }
        for (uint64_t steps = dice >> (8 + l * 4) & 3; steps > 0; steps--)
            lane_step(world, process, &process->lanes[l]);
    }
    for (uint32_t s = 0; (dice >> 40 & 3) == 0 && s < world->settings.streams; s++)
        process_commit(world, process, s);
    if ((dice >> 44 & 15) == 0)
        store_sweep(world);
}
