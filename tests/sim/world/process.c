/*
 * process.c - a process of the engine: it learns of its assignments sooner or later, takes over what earlier owners
 * left, reads, tracks, runs its lanes, commits, sweeps, and loses everything it knows when it dies.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

enum { PROCESS_BLOCK = 256, PROCESS_POLL = 48 };

static struct sim_item *item_new(struct process *process)
{
    if (process->free_items == NULL) {
        struct sim_item *block = calloc(PROCESS_BLOCK, sizeof *block);
        process->blocks = realloc(process->blocks, (process->block_count + 1) * sizeof *process->blocks);
        process->blocks[process->block_count++] = block;
        for (size_t i = 0; i < PROCESS_BLOCK; i++) {
            block[i].next_free = process->free_items;
            process->free_items = &block[i];
        }
    }
    struct sim_item *item = process->free_items;
    process->free_items = item->next_free;
    process->in_flight++;
    *item = (struct sim_item){.live = true};
    return item;
}

static void item_free(struct sim_item *item)
{
    if (!item->live)
        return;
    free(item->item.sentence);
    free(item->item.headers);
    item->live = false;
}

void item_release(struct process *process, struct sim_item *item)
{
    if (item->item.source == ITEM_BUS)
        process->held[item->item.stream]--;
    item_free(item);
    item->next_free = process->free_items;
    process->free_items = item;
    process->in_flight--;
}

/* --------------------------------------------------------------------------------------------------- life and death */

static void process_join(struct world *world, struct process *process)
{
    process->member = world->settings.transactional ? ++world->next_incarnation : 0;
    process->fenced = false;
}

static void process_bindings(const struct world *world, struct process *process)
{
    static struct metrics *metrics;
    static struct series *counter, *stopped, *seconds, *list[WORK_OUTCOMES];
    if (metrics == NULL) {
        metrics = metrics_create();
        counter = metrics_series(metrics, METRIC_EVENTS, "sim", "sim");
        stopped = metrics_series(metrics, METRIC_HANDLER_STOPPED, "sim", NULL);
        seconds = metrics_series(metrics, METRIC_HANDLER_SECONDS, "sim", NULL);
        for (size_t i = 0; i < WORK_OUTCOMES; i++)
            list[i] = counter;
    }
    for (size_t i = 0; i < world->pipeline.config.binding_count; i++)
        process->bindings[i] = (struct binding_run){.number = pipeline_number(&world->pipeline.bindings[i]),
                                                    .records = true,
                                                    .by_outcome = list,
                                                    .dead = counter,
                                                    .refused = counter,
                                                    .failed = counter,
                                                    .duplicates = counter,
                                                    .again = counter,
                                                    .retries = counter,
                                                    .stop.series = stopped,
                                                    .seconds = seconds};
}

void process_start(struct world *world, struct process *process)
{
    process->alive = true;
    process->incarnation = ++world->next_incarnation;
    process_join(world, process);
    process_bindings(world, process);
    pthread_rwlock_init(&process->quarantine, NULL);
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        lane_start(world, process, l);
}

/* Back to a process that was never started. */
void process_free(struct process *process)
{
    for (size_t l = 0; l < SIM_LANES; l++)
        lane_stop(&process->lanes[l]);
    for (size_t s = 0; s < SIM_STREAMS; s++)
        tracker_destroy(process->trackers[s]);
    for (size_t b = 0; b < process->block_count; b++) {
        for (size_t i = 0; i < PROCESS_BLOCK; i++)
            item_free(&process->blocks[b][i]);
        free(process->blocks[b]);
    }
    free(process->blocks);
    intmap_destroy(process->attempts);
    memset(process, 0, sizeof *process);
}

void process_crash(struct world *world, struct process *process)
{
    process_free(process);
    process->back_ms = world->now_ms + 1 + sim_below(world, 500);
    world->count.crashes++;
}

bool process_idle(const struct world *world, const struct process *process)
{
    for (uint32_t l = 0; process->alive && l < world->settings.lanes; l++)
        if (!lane_at_rest(&process->lanes[l]))
            return false;
    return process->in_flight == 0;
}

void process_fence(struct process *process)
{
    process->fenced = true;
}

/* Its membership cannot be removed while a transaction of it is open. */
bool process_holds_fence(const struct world *world, const struct process *process)
{
    for (uint32_t l = 0; process->alive && l < world->settings.lanes; l++)
        if (process->lanes[l].connection.transaction != NULL && process->lanes[l].connection.transaction->member != 0)
            return true;
    for (const struct transaction *orphan = world->orphans; orphan != NULL; orphan = orphan->next)
        if (orphan->member != 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------------------ assignments */

struct dropping {
    struct process *process;
    uint32_t stream;
};

static bool drop_match(const struct lane_entry *entry, void *context)
{
    const struct item *item = (const struct item *)entry;
    return item->source == ITEM_BUS && item->stream == ((const struct dropping *)context)->stream;
}

static void drop_each(struct lane_entry *entry, void *context)
{
    item_release(((struct dropping *)context)->process, (struct sim_item *)entry);
}

/* Lanes drop what waits; what is in a batch is not interrupted. */
static void process_drop(struct world *world, struct process *process, uint32_t stream)
{
    struct dropping dropping = {process, stream};
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        lane_drop(process->lanes[l].env.lane, drop_match, drop_each, &dropping);
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        lane_changed(&process->lanes[l]);
}

/* Between two batches each lane writes down that its rows are not its own any more, also those of the batch that it
 * is in. */
static void process_release(struct world *world, struct process *process)
{
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        process->lanes[l].release = true;
}

/* The engine waits for every lane. Here a batch may go on whose lane has no rows: its items have an old epoch then. */
static bool process_released(const struct world *world, const struct process *process)
{
    for (uint32_t l = 0; l < world->settings.lanes; l++) {
        const struct outbox_lane *outbox = &process->lanes[l].env.outbox;
        if (process->lanes[l].release && outbox->published_count + outbox->uncertain_count > 0)
            return false;
    }
    return true;
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
    stream_commit(world, stream, process, process->pending[stream]);
    process->commit_pending[stream] = false;
    world->progress++;
}

static void process_forget(struct process *process, uint32_t stream)
{
    tracker_destroy(process->trackers[stream]);
    process->trackers[stream] = NULL;
    process->commit_pending[stream] = false;
    process->assignment++;
}

/* What earlier owners left is taken over before the stream is read. False: not yet. */
static bool process_take_over(struct world *world, struct process *process, uint32_t stream)
{
    if (!database_up(world) || (!world->settings.transactional && !database_sweep(world, process->incarnation, 0)))
        return false;
    intmap_destroy(process->attempts);
    process->attempts = database_attempts(world);
    process->since[stream] = ++world->order;
    return true;
}

static void process_assigned(struct world *world, struct process *process, uint32_t number)
{
    const struct stream *stream = &world->streams[number];
    if (!process_released(world, process) || !process_take_over(world, process, number))
        return;
    process->trackers[number] = tracker_create(stream->epoch, world->settings.in_flight);
    process->epochs[number] = stream->epoch;
    process->next_index[number] = stream->committed_index;
    process->assignment++;
    world->progress++;
}

static void process_revoked(struct world *world, struct process *process, uint32_t number)
{
    struct stream *stream = &world->streams[number];
    process_drop(world, process, number);
    if (process->held[number] > 0)
        return;
    if (stream->revoking == REVOKING) {
        process_release(world, process);
        stream->revoking = RELEASING;
    }
    if (!process_released(world, process))
        return;
    process_commit(world, process, number);
    process_forget(process, number);
    stream->owner = SIM_NONE;
    stream->revoking = NOT_REVOKING;
}

/* A peer has removed its membership: it drops everything, and joins again when no batch is left of before. */
static void process_rejoin(struct world *world, struct process *process)
{
    size_t held = 0;
    bool released = true;
    for (uint32_t s = 0; s < world->settings.streams; s++) {
        process_drop(world, process, s);
        process_forget(process, s);
        held += process->held[s];
    }
    for (uint32_t l = 0; l < world->settings.lanes; l++)
        released = released && process->lanes[l].task == TASK_NONE;
    if (held == 0 && released)
        process_join(world, process);
}

static void process_assignment(struct world *world, struct process *process, uint32_t number)
{
    struct stream *stream = &world->streams[number];
    bool mine = stream->owner == (uint32_t)(process - world->processes);
    if (process->trackers[number] != NULL && (!mine || stream->epoch != process->epochs[number])) {
        if (!world->calm && sim_below(world, 4) != 0)
            return;                           /* has not heard of it yet: a zombie */
        process_drop(world, process, number); /* lost: what is in a batch comes back late, with an old epoch */
        process_release(world, process);
        process_forget(process, number);
    }
    if (mine && process->trackers[number] == NULL)
        process_assigned(world, process, number);
    else if (mine && stream->revoking != NOT_REVOKING)
        process_revoked(world, process, number);
}

/* ---------------------------------------------------------------------------------------------------------- reading */

static void process_offer(struct world *world, struct process *process, struct sim_item *item, uint32_t number,
                          enum item_source source)
{
    const struct event_state *event = &world->events[number];
    uint64_t hash = stream_key_hash(event->record);
    item->event = number;
    item_of_record(&item->item, source, event->record, hash, &world->pipeline.topics[event->topic],
                   &world->pipeline.group);
    if (source == ITEM_PARKED && item_own_headers(&item->item) != 0)
        abort();
    lane_offer(process->lanes[lane_of_key(hash, world->settings.lanes)].env.lane, &item->item.entry);
    world->count.deliveries++;
    world->progress++;
}

static void process_poll(struct world *world, struct process *process, uint32_t number)
{
    struct stream *stream = &world->streams[number];
    struct tracker *tracker = process->trackers[number];
    if (tracker == NULL || stream->epoch != process->epochs[number] || stream->revoking != NOT_REVOKING ||
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
            struct sim_item *item = item_new(process);
            item->item.stream = number;
            item->item.epoch = process->epochs[number];
            item->item.position = record->position;
            item->item.ticket = ticket;
            process->held[number]++;
            process_offer(world, process, item, record->event, ITEM_BUS);
        } else if (code == -ENOSPC) {
            return; /* offered again later */
        }
        (*next)++;
    }
}

static void process_parked(struct world *world, struct process *process)
{
    for (int n = 0; n < 8 && process->in_flight < world->settings.in_flight; n++) {
        uint32_t event = database_parked_take(world);
        if (event == SIM_NONE)
            return;
        process_offer(world, process, item_new(process), event, ITEM_PARKED);
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
    for (uint32_t s = 0; s < world->settings.streams && !process->fenced; s++)
        process_assignment(world, process, s);
    if (process->fenced && (world->calm || (dice >> 50 & 3) == 0))
        process_rejoin(world, process);
    for (uint32_t s = 0; s < world->settings.streams; s++)
        process_poll(world, process, (uint32_t)((s + dice) % world->settings.streams));
    process_parked(world, process);
    process->assignment += (dice >> 32 & 63) == 0; /* the keeper lets them look again */
    for (uint32_t l = 0; l < world->settings.lanes; l++) {
        if (sim_odds(world, world->settings.crash)) {
            process_crash(world, process);
            return;
        }
        for (uint64_t steps = dice >> (8 + l * 4) & 3; steps > 0; steps--)
            lane_step(world, &process->lanes[l]);
    }
    for (uint32_t s = 0; (dice >> 40 & 3) == 0 && s < world->settings.streams; s++)
        process_commit(world, process, s);
    if ((dice >> 44 & 15) == 0 && !world->settings.transactional)
        (void)database_sweep(world, process->incarnation, world->settings.sweep_after_ms);
}
