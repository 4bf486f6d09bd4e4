/*
 * held_past.c - what a lane has learnt of items that it has not in hand, as held.h says: by handler and event.
 */
#include "batch/held.h"

#include <stdlib.h>

enum { HELD_PASTS_MAX = 10000 };

struct held_past {
    bool isolate, quarantined;
    uint32_t outages, losses;
    uint64_t losses_since, crashes_since;
    const char *refused_sql;
    unsigned refused_passed;
};

static uint64_t past_key(const struct batch_env *env, const struct work *work)
{
    return attempt_key(env->bindings[work->item->binding->index].number, work->event.id);
}

void held_remember(struct batch_env *env, const struct work *work)
{
    const struct item *item = work->item;
    if (item->binding == NULL || env->group == NULL ||
        (!item->isolate && item->outages == 0 && item->refused_sql == NULL))
        return;
    if (env->held_pasts == NULL)
        env->held_pasts = intmap_create(16);
    if (env->held_pasts != NULL && intmap_count(env->held_pasts) >= HELD_PASTS_MAX)
        held_free(env); /* other processes have handled most of them: what is still true is found out again */
    struct held_past *past = env->held_pasts == NULL ? NULL : malloc(sizeof *past);
    if (past == NULL)
        return;
    *past = (struct held_past){.isolate = item->isolate,
                               .quarantined = item->quarantined,
                               .outages = item->outages,
                               .losses = item->losses,
                               .losses_since = item->losses_since,
                               .crashes_since = item->crashes_since,
                               .refused_sql = item->refused_sql,
                               .refused_passed = item->refused_passed};
    free(intmap_set(env->held_pasts, past_key(env, work), past));
}

void held_recall(struct batch_env *env, const struct work *work)
{
    struct item *item = work->item;
    if (env->held_pasts == NULL || item->binding == NULL)
        return;
    struct held_past *past = intmap_remove(env->held_pasts, past_key(env, work));
    if (past == NULL)
        return;
    item->isolate = past->isolate;
    item->quarantined = past->quarantined;
    item->outages = past->outages;
    item->losses = past->losses;
    item->losses_since = past->losses_since;
    item->crashes_since = past->crashes_since;
    item->refused_sql = past->refused_sql;
    item->refused_passed = past->refused_passed;
    free(past);
}

void held_free(struct batch_env *env)
{
    void *past;
    for (size_t cursor = 0; env->held_pasts != NULL && intmap_next(env->held_pasts, &cursor, NULL, &past);)
        free(past);
    intmap_destroy(env->held_pasts);
    env->held_pasts = NULL;
}
