/*
 * handle.c - the handlers of a batch: planned into calls, keys in order, each call's dead letters judged at once.
 */
#include "batch/batch.h"

#include "flow/plan.h"
#include "store/ledger_schedule.h"

enum { HANDLE_UNDO_AGAIN_MS = 30000 /* pause of an undo under retry_forever */ };

/* A predecessor of the same key that did not end keeps everything behind it. */
static bool must_wait(const struct batch *batch, uint32_t before)
{
    return before != PLAN_NONE && work_row(&batch->works[before])->holds_key;
}

/* Another process may have this tick already. */
static void tick_begin(struct batch *batch, struct work *work)
{
    const struct batch_env *env = batch->env;
    const struct schedule *schedule = work->item->schedule;
    bool ours = true;
    if (batch->transaction)
        batch->result = ledger_tick(batch->connection, env->numbers->schedules[schedule - env->config->schedules],
                                    schedule->every_ms, &work->item->slot_ms, &ours, &batch->error);
    if (!ours)
        work->verdict = VERDICT_DUPLICATE;
}

/* Once for each work that is dead, as soon as it is, so that what is behind it in its key knows: an undo that failed
 * for good may have to come again, or wait for an operator. */
static void judge_undo(struct batch *batch, struct work *work)
{
    if (work->verdict != VERDICT_DEAD || work->reason == DEAD_CANCELLED || work->item->minimal ||
        batch->result != STORE_OK || batch->condemned)
        return;
    work->verdict = chain_undo_failed(batch, work);
    if (work->verdict == VERDICT_DELAY)
        work->due_ms = batch->now_ms + HANDLE_UNDO_AGAIN_MS;
}

/* One planned call: the works of order[] that are still to be handled. `works` has room for all. */
static void run_call(struct batch *batch, const struct call_plan *call, const uint32_t *order, const uint32_t *before,
                     struct work **works)
{
    size_t count = 0;
    for (uint32_t i = call->first; i < call->first + call->count; i++) {
        struct work *work = &batch->works[order[i]];
        bool spoilt = work->verdict == VERDICT_NONE && session_spoilt(batch, work->item->binding);
        if ((must_wait(batch, before[order[i]]) && !work->item->entry.append) || spoilt)
            work->verdict = VERDICT_REQUEUE; /* a duplicate too: what is behind it waits for what is before it */
        if (work->verdict == VERDICT_NONE && work->item->failed != 0) {
            work_retry(batch, work, work->item->failed, work->item->sentence == NULL ? "" : work->item->sentence);
            judge_undo(batch, work);
        }
        if (work->verdict == VERDICT_NONE && work->item->source == ITEM_TICK)
            tick_begin(batch, work);
        if (work->verdict == VERDICT_NONE)
            works[count++] = work;
    }
    if (count > 0 && batch->result == STORE_OK)
        batch_call(batch, batch->env->config->bindings[call->binding], works, count);
    for (size_t i = 0; i < count; i++)
        judge_undo(batch, works[i]);
}

void batch_handle(struct batch *batch)
{
    const struct pipeline *config = batch->env->config;
    uint32_t nobody = (uint32_t)config->binding_count; /* the group of what needs no handler, in one call of any size */
    uint64_t *keys = arena_array(batch->arena, uint64_t, batch->count);
    uint32_t *bindings = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *order = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *before = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *most = arena_array(batch->arena, uint32_t, nobody + 1);
    struct call_plan *calls = arena_array(batch->arena, struct call_plan, batch->count);
    struct work **works = arena_array(batch->arena, struct work *, batch->count);

    for (uint32_t b = 0; b < nobody; b++) {
        const struct binding *binding = config->bindings[b];
        most[b] = binding->handler->max_events < binding->max_events ? binding->handler->max_events
                                                                     : binding->max_events;
    }
    most[nobody] = UINT32_MAX;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        /* What goes behind the rows of its key is not in the order of those that were read from there. */
        keys[i] = work->item->entry.append ? ~work->item->entry.key_hash : work->item->entry.key_hash;
        bindings[i] = work->verdict == VERDICT_NONE ? work->item->binding->index : nobody;
    }
    for (size_t i = 0; i < batch->count; i++)
        judge_undo(batch, &batch->works[i]);
    size_t call_count = plan_calls(batch->count, keys, bindings, most, order, before, calls, batch->arena);
    for (size_t c = 0; c < call_count && batch->result == STORE_OK && !batch->condemned; c++)
        run_call(batch, &calls[c], order, before, works);
    if (batch->calls > CALL_LOOKS)
        call_put_back(batch);
}
