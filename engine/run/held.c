/*
 * held.c - see held.h.
 */
#include "run/held.h"

#include "base/clock.h"
#include "batch/held.h"
#include "run/state.h"

enum {
    HELD_STREAM_NAME_MAX = 300,
    HELD_AGAIN_MS = 200,
    HELD_LOOK_MS = 1000,      /* their time may be changed in the database: for those that are due now, */
    HELD_LOOK_ALL_MS = 10000, /* and for all of them, which is work where they are many: */
    HELD_LOOK_SHARE = 100,    /* it may take one part of so many of the time */
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
}

static bool held_is_stale(const struct worker *worker)
{
    return worker->holds && worker->held_assignment != atomic_load(&worker->group->assignment);
}

bool held_is_unknown(const struct worker *worker)
{
    return worker->held_unknown || held_is_stale(worker);
}

int64_t held_due(const struct worker *worker)
{
    if (held_is_stale(worker))
        return worker->held_again_ms;
    bool some = lane_stored_keys(worker->env.lane) > 0 || atomic_load(&worker->engine->keys_held);
    return worker->holds && !worker->held_unknown && some ? worker->held_look_ms : INT64_MAX;
}

static void held_look(struct worker *worker)
{
    unsigned assignment = atomic_load(&worker->group->assignment);
    int64_t began_ms = clock_monotonic_ms();
    bool unknown = held_is_unknown(worker), all = unknown || worker->held_look_all_ms <= began_ms,
         loaded = all ? held_load(&worker->env, unknown) : held_load_due(&worker->env);
    arena_reset(worker->env.arena);
    int64_t now_ms = clock_monotonic_ms(), share_ms = HELD_LOOK_SHARE * (now_ms - began_ms);
    if (loaded && all) {
        worker->held_assignment = assignment;
        worker->held_unknown = false;
        worker->held_look_all_ms = now_ms + (share_ms > HELD_LOOK_ALL_MS ? share_ms : HELD_LOOK_ALL_MS);
    }
    worker->held_again_ms = loaded ? 0 : now_ms + HELD_AGAIN_MS;
    worker->held_look_ms = now_ms + HELD_LOOK_MS;
}

bool held_update(struct worker *worker)
{
    struct batch_env *env = &worker->env;
    if (!worker->holds)
        return true;
    if (held_due(worker) <= clock_monotonic_ms())
        held_look(worker);
    if (held_is_unknown(worker))
        return false;
    if (lane_stored_keys(env->lane) > 0) {
        held_fetch(env);
        arena_reset(env->arena);
    }
    return true;
}
