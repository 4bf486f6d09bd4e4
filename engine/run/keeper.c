/*
 * keeper.c - see keeper.h.
 *
 * Parked events and ticks are looked for whenever one may be due, and once a second whether an operator made one due;
 * the other chores are a table, each with its period.
 */
#include "run/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "run/parked.h"
#include "run/schedules.h"
#include "run/state.h"
#include "run/sweep.h"
#include "run/timeouts.h"
#include "run/watchdog.h"
#include "store/ledger.h"
#include "store/ledger_after.h"
#include "store/ledger_limit.h"
#include "store/ledger_timeout.h"

#include <errno.h>
#include <stdlib.h>

enum {
    KEEPER_PASS_MS = 1000, /* the longest sleep: a wall clock may jump */
    KEEPER_CLOSED_MS = 20, /* while the engine is not open */
    KEEPER_PRUNE_LIMIT = 10000,
    KEEPER_PRUNE_CHAINS = 1000,   /* at a time, */
    KEEPER_PRUNE_CHAINS_MS = 500, /* for so long */
    KEEPER_LAG_MS = 10000,
    KEEPER_LAG_SHARE = 20,      /* looking up the lag, or lost keys, may take one part of so many of the time */
    KEEPER_LETTERS_SHARE = 100, /* and counting dead letters one of so many */
};

enum { CHORE_COUNT = 12 };

struct keeper {
    struct engine *engine;
    pthread_t thread;
    bool started;
    struct connection *connection; /* NULL without a store */
    struct arena *arena;
    struct schedule_run *schedules;
    int64_t due_ms[CHORE_COUNT]; /* monotonic */
    struct series *outbox_age, *outbox_refused, *parked, *parked_unknown, *stuck, *undoing, *chain_age, *held_keys,
        *held_events, *held_age;
    struct series **dead_open; /* by topic.index; the last one is of topics that the file does not have */
};

/* ---------------------------------------------------------------------------------------------------------- chores */

/* Each does its work and returns 0, or when it wants to run again if that is later than its period (milliseconds). */

static int64_t chore_maintain(struct keeper *keeper)
{
    bus_maintain(keeper->engine->bus);
    return 0;
}

static int64_t chore_watchdog(struct keeper *keeper)
{
    watchdog_look(keeper->engine);
    return 0;
}

static int64_t chore_lag(struct keeper *keeper)
{
    const struct engine *engine = keeper->engine;
    int64_t began = clock_monotonic_ms();
    for (size_t i = 0; i < engine->group_count; i++) {
        int64_t lag = bus_lag(engine->bus, engine->groups[i].config->name);
        if (lag >= 0)
            series_set(engine->groups[i].metric_lag, lag);
    }
    return KEEPER_LAG_SHARE * (clock_monotonic_ms() - began); /* what is slow to tell is asked for seldom */
}

static int64_t chore_sweep(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    if (!engine->bus->kind->transactional)
        sweep_outbox(engine, keeper->connection, keeper->arena, engine->config->engine.sweep_after_ms);
    return 0;
}

/* What an operator changed in the tables is noticed within a second: the timer goes off at once, or when the next
 * parked event is due now. */
static int64_t chore_look(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    int64_t next_ms = INT64_MAX;
    if (schedules_look(engine, keeper->connection, keeper->schedules))
        timer_advance(&engine->parked_timer, clock_wall_ms());
    if (ledger_parked_next(keeper->connection, engine->numbers.groups, engine->config->group_count, &next_ms, NULL) ==
        STORE_OK)
        timer_advance(&engine->parked_timer, next_ms);
    if (!atomic_load(&engine->life.draining))
        parked_adopt(engine, keeper->connection, keeper->arena);
    return 0;
}

/* Keys whose row an operator deleted have their events still. */
static int64_t chore_held(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    size_t repaired = 0;
    int64_t began = clock_monotonic_ms();
    if (ledger_held_repair(keeper->connection, engine->numbers.groups, engine->config->group_count, &repaired, NULL) !=
            STORE_OK ||
        repaired == 0)
        return KEEPER_LAG_SHARE * (clock_monotonic_ms() - began);
    log_line(LOG_WARN, "keeper",
             "%zu held keys had events in sluice.held and no row in sluice.held_key: they have one again, and are due",
             repaired);
    for (size_t i = 0; i < engine->group_count; i++)
        group_changed(&engine->groups[i]);
    return 0;
}

static int64_t chore_pauses(struct keeper *keeper)
{
    struct error error = {0};
    if (pauses_look(keeper->engine, keeper->connection, &error) != 0)
        log_rarely(10000, connection_log_level(keeper->connection), "keeper", "what is paused cannot be read now: %s",
                   error.text);
    return 0;
}

static int64_t chore_timeouts(struct keeper *keeper)
{
    if (!atomic_load(&keeper->engine->life.draining)) /* another process aborts them */
        timeouts_take(keeper->engine, keeper->connection, keeper->arena);
    return 0;
}

/* chain_age_ms: of the oldest chain as the engine sees it, which takes one as over whose undos are sent. */
static void gauge_chains(struct keeper *keeper, int64_t chain_age_ms)
{
    const struct engine *engine = keeper->engine;
    size_t count = engine->config->chain_count;
    struct span *followed = arena_array(keeper->arena, struct span, count + 1);
    int64_t undoing, oldest_ms;
    for (size_t c = 0; c < count; c++)
        followed[c] = chain_followed_undos(&engine->config->chains[c], keeper->arena);
    if (ledger_chains_undoing(keeper->connection, engine->numbers.chains, followed, count, &undoing, &oldest_ms,
                              NULL) == STORE_OK) {
        series_set(keeper->undoing, undoing);
        series_set(keeper->chain_age, (oldest_ms > chain_age_ms ? oldest_ms : chain_age_ms) / 1000);
    }
    arena_reset(keeper->arena);
}

static int64_t chore_gauges(struct keeper *keeper)
{
    struct ledger_health health;
    if (ledger_health(keeper->connection, &health, NULL) != STORE_OK)
        return 0;
    series_set(keeper->outbox_age, health.outbox_age_ms / 1000);
    series_set(keeper->outbox_refused, health.outbox_refused);
    series_set(keeper->parked, health.parked);
    series_set(keeper->parked_unknown, health.parked_unknown);
    series_set(keeper->stuck, health.chains_stuck);
    gauge_chains(keeper, health.chain_age_ms);
    series_set(keeper->held_keys, health.held_keys);
    series_set(keeper->held_events, health.held_events);
    series_set(keeper->held_age, health.held_age_ms / 1000);
    if (health.parked_paused > 0)
        pauses_release(keeper->engine, keeper->connection);
    /* One may have been written by a COMMIT that nobody knows of, or by an earlier owner of its stream after its lane
     * had looked. */
    atomic_store(&keeper->engine->keys_held, health.held_keys > 0);
    for (size_t i = 0; health.held_keys > 0 && i < keeper->engine->group_count; i++)
        group_wake(&keeper->engine->groups[i]);
    return 0;
}

/* By their topics. Many are counted seldom: it takes 0.2 s for a million. */
static int64_t chore_letters(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    const struct pipeline *config = engine->config;
    struct rows *rows;
    int64_t began = clock_monotonic_ms();
    if (ledger_dead_letters_open(keeper->connection, engine->numbers.groups, config->group_count, &rows, NULL) !=
        STORE_OK)
        return 0;
    int64_t *counts = arena_array(keeper->arena, int64_t, config->topic_count + 1);
    for (size_t i = 0; i < rows_count(rows); i++) {
        const struct topic *topic = pipeline_topic(config, arena_string(keeper->arena, rows_span(rows, i, 0)));
        counts[topic == NULL ? config->topic_count : topic->index] += rows_int64(rows, i, 1);
    }
    for (size_t i = 0; i <= config->topic_count; i++)
        series_set(keeper->dead_open[i], counts[i]);
    arena_reset(keeper->arena);
    return KEEPER_LETTERS_SHARE * (clock_monotonic_ms() - began);
}

static int64_t chore_prune(struct keeper *keeper)
{
    int64_t keep_ms = keeper->engine->config->store.inbox_retention_ms;
    size_t pruned = 0;
    struct error error = {0};
    if (ledger_prune(keeper->connection, keep_ms, KEEPER_PRUNE_LIMIT, &pruned, &error) == STORE_OK && pruned > 0)
        log_debug("keeper", "pruned %zu inbox rows", pruned);
    (void)ledger_replies_prune(keeper->connection, keep_ms, &error);
    (void)ledger_attempts_prune(keeper->connection, keep_ms, &error);
    if (keeper->engine->config->limit_count > 0)
        (void)ledger_limit_prune(keeper->connection, &error);
    (void)ledger_after_prune(keeper->connection, keep_ms, KEEPER_PRUNE_LIMIT, &error);
    (void)ledger_dead_letters_prune(keeper->connection, keep_ms, KEEPER_PRUNE_LIMIT, &error);
    return 0;
}

/* In steps, so that no transaction is long; what is left waits for the next time. */
static int64_t chore_prune_chains(struct keeper *keeper)
{
    const struct engine *engine = keeper->engine;
    const int64_t until_ms = clock_monotonic_ms() + KEEPER_PRUNE_CHAINS_MS;
    for (size_t c = 0; c < engine->config->chain_count; c++) {
        const struct chain *chain = &engine->config->chains[c];
        size_t pruned = chain->retain_ms > 0 ? KEEPER_PRUNE_CHAINS : 0;
        while (pruned == KEEPER_PRUNE_CHAINS && clock_monotonic_ms() < until_ms && !atomic_load(&engine->life.stop))
            if (ledger_chains_prune(keeper->connection, engine->numbers.chains[c], chain->retain_ms,
                                    KEEPER_PRUNE_CHAINS, &pruned, NULL) != STORE_OK)
                return 0;
    }
    return 0;
}

static const struct {
    int64_t (*run)(struct keeper *keeper);
    int64_t first_ms, every_ms;
    bool needs_store;
} chores[CHORE_COUNT] = {
    {chore_maintain, 0, 1000, false},
    {chore_watchdog, 0, 1000, false},
    {chore_lag, 0, KEEPER_LAG_MS, false},
    {chore_sweep, 0, 1000, true},
    {chore_look, 0, 1000, true},
    {chore_timeouts, 0, 1000, true},
    {chore_held, 0, 1000, true},
    {chore_gauges, 0, 5000, true},
    {chore_letters, 0, 5000, true},
    {chore_prune, 10000, 10000, true},
    {chore_prune_chains, 1000, 2000, true},
    {chore_pauses, 0, 500, true},
};

static void run_chores(struct keeper *keeper)
{
    const int64_t now = clock_monotonic_ms(); /* of all: what is due together now is due together again */
    for (size_t i = 0; i < CHORE_COUNT; i++) {
        if (now < keeper->due_ms[i] || (chores[i].needs_store && keeper->connection == NULL))
            continue;
        int64_t later = chores[i].run(keeper);
        keeper->due_ms[i] = now + (later > chores[i].every_ms ? later : chores[i].every_ms);
    }
}

/* ------------------------------------------------------------------------------------------------------- the thread */

/* What is due now; returns how long nothing else will be. */
static int64_t keeper_pass(struct keeper *keeper)
{
    struct engine *engine = keeper->engine;
    int64_t wait = KEEPER_PASS_MS;
    if (!atomic_load(&engine->open)) {
        (void)timer_due(&engine->parked_timer); /* the opener sets it again */
        return KEEPER_CLOSED_MS;
    }
    if (atomic_load(&engine->life.draining)) {
        (void)timer_due(&engine->parked_timer); /* another process takes what is due */
    } else {
        if (keeper->connection != NULL)
            parked_take(engine, keeper->connection, keeper->arena);
        if (engine->scheduler != NULL) {
            int64_t left = schedules_tick(engine, keeper->schedules) - clock_wall_ms();
            wait = left < wait ? left : wait;
        }
    }
    run_chores(keeper);
    for (size_t i = 0; i < CHORE_COUNT; i++) {
        int64_t left = keeper->due_ms[i] - clock_monotonic_ms();
        if (left < wait && !(chores[i].needs_store && keeper->connection == NULL))
            wait = left;
    }
    return wait;
}

static bool has_timeouts(const struct pipeline *config)
{
    for (size_t i = 0; i < config->chain_count; i++)
        if (config->chains[i].timeout_ms > 0)
            return true;
    return false;
}

/* What no other process and no operator changes: only these go on while time passes in one step. */
static bool chore_is_own(const struct keeper *keeper, size_t i)
{
    const struct pipeline *config = keeper->engine->config;
    return chores[i].run == chore_maintain || (chores[i].run == chore_timeouts && has_timeouts(config)) ||
           (chores[i].run == chore_pauses && config->dependency_count > 0);
}

void keeper_step(struct engine *engine, bool looks)
{
    struct keeper *keeper = engine->keeper;
    for (size_t i = 0; i < CHORE_COUNT; i++)
        keeper->due_ms[i] = looks || chore_is_own(keeper, i) ? 0 : INT64_MAX;
    (void)keeper_pass(keeper);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The timer goes off as well for what was taken, in case that its process dies: when that has ended, nothing is due. */
static int64_t parked_due_ms(struct engine *engine)
{
    int64_t due_ms = timer_due_ms(&engine->parked_timer), next_ms = 0;
    if (due_ms != INT64_MAX && engine->keeper->connection != NULL &&
        ledger_parked_next(engine->keeper->connection, engine->numbers.groups, engine->config->group_count, &next_ms,
                           NULL) == STORE_OK &&
        next_ms == INT64_MAX)
        return INT64_MAX;
    return due_ms;
}

int64_t keeper_due_ms(struct engine *engine, int64_t *ret_tick_ms)
{
    struct keeper *keeper = engine->keeper;
    int64_t due_ms = parked_due_ms(engine), timeout_ms = INT64_MAX;
    *ret_tick_ms = INT64_MAX;
    for (size_t i = 0; i < engine->config->schedule_count; i++) {
        const struct schedule_run *run = &keeper->schedules[i];
        if (!atomic_load(&engine->bindings[engine->config->schedules[i].binding->index].paused) &&
            run->next_ms != INT64_MAX)
            *ret_tick_ms = earlier(*ret_tick_ms, run->next_ms + run->ahead_ms);
    }
    for (size_t i = 0; i < CHORE_COUNT; i++)
        if (chores[i].run == chore_pauses && atomic_load(&engine->pauses.count) > 0)
            *ret_tick_ms = earlier(*ret_tick_ms, keeper->due_ms[i]);
    if (keeper->connection != NULL && has_timeouts(engine->config))
        (void)ledger_chain_timeout_next(keeper->connection, &timeout_ms, NULL);
    return earlier(due_ms, timeout_ms);
}

static void *keeper_main(void *context)
{
    struct keeper *keeper = context;
    while (timer_wait(&keeper->engine->parked_timer, keeper_pass(keeper)))
        ;
    return NULL;
}

int keeper_start(struct engine *engine, struct error *error)
{
    struct metrics *metrics = engine->metrics;
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (keeper == NULL)
        return error_set(error, ENOMEM, "out of memory for the keeper");
    engine->keeper = keeper;
    keeper->engine = engine;
    keeper->arena = arena_create(64 * 1024, 256 * 1024 * 1024);
    keeper->schedules = calloc(engine->config->schedule_count + 1, sizeof *keeper->schedules);
    if (engine->store != NULL)
        keeper->connection = connection_create(engine->store, "keeper");
    keeper->outbox_age = metrics_series(metrics, METRIC_OUTBOX_AGE, NULL, NULL);
    keeper->outbox_refused = metrics_series(metrics, METRIC_OUTBOX_REFUSED, NULL, NULL);
    keeper->parked = metrics_series(metrics, METRIC_PARKED, NULL, NULL);
    keeper->parked_unknown = metrics_series(metrics, METRIC_PARKED_UNKNOWN, NULL, NULL);
    keeper->stuck = metrics_series(metrics, METRIC_CHAINS_STUCK, NULL, NULL);
    keeper->undoing = metrics_series(metrics, METRIC_CHAINS_UNDOING, NULL, NULL);
    keeper->chain_age = metrics_series(metrics, METRIC_CHAINS_OLDEST, NULL, NULL);
    keeper->held_keys = metrics_series(metrics, METRIC_HELD_KEYS, NULL, NULL);
    keeper->held_events = metrics_series(metrics, METRIC_HELD_EVENTS, NULL, NULL);
    keeper->held_age = metrics_series(metrics, METRIC_HELD_AGE, NULL, NULL);
    keeper->dead_open = calloc(engine->config->topic_count + 1, sizeof(struct series *));
    for (size_t i = 0; keeper->dead_open != NULL && i <= engine->config->topic_count; i++)
        keeper->dead_open[i] = metrics_series(
            metrics, METRIC_DEAD_OPEN, i < engine->config->topic_count ? engine->config->topics[i]->name : "", NULL);
    for (size_t i = 0; i < CHORE_COUNT; i++)
        keeper->due_ms[i] = clock_monotonic_ms() + chores[i].first_ms;
    if (keeper->arena == NULL || keeper->schedules == NULL || keeper->dead_open == NULL ||
        (engine->store != NULL && keeper->connection == NULL)) {
        keeper_destroy(engine);
        return error_set(error, ENOMEM, "out of memory for the keeper");
    }
    if (engine->parts.stepped)
        return 0;
    int code = pthread_create(&keeper->thread, NULL, keeper_main, keeper);
    if (code != 0) {
        keeper_destroy(engine);
        return error_set(error, code, "no thread for the keeper: %s", strerror(code));
    }
    keeper->started = true;
    return 0;
}

void keeper_stop(struct engine *engine)
{
    struct keeper *keeper = engine->keeper;
    if (keeper == NULL || !keeper->started)
        return;
    timer_stop(&engine->parked_timer);
    if (keeper->connection != NULL)
        connection_interrupt(keeper->connection);
    pthread_join(keeper->thread, NULL);
    keeper->started = false;
}

void keeper_destroy(struct engine *engine)
{
    struct keeper *keeper = engine->keeper;
    if (keeper == NULL)
        return;
    connection_destroy(keeper->connection);
    arena_destroy(keeper->arena);
    free(keeper->schedules);
    free(keeper->dead_open);
    free(keeper);
    engine->keeper = NULL;
}
