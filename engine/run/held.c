/*
 * held.c - see held.h.
 */
#include "run/held.h"

#include "base/clock.h"
#include "batch/after.h"
#include "batch/held.h"
#include "run/state.h"

enum {
    HELD_STREAM_NAME_MAX = 300,
    HELD_AGAIN_MS = 200,
    HELD_LOOK_MS = 1000,   /* their time may be changed in the database: for those that are due now, */
    HELD_WALK_MS = 10000,  /* and for all of them, */
    HELD_PAGE_MS = 100,    /* a page at a time, */
    HELD_PAGE_SHARE = 100, /* which may take one part of so many of the time */
};

size_t held_streams(void *context, struct arena *arena, struct span **ret)
{
    const struct worker *worker = context;
    struct group_run *group = worker->group;
    size_t count = 0;
    /* A stream with a tracker is assigned, and its consumer is there: both end under this lock. */
    pthread_mutex_lock(&group->lock);
    struct span *names = arena_array(arena, struct span, group->tracker_count + 1);
    for (uint32_t i = 0; i < group->tracker_count; i++) {
        char name[HELD_STREAM_NAME_MAX];
        if (group->trackers[i] == NULL)
            continue;
        bus_stream_name(group->engine->bus, group->consumer, i, name, sizeof name);
        names[count++] = arena_span(arena, span_of(name));
    }
    pthread_mutex_unlock(&group->lock);
    *ret = names;
    return count;
}

void held_forget(struct worker *worker)
{
    if (!worker->holds)
        return;
    lane_forget_stored(worker->env.lane);
    worker->held_assignment = atomic_load(&worker->group->assignment);
    worker->held_unknown = true;
    worker->held_again_ms = 0;
    worker->held_page = (struct held_page){0};
}

static bool held_is_stale(const struct worker *worker)
{
    return worker->holds && worker->held_assignment != atomic_load(&worker->group->assignment);
}

bool held_is_unknown(const struct worker *worker)
{
    return worker->held_unknown || held_is_stale(worker);
}

/* Another lane has handled what something waits for. */
static bool after_is_told(const struct worker *worker)
{
    return worker->env.some_wait && worker->after_told != atomic_load(&worker->group->ready);
}

int64_t held_due(const struct worker *worker)
{
    if (held_is_stale(worker))
        return worker->held_again_ms;
    bool some = lane_stored_keys(worker->env.lane) > 0 || atomic_load(&worker->engine->keys_held);
    int64_t after_ms = after_is_told(worker) ? 0 : after_due_ms(&worker->env);
    if (!worker->holds || worker->held_unknown || !some)
        return INT64_MAX;
    int64_t look_ms = worker->held_page_ms < worker->held_look_ms ? worker->held_page_ms : worker->held_look_ms;
    return after_ms < look_ms ? after_ms : look_ms;
}

/* Before anything is handled. A walk during which the assignment changed begins again. */
static void held_learn(struct worker *worker)
{
    unsigned assignment = atomic_load(&worker->group->assignment);
    if (worker->held_page_assignment != assignment)
        worker->held_page = (struct held_page){0};
    worker->held_page_assignment = assignment;
    bool loaded = held_load(&worker->env, true, &worker->held_page);
    int64_t now_ms = clock_monotonic_ms();
    worker->held_again_ms = loaded ? 0 : now_ms + HELD_AGAIN_MS;
    if (!loaded || worker->held_page.under_way)
        return;
    worker->held_assignment = assignment;
    worker->held_unknown = false;
    worker->held_look_ms = now_ms + HELD_LOOK_MS;
    worker->held_page_ms = now_ms + HELD_WALK_MS;
}

/* When the next page is due after one that took so long. */
static int64_t page_wait_ms(const struct worker *worker, bool loaded, int64_t took_ms)
{
    int64_t least_ms = !loaded ? HELD_LOOK_MS : worker->held_page.under_way ? HELD_PAGE_MS : HELD_WALK_MS;
    return HELD_PAGE_SHARE * took_ms > least_ms ? HELD_PAGE_SHARE * took_ms : least_ms;
}

/* Between batches: one statement, bounded. */
static void held_look(struct worker *worker)
{
    int64_t began_ms = clock_monotonic_ms();
    if (after_is_told(worker) || after_due_ms(&worker->env) <= began_ms) {
        worker->after_told = atomic_load(&worker->group->ready);
        after_look(&worker->env);
    } else if (worker->held_page_ms <= began_ms) {
        bool loaded = held_load(&worker->env, false, &worker->held_page);
        int64_t now_ms = clock_monotonic_ms();
        worker->held_page_ms = now_ms + page_wait_ms(worker, loaded, now_ms - began_ms);
    } else {
        (void)held_load_due(&worker->env);
        worker->held_look_ms = clock_monotonic_ms() + HELD_LOOK_MS;
    }
}

bool held_update(struct worker *worker)
{
    struct batch_env *env = &worker->env;
    if (!worker->holds)
        return true;
    if (held_due(worker) <= clock_monotonic_ms()) {
        if (held_is_unknown(worker))
            held_learn(worker);
        else
            held_look(worker);
        arena_reset(env->arena);
    }
    if (held_is_unknown(worker))
        return false;
    if (lane_stored_keys(env->lane) > 0) {
        held_fetch(env);
        arena_reset(env->arena);
    }
    return true;
}
