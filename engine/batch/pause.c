/*
 * pause.c - see pause.h.
 */
#include "batch/pause.h"

uint32_t pause_of(const struct batch_env *env, const struct topic *topic)
{
    const struct tap *tap = env->group == NULL ? NULL : env->group->tap;
    const atomic_bool *paused = tap != NULL ? &env->bindings[tap->binding->index].paused
                                            : &env->topics[topic->index].paused;
    return atomic_load_explicit(paused, memory_order_relaxed) ? topic->index + 1 : 0;
}

static void wait(struct batch *batch, struct work *work)
{
    work->verdict = work->item->source == ITEM_PARKED && batch->connection != NULL ? VERDICT_PARK_PAUSED
                                                                                   : VERDICT_DELAY;
    work->due_ms = INT64_MAX;
    work->why = "paused";
}

static void refuse(struct work *work)
{
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
        refuse(work);
    else if (item->topic != NULL && (work->pause = pause_of(env, item->topic)) != 0 && item->uncertain_row == 0)
        wait(batch, work);
}

void batch_pause(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->works[i].pause != 0 && batch->works[i].verdict == VERDICT_NONE)
            wait(batch, &batch->works[i]);
}

static bool is_over(uint32_t pause, const void *context)
{
    const struct batch_env *env = context;
    const struct tap *tap = env->group->tap;
    const atomic_bool *paused = tap != NULL ? &env->bindings[tap->binding->index].paused
                                            : &env->topics[pause - 1].paused;
    return !atomic_load(paused);
}

void pause_resume(struct batch_env *env)
{
    if (env->group != NULL)
        lane_resume(env->lane, is_over, env);
}
