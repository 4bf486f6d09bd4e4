/*
 * lane.c - a lane as run/worker.c has it: takes what waits, runs it as a batch, sleeps until there is more. Its thread
 * is a coroutine, which stops at every call of the store and the bus.
 */
#include "sim.h"

#include "batch/held.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LANE_DELETE_MS = 150, /* without another transaction for so long, published rows are deleted by one of their own */
    LANE_DELETE_AGAIN_MS = 1000, /* and again after this when that failed */
};

/* One of each kind for all: what they count is nobody's concern here. */
static struct metrics *lane_metrics;

static struct series *lane_series(enum metric metric)
{
    if (lane_metrics == NULL)
        lane_metrics = metrics_create();
    return metrics_series(lane_metrics, metric, "sim", "sim");
}

void lane_pause(struct world *world)
{
    (void)world;
    coroutine_yield();
}

/* ----------------------------------------------------------------------------------- what batches ask of the engine */

static bool lane_sleep(void *context, int64_t ms)
{
    struct sim_lane *lane = context;
    lane->until_ms = lane->world->now_ms + ms;
    while (lane->world->now_ms < lane->until_ms)
        lane_pause(lane->world);
    return true;
}

/* An item that was read from the table, in memory of its own. */
static void lane_held_over(struct sim_lane *lane, struct item *item)
{
    for (size_t i = 0; i < lane->count; i++)
        if (lane->taken[i] == &item->entry)
            lane->taken[i] = NULL;
    items_free(&item, 1);
}

static size_t lane_streams(void *context, struct arena *arena, struct span **ret)
{
    const struct sim_lane *lane = context;
    size_t count = 0;
    *ret = arena_array(arena, struct span, SIM_STREAMS);
    for (uint32_t s = 0; s < lane->world->settings.streams; s++)
        if (lane->process->trackers[s] != NULL)
            (*ret)[count++] = span_of(arena_format(arena, "%u", s));
    return count;
}

static void lane_finish(void *context, struct item **items, size_t count, bool complete)
{
    struct sim_lane *lane = context;
    struct process *process = lane->process;
    const struct world *world = lane->world;
    for (size_t i = 0; i < count; i++) {
        struct sim_item *item = (struct sim_item *)items[i];
        if (items[i]->source == ITEM_HELD) {
            lane_held_over(lane, items[i]);
            continue;
        }
        struct tracker *tracker = items[i]->source == ITEM_BUS ? process->trackers[items[i]->stream] : NULL;
        if (complete && tracker != NULL && !item->completed_early)
            tracker_complete(tracker,
                             world->plant == PLANT_OLD_EPOCH_ACCEPTED ? tracker_epoch(tracker) : items[i]->epoch,
                             items[i]->ticket);
        item_release(process, item);
    }
}

static void lane_parked(void *context, int64_t due_wall_ms)
{
    (void)context;
    (void)due_wall_ms; /* this world looks all the time */
}

/* ------------------------------------------------------------------------------------------------------- its thread */

static void lane_load(struct sim_lane *lane)
{
    uint32_t assignment = lane->process->assignment;
    struct held_page page = {0};
    if (lane->world->plant != PLANT_HELD_KEYS_NOT_LOADED && !held_load(&lane->env, true, &page))
        return;
    arena_reset(lane->env.arena);
    lane->held_assignment = assignment;
    lane->held_unknown = false;
}

static bool is_stored(const struct lane_entry *entry, void *context)
{
    (void)context;
    return ((const struct item *)entry)->source == ITEM_HELD;
}

/* It was in a batch when its stream was. */
static bool is_lost(const struct lane_entry *entry, void *context)
{
    const struct item *item = (const struct item *)entry;
    const struct process *process = ((const struct sim_lane *)context)->process;
    return item->source == ITEM_BUS &&
           (process->trackers[item->stream] == NULL || process->epochs[item->stream] != item->epoch);
}

static void drop_lost(struct lane_entry *entry, void *context)
{
    item_release(((struct sim_lane *)context)->process, (struct sim_item *)entry);
}

static void drop_stored(struct lane_entry *entry, void *context)
{
    lane_held_over(context, (struct item *)entry);
}

void lane_changed(struct sim_lane *lane)
{
    lane->changed = lane->task != TASK_NONE;
    if (lane->changed)
        return; /* at its end: a lane's thread does one thing after the other */
    lane_drop(lane->env.lane, is_stored, drop_stored, lane);
    lane_drop(lane->env.lane, is_lost, drop_lost, lane);
    lane_forget_stored(lane->env.lane);
    lane->held_assignment = lane->process->assignment;
    lane->held_unknown = true;
}

static void lane_main(void *context)
{
    struct sim_lane *lane = context;
    for (;;) {
        switch (lane->task) {
        case TASK_BATCH:
            batch_run(&lane->env, lane->taken, lane->count);
            arena_reset(lane->env.arena);
            lane->delete_ms = lane->world->now_ms + LANE_DELETE_MS;
            break;
        case TASK_RELEASE:
            outbox_settle(&lane->env);
            outbox_release_uncertain(&lane->env);
            lane->release = false;
            break;
        case TASK_DELETE:
            lane->delete_ms = lane->world->now_ms + LANE_DELETE_AGAIN_MS;
            outbox_settle(&lane->env);
            break;
        case TASK_HELD_LOAD:
            lane_load(lane);
            break;
        case TASK_HELD_FETCH:
            held_fetch(&lane->env);
            arena_reset(lane->env.arena);
            break;
        case TASK_NONE:
            break;
        }
        lane->task = TASK_NONE;
        if (lane->changed)
            lane_changed(lane);
        lane->world->progress++;
        coroutine_yield();
    }
}

/* A planted mistake: what was only begun is complete. */
static void complete_early(struct sim_lane *lane)
{
    for (size_t i = 0; i < lane->count; i++) {
        struct sim_item *item = (struct sim_item *)lane->taken[i];
        struct tracker *tracker = item->item.source == ITEM_BUS ? lane->process->trackers[item->item.stream] : NULL;
        if (tracker == NULL || item->completed_early)
            continue;
        tracker_complete(tracker, item->item.epoch, item->item.ticket);
        item->completed_early = true;
    }
}

static enum task lane_task(struct world *world, struct sim_lane *lane)
{
    if (lane->release)
        return TASK_RELEASE;
    if (lane->held_assignment != lane->process->assignment)
        return TASK_HELD_LOAD;
    if (lane->held_unknown)
        return TASK_NONE;
    lane->fetched = !lane->fetched && lane_stored_keys(lane->env.lane) > 0 &&
                    lane_due(lane->env.lane, world->now_ms) == 0;
    if (lane->fetched)
        return TASK_HELD_FETCH;
    lane->count = lane_take(lane->env.lane, world->now_ms, world->settings.batch, lane->taken);
    if (lane->count == 0)
        return outbox_needs_settling(&lane->env.outbox) && world->now_ms >= lane->delete_ms ? TASK_DELETE : TASK_NONE;
    world->count.batches++;
    world->count.alone += lane->taken[0]->isolated;
    for (size_t i = 0; world->plant == PLANT_FOLLOWER_OVERTAKES && i < lane->count; i++)
        lane->taken[i]->append = false;
    if (world->plant == PLANT_WATERMARK_OVER_INCOMPLETE)
        complete_early(lane);
    return TASK_BATCH;
}

void lane_step(struct world *world, struct sim_lane *lane)
{
    if (world->now_ms < lane->until_ms)
        return;
    if (lane->task == TASK_NONE)
        lane->task = lane_task(world, lane);
    if (lane->task == TASK_NONE)
        return;
    world->running = lane;
    coroutine_resume(lane->coroutine);
    world->running = NULL;
}

bool lane_at_rest(const struct sim_lane *lane)
{
    return lane->task == TASK_NONE && lane_waiting(lane->env.lane) == 0 && !lane->release &&
           !outbox_needs_settling(&lane->env.outbox);
}

/* ------------------------------------------------------------------------------------------------- its life and end */

void lane_start(struct world *world, struct process *process, uint32_t number)
{
    struct sim_lane *lane = &process->lanes[number];
    *lane = (struct sim_lane){.world = world, .process = process, .coroutine = coroutine_create(lane_main, lane)};
    lane->plugin.state = lane;
    connection_open(&lane->connection, world);
    lane->env = (struct batch_env){.config = &world->pipeline.config,
                                   .bindings = process->bindings,
                                   .numbers = &world->pipeline.numbers,
                                   .lane_number = number,
                                   .lane = lane_create(),
                                   .connection = &lane->connection,
                                   .plugins = &lane->plugin,
                                   .arena = arena_create(65536, SIZE_MAX),
                                   .outbox.owner = process->incarnation,
                                   .random = sim_random(world) | 1,
                                   .group = &world->pipeline.group,
                                   .consumer = &process->consumer,
                                   .member = &process->member,
                                   .attempts = &process->attempts,
                                   .batches = lane_series(METRIC_BATCHES),
                                   .batch_events = lane_series(METRIC_BATCH_EVENTS),
                                   .batch_seconds = lane_series(METRIC_BATCH_SECONDS),
                                   .bus = &world->bus,
                                   .quarantine = &process->quarantine,
                                   .context = lane,
                                   .sleep = lane_sleep,
                                   .finish = lane_finish,
                                   .parked = lane_parked,
                                   .lane_index = number,
                                   .lane_count = world->settings.lanes,
                                   .topic_names = world->pipeline.topic_names,
                                   .streams = lane_streams};
    lane_use_store(lane->env.lane, world->settings.followers_max, world->settings.stored_max,
                   world->settings.stored_max);
    static struct topic_run topics[SIM_TOPICS];
    for (size_t i = 0; i < SIM_TOPICS; i++)
        topics[i] = (struct topic_run){.emitted = lane_series(METRIC_EMITTED), .dead = lane_series(METRIC_DEAD)};
    lane->env.topics = topics;
    buffer_init(&lane->env.bytes, SIZE_MAX / 2);
    buffer_init(&lane->env.packed, SIZE_MAX / 2);
}

/* What its batch has and what waits, each once: items of the table are in memory of their own. */
static void lane_stop_held(struct sim_lane *lane)
{
    struct lane_entry *batch[SIM_BATCH];
    size_t count = 0;
    for (size_t i = 0; lane->task == TASK_BATCH && i < lane->count; i++)
        if (lane->taken[i] != NULL && is_stored(lane->taken[i], NULL))
            batch[count++] = lane->taken[i];
    lane->count = count;
    memcpy(lane->taken, batch, count * sizeof batch[0]);
    lane_drop(lane->env.lane, is_stored, drop_stored, lane); /* takes them out of `taken` */
    for (size_t i = 0; i < count; i++)
        if (lane->taken[i] != NULL)
            items_free((struct item **)&batch[i], 1);
    lane->count = 0;
}

void lane_stop(struct sim_lane *lane)
{
    if (lane->world == NULL)
        return;
    lane_stop_held(lane);
    coroutine_abandon(lane->coroutine);
    connection_crash(&lane->connection);
    lane_destroy(lane->env.lane);
    arena_destroy(lane->env.arena);
    buffer_free(&lane->env.bytes);
    buffer_free(&lane->env.packed);
    outbox_free(&lane->env.outbox);
    held_free(&lane->env);
    lane->world = NULL;
}
