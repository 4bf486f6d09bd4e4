/*
 * sim.c - runs the engine's batches through years of trouble in seconds.
 *
 *     sim SEED EVENTS [RUNS] [--plant NAME] [--log]
 *
 * RUNS runs (default 1), of seeds SEED, SEED + 1, …, each of EVENTS events from outside: prints what they met and
 * the events handled a minute. A violation prints its sentence, the seed and the command that shows it again, and
 * exits 1. --plant makes one mistake on purpose (sim alone lists them), to see that the checks find it. --log shows the
 * engine's log, with the world's time.
 */
/* Coroutines change stacks with longjmp(), which the fortified one takes for an error. */
#undef _FORTIFY_SOURCE

#include "world/sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* One program, one translation unit. */
#include "world/after.c"
#include "world/breaker.c"
#include "world/bus.c"
#include "world/chains.c"
#include "world/check.c"
#include "world/clock.c"
#include "world/connection.c"
#include "world/coroutine.c"
#include "world/database.c"
#include "world/event.c"
#include "world/faults.c"
#include "world/handler.c"
#include "world/heap.c"
#include "world/held.c"
#include "world/lane.c"
#include "world/ledger.c"
#include "world/limit.c"
#include "world/outbox_table.c"
#include "world/pipeline.c"
#include "world/process.c"
#include "world/streams.c"
#include "world/suspect.c"

enum { SIM_TICKS_STILL = 100000, SIM_TICKS_CALM = 3000000, SIM_BACKLOG = 400, SIM_POOL = 24, EVENTS_MAX = 5000000 };

static const char *const plant_names[PLANT_COUNT] = {
    "none",
    "effect-before-claim",
    "watermark-over-incomplete",
    "old-epoch-accepted",
    "held-key-ignored",
    "late-step-not-undone",
    "unknown-commit-is-done",
    "emit-not-awaited",
    "claim-kept-on-retry",
    "unpark-before-commit",
    "passes-a-requeued-event",
    "held-keys-not-loaded",
    "follower-overtakes",
    "held-row-ends-early",
};

/* ------------------------------------------------------------------------------------------------------------ tools */

uint64_t sim_random(struct world *world)
{
    uint64_t x = world->random += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static char again_text[160]; /* the command, for a signal handler */

static void again_write(void)
{
    size_t length = strlen(again_text);
    if (write(STDOUT_FILENO, again_text, length) != (ssize_t)length)
        _exit(2);
}

static void on_signal(int number)
{
    static const char text[] = "FAILED: an assertion of the engine, or a fault\n";
    (void)number;
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0)
        _exit(2);
    again_write();
    _exit(1);
}

void sim_fail(const struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED at %lld ms: ", (long long)world->now_ms);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    again_write();
    _exit(1);
}

void *sim_grow(void *array, size_t *size, size_t count, size_t element)
{
    if (count < *size)
        return array;
    *size = *size == 0 ? 256 : *size * 2;
    array = realloc(array, *size * element);
    if (array == NULL)
        abort();
    return array;
}

/* ------------------------------------------------------------------------------------------------------------ a run */

static uint32_t one_in(struct world *world, uint32_t often, uint32_t seldom)
{
    return sim_below(world, 4) == 0 ? 0 : often + sim_below(world, seldom - often);
}

static void sim_settings(struct world *world)
{
    struct settings *s = &world->settings;
    s->streams = 1 + sim_below(world, SIM_STREAMS);
    s->processes = 1 + sim_below(world, SIM_PROCESSES);
    s->lanes = 1 + sim_below(world, SIM_LANES);
    s->keys = sim_below(world, 2) ? 2 + sim_below(world, 12) : 20 + sim_below(world, 500);
    s->batch = sim_below(world, 3) == 0 ? 1 + sim_below(world, 6) : 8 + sim_below(world, SIM_BATCH - 7);
    s->in_flight = 8 + sim_below(world, 400);
    s->transactional = sim_below(world, 4) == 0;
    for (uint32_t kind = 0; kind < KIND_COUNT; kind++)
        s->max_events[kind] = 1 + sim_below(world, 40);
    s->crash = one_in(world, 300, 20000);
    s->rebalance = one_in(world, 200, 10000);
    s->outage = one_in(world, 2000, 50000);
    s->reply_lost = one_in(world, 20, 1000);
    s->freeze = one_in(world, 500, 20000);
    s->duplicate = one_in(world, 10, 200);
    s->deadlock = one_in(world, 200, 20000);
    s->trouble = sim_below(world, 3) == 0 ? sim_below(world, 2) : 1 + sim_below(world, 25);
    s->chains = sim_below(world, 40);
    s->retry = (struct retry_policy){.max_retries = 1 + (int32_t)sim_below(world, 4),
                                     .initial_interval_ms = 1 + sim_below(world, sim_below(world, 2) ? 40 : 3000),
                                     .multiplier = 2,
                                     .max_interval_ms = sim_below(world, 2) ? 400 : 8000,
                                     .jitter = 0.2};
    s->ladder = (struct ladder){.max_retries = 1 + (int32_t)sim_below(world, 3),
                                .initial_interval_ms = 100 + sim_below(world, 900),
                                .multiplier = 2,
                                .max_interval_ms = 4000};
    s->sweep_after_ms = 500;
    s->hold_ms = 2000;
    s->followers_max = 1 + sim_below(world, 40);
    s->stored_max = sim_below(world, 8) == 0 ? 0 : 1 + sim_below(world, 100);
}

/* Events from outside wait in a small pool and are published in a random order, so steps and aborts meet in all
 * ways. */
struct pool {
    struct event_state events[SIM_POOL + 2 * SIM_STEPS + 3];
    size_t count;
};

static struct event_state event_from_outside(const struct world *world, const struct topic *topic, uint32_t key)
{
    return (struct event_state){.topic = (uint8_t)topic->index,
                                .kind = (uint8_t)world->pipeline.states[topic->index].kind,
                                .chain = SIM_NONE,
                                .parent = SIM_NONE,
                                .key = key};
}

static uint32_t times_of(struct world *world)
{
    uint32_t dice = sim_below(world, 8);
    return dice == 0 ? 0 : dice <= 5 ? 1 : 2;
}

static void pool_chain(struct world *world, struct pool *pool)
{
    const struct sim_pipeline *pipeline = &world->pipeline;
    world->chains = sim_grow(world->chains, &world->chain_size, world->chain_count, sizeof *world->chains);
    uint32_t number = (uint32_t)world->chain_count++;
    struct correlation *chain = &world->chains[number];
    *chain = (struct correlation){.config = sim_below(world, (uint32_t)pipeline->config.chain_count)};
    uint32_t key = sim_below(world, world->settings.keys);
    bool one_key = sim_below(world, 2);
    /* Of eight events of a chain one is missing and two come twice; half of the chains have no abort. */
    int32_t step_count = pipeline->shapes[chain->config].step_count;
    for (int32_t step = 0; step <= step_count; step++) {
        const struct topic *topic = step == step_count ? pipeline->abort[chain->config]
                                                       : pipeline->done[chain->config][step];
        uint32_t times = step == step_count && sim_below(world, 2) ? 0 : times_of(world);
        for (; times > 0; times--) {
            struct event_state event = event_from_outside(world, topic,
                                                          one_key ? key : sim_below(world, world->settings.keys));
            event.chain = number;
            event.step = (uint8_t)step;
            pool->events[pool->count++] = event;
        }
    }
}

static void sim_inject(struct world *world, struct pool *pool)
{
    while (pool->count < SIM_POOL && world->inputs + pool->count < world->inputs_wanted) {
        if (sim_below(world, 100) < world->settings.chains)
            pool_chain(world, pool);
        else
            pool->events[pool->count++] = event_from_outside(world, world->pipeline.first[KIND_WORK],
                                                             sim_below(world, world->settings.keys));
    }
    for (uint32_t n = 1 + sim_below(world, 64); n > 0 && pool->count > 0; n--) {
        size_t i = sim_below(world, (uint32_t)pool->count);
        struct event_state event = pool->events[i];
        pool->events[i] = pool->events[--pool->count];
        uint32_t number = event_input(world, event);
        stream_append(world, number);
        world->inputs++;
        if (sim_odds(world, world->settings.duplicate)) { /* somebody did not hear an acknowledgement */
            number -= sim_below(world, number < 100 ? number + 1 : 100);
            if (world->events[number].first_index != SIM_NONE)
                stream_append(world, number);
        }
        if (pool->count == 0 || (pool->count < SIM_POOL / 2 && world->inputs + pool->count < world->inputs_wanted))
            break;
    }
    world->progress++;
}

static size_t sim_backlog(const struct world *world)
{
    size_t backlog = 0;
    for (uint32_t s = 0; s < world->settings.streams; s++)
        backlog += world->streams[s].count - world->streams[s].committed_index;
    return backlog;
}

static bool sim_over(const struct world *world)
{
    if (world->outbox_live != 0 || world->parked_count != 0 || !held_empty(world) || !streams_drained(world) ||
        world->orphans != NULL)
        return false;
    for (uint32_t p = 0; p < world->settings.processes; p++)
        if (!process_idle(world, &world->processes[p]))
            return false;
    return true;
}

static void sim_loop(struct world *world)
{
    struct pool pool = {0};
    size_t still = 0, seen = 0, calm = 0;
    for (size_t tick = 0;; tick++) {
        if (world->inputs + pool.count < world->inputs_wanted || pool.count > 0) {
            if (tick % 4 == 0 && sim_backlog(world) < SIM_BACKLOG)
                sim_inject(world, &pool);
        } else if (!world->calm && sim_below(world, 500) == 0) {
            faults_end(world);
        }
        if (tick % 4 == 0 || still > 0)
            faults_some(world);
        process_step(world, &world->processes[faults_victim(world)]);
        if (world->progress != seen) {
            seen = world->progress;
            still = 0;
            world->now_ms += sim_below(world, 3);
        } else if (++still > SIM_TICKS_STILL) {
            sim_fail(world, "nothing moves any more: %zu outbox rows, %zu parked, %zu in the log", world->outbox_live,
                     world->parked_count, sim_backlog(world));
        } else {
            world->now_ms += still < 24 ? (int64_t)still / 4 : still < 200 ? 10 : 500;
        }
        if (world->calm && tick % 64 == 0 && sim_over(world))
            break;
        calm += world->calm;
        if (calm > SIM_TICKS_CALM + 100 * world->event_count)
            sim_fail(world,
                     "nothing goes wrong any more, and it does not come to an end: %zu outbox rows, %zu parked, "
                     "%zu in the log",
                     world->outbox_live, world->parked_count, sim_backlog(world));
    }
}

static void sim_run(struct world *world, uint64_t seed, size_t events, enum plant plant)
{
    *world = (struct world){
        .seed = seed, .random = seed * 0x2545f4914f6cdd1dull + 1, .plant = plant, .inputs_wanted = events};
    snprintf(again_text, sizeof again_text, "again: sim %llu %zu%s%s\n", (unsigned long long)seed, events,
             plant == PLANT_NONE ? "" : " --plant ", plant == PLANT_NONE ? "" : plant_names[plant]);
    clock_of(world);
    world->bytes = arena_create(1 << 18, SIZE_MAX);
    sim_settings(world);
    pipeline_draw(world);
    pipeline_plant(plant);
    bus_open(world);
    world->parked = heap_create(SIZE_MAX / 64);
    world->key_last = calloc(world->settings.keys, sizeof *world->key_last);
    world->key_effect = calloc(world->settings.keys, sizeof *world->key_effect);
    held_open(world);
    for (uint32_t s = 0; s < world->settings.streams; s++)
        world->streams[s].owner = SIM_NONE;
    sim_loop(world);
    check_end(world);
}

static void sim_free(struct world *world)
{
    for (uint32_t p = 0; p < SIM_PROCESSES; p++)
        process_free(&world->processes[p]);
    for (uint32_t s = 0; s < SIM_STREAMS; s++)
        free(world->streams[s].records);
    for (struct transaction *next, *each = world->free_transactions; each != NULL; each = next) {
        next = each->next;
        transaction_free(each);
    }
    heap_destroy(world->parked);
    pipeline_free(&world->pipeline);
    arena_destroy(world->bytes);
    free(world->ids);
    free(world->attempted);
    free(world->events);
    free(world->chains);
    free(world->outbox);
    free(world->outbox_events);
    free(world->held);
    free(world->held_rows);
    free(world->held_keys);
    free(world->key_last);
    free(world->key_effect);
}

/* ---------------------------------------------------------------------------------------------------------- command */

static int usage(void)
{
    fprintf(stderr, "usage: sim SEED EVENTS [RUNS] [--plant NAME] [--log]\n  plants:");
    for (int i = 1; i < PLANT_COUNT; i++)
        fprintf(stderr, " %s", plant_names[i]);
    fprintf(stderr, "\n");
    return 64;
}

/* PLANT_COUNT when there is none of that name. */
static enum plant plant_named(const char *name)
{
    enum plant plant = PLANT_NONE + 1;
    while (plant < PLANT_COUNT && strcmp(plant_names[plant], name) != 0)
        plant++;
    return plant;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What all runs together have met. */
struct sums {
    size_t inputs, events, deliveries, batches, alone, crashes, rebalances, fenced, unknown, late_rows, retries, parked,
        held, undos;
    double virtual_s;
};

static void sums_add(struct sums *sums, const struct world *world)
{
    sums->inputs += world->inputs;
    sums->events += world->event_count;
    sums->deliveries += world->count.deliveries;
    sums->batches += world->count.batches;
    sums->alone += world->count.alone;
    sums->crashes += world->count.crashes;
    sums->rebalances += world->count.rebalances;
    sums->fenced += world->count.fenced;
    sums->unknown += world->count.unknown;
    sums->late_rows += world->count.late_rows;
    sums->retries += world->count.retries;
    sums->parked += world->count.parked;
    sums->held += world->count.held;
    sums->undos += world->count.undos;
    sums->virtual_s += (double)world->now_ms / 1000;
}

static void sums_print(const struct sums *sums, unsigned long long runs, double took_s)
{
    printf("runs=%llu inputs=%zu events=%zu deliveries=%zu batches=%zu alone=%zu crashes=%zu rebalances=%zu fenced=%zu "
           "unknown_commits=%zu late_rows=%zu retries=%zu parked=%zu held=%zu undos=%zu virtual_hours=%.1f\n",
           runs, sums->inputs, sums->events, sums->deliveries, sums->batches, sums->alone, sums->crashes,
           sums->rebalances, sums->fenced, sums->unknown, sums->late_rows, sums->retries, sums->parked, sums->held,
           sums->undos, sums->virtual_s / 3600);
    printf("ok: %.1f million inputs a minute, %.1f million events\n", (double)sums->inputs / took_s * 60 / 1e6,
           (double)sums->events / took_s * 60 / 1e6);
}

int main(int argc, char **argv)
{
    unsigned long long numbers[3] = {0, 0, 1};
    int number_count = 0;
    enum plant plant = PLANT_NONE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--log") == 0) {
            log_shown = true;
            continue;
        }
        if (strcmp(argv[i], "--plant") == 0 && i + 1 < argc) {
            plant = plant_named(argv[++i]);
            continue;
        }
        char *end;
        unsigned long long number = strtoull(argv[i], &end, 10);
        if (number_count == 3 || end == argv[i] || *end != '\0')
            return usage();
        numbers[number_count++] = number;
    }
    if (plant == PLANT_COUNT || number_count < 2 || numbers[1] == 0 || numbers[1] > EVENTS_MAX)
        return usage();
    signal(SIGABRT, on_signal);
    signal(SIGSEGV, on_signal);

    static struct world world;
    struct sums sums = {0};
    double began = seconds();
    for (unsigned long long run = 0; run < numbers[2]; run++) {
        sim_run(&world, numbers[0] + run, (size_t)numbers[1], plant);
        sums_add(&sums, &world);
        sim_free(&world);
    }
    sums_print(&sums, numbers[2], seconds() - began);
    return 0;
}
