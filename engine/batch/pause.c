/*
 * pause.c - see pause.h.
 */
#include "batch/pause.h"

#include "base/clock.h"
#include "batch/request.h"

#include "batch/breaker.h"

enum { RETRY_UNTIL_RESUMED_S = 60, RETRY_MAX_S = 3600 };

static const char paused[] = "paused";

uint32_t pause_of(const struct batch_env *env, const struct topic *topic)
{
    const struct tap *tap = env->group == NULL ? NULL : env->group->tap;
    const atomic_bool *flag = tap != NULL ? &env->bindings[tap->binding->index].paused
                                          : &env->topics[topic->index].paused;
    return atomic_load_explicit(flag, memory_order_relaxed) ? topic->index + 1 : 0;
}

void pause_wait(const struct batch *batch, struct work *work, const char *why)
{
    work->pause = work->item->topic->index + 1;
    work->verdict = work->item->source == ITEM_PARKED && batch->connection != NULL ? VERDICT_PARK_PAUSED
                                                                                   : VERDICT_DELAY;
    work->due_ms = INT64_MAX;
    work->why = why;
}

/* Its client shall ask again when the pause is over; when somebody must end it, or that is far away, now and then. */
static int32_t retry_after_s(const struct binding_run *run)
{
    int64_t until_ms = atomic_load(&run->paused_until_ms), left_s = (until_ms - clock_wall_ms() + 999) / 1000;
    if (until_ms == INT64_MAX)
        return RETRY_UNTIL_RESUMED_S;
    return left_s < 1 ? 1 : left_s > RETRY_MAX_S ? RETRY_MAX_S : (int32_t)left_s;
}

static void refuse(struct work *work, const struct binding_run *run)
{
    work->item->request->retry_after_s = retry_after_s(run);
    work->verdict = VERDICT_REFUSED;
    work->status = 503;
    work->reply = SPAN("{\"error\":\"paused\",\"message\":\"an operator has paused what answers this; nothing was "
                       "done: ask again later\"}");
}

void pause_prepare(struct batch *batch, struct work *work)
{
    const struct batch_env *env = batch->env;
    const struct item *item = work->item;
    if (env->pauses == NULL || atomic_load_explicit(env->pauses, memory_order_relaxed) == 0 || item->failed != 0)
        return;
    if (item->source == ITEM_REQUEST &&
        atomic_load_explicit(&env->bindings[item->binding->index].paused, memory_order_relaxed))
        refuse(work, &env->bindings[item->binding->index]);
    else if (item->topic != NULL && (work->pause = pause_of(env, item->topic)) != 0 && item->uncertain_row == 0 &&
             !breaker_wanted(env, work))
        pause_wait(batch, work, paused);
}

void batch_pause(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (work->pause == 0 || work->verdict != VERDICT_NONE)
            continue;
        if (work->try == TRY_WANTED && breaker_lets_through(batch, work))
            work->pause = 0;
        else
            pause_wait(batch, work, paused);
    }
}

struct resuming {
    const struct batch_env *env;
    bool *tried; /* by dependency: a key that waits for its half-open breaker is due */
};

static bool is_over(uint32_t pause, const void *context)
{
    const struct resuming *resuming = context;
    const struct batch_env *env = resuming->env;
    const struct tap *tap = env->group->tap;
    if (tap != NULL)
        return !atomic_load(&env->bindings[tap->binding->index].paused);
    if (pause > env->config->topic_count)
        return false; /* of a limit: batch/limit.h */
    const struct topic *topic = env->config->topics[pause - 1];
    if (!atomic_load(&env->topics[topic->index].paused))
        return true;
    if (!atomic_load(&env->topics[topic->index].half_open) || resuming->tried[topic->binding->dependency->index])
        return false;
    resuming->tried[topic->binding->dependency->index] = true;
    return true;
}

void pause_resume(struct batch_env *env)
{
    struct resuming resuming = {env, arena_array(env->arena, bool, env->config->dependency_count + 1)};
    if (env->group != NULL)
        lane_resume(env->lane, is_over, &resuming);
}
