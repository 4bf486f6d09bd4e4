/*
 * lane.c - a lane as run/worker.c has it: takes what waits, runs it as a batch, sleeps until there is more. Its thread
 * is a coroutine, which stops at every call of the store and the bus.
 */
#include "sim.h"

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

static void lane_finish(void *context, struct item **items, size_t count, bool complete)
{
    struct sim_lane *lane = context;
    struct process *process = lane->process;
    const struct world *world = lane->world;
    for (size_t i = 0; i < count; i++) {
        struct sim_item *item = (struct sim_item *)items[i];
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
            lane->release = false;
            outbox_settle(&lane->env);
            outbox_release_uncertain(&lane->env);
            break;
        case TASK_DELETE:
            lane->delete_ms = lane->world->now_ms + LANE_DELETE_AGAIN_MS;
            outbox_settle(&lane->env);
            break;
        case TASK_NONE:
            break;
        }
        lane->task = TASK_NONE;
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
    lane->count = lane_take(lane->env.lane, world->now_ms, world->settings.batch, lane->taken);
    if (lane->count == 0)
        return outbox_needs_settling(&lane->env.outbox) && world->now_ms >= lane->delete_ms ? TASK_DELETE : TASK_NONE;
    world->count.batches++;
    world->count.alone += lane->taken[0]->isolated;
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
    return lane->task == TASK_NONE && !lane->release && !outbox_needs_settling(&lane->env.outbox);
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
                                   .parked = lane_parked};
    static struct topic_run topics[SIM_TOPICS];
    for (size_t i = 0; i < SIM_TOPICS; i++)
        topics[i] = (struct topic_run){.emitted = lane_series(METRIC_EMITTED), .dead = lane_series(METRIC_DEAD)};
    lane->env.topics = topics;
    buffer_init(&lane->env.bytes, SIZE_MAX / 2);
    buffer_init(&lane->env.packed, SIZE_MAX / 2);
}

void lane_stop(struct sim_lane *lane)
{
    if (lane->world == NULL)
        return;
    coroutine_abandon(lane->coroutine);
    connection_crash(&lane->connection);
    lane_destroy(lane->env.lane);
    arena_destroy(lane->env.arena);
    buffer_free(&lane->env.bytes);
    buffer_free(&lane->env.packed);
    outbox_free(&lane->env.outbox);
    lane->world = NULL;
}
