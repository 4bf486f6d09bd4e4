/*
 * finish.c - the end of a batch: every item goes back to its lane, or its position is complete.
 */
#include "batch/batch.h"

#include "base/log.h"
#include "batch/after.h"
#include "batch/held.h"
#include "batch/request.h"

/* `sluice explain CONFIG ID` goes on from here. */
static void log_dead(const struct batch *batch, const struct work *work)
{
    const struct item *item = work->item;
    const struct span id = work->event.id_text; /* empty when that much was not readable */
    char place[300] = "";
    int32_t partition = -1;
    int64_t offset = -1;
    (void)work_place(batch, work, place, sizeof place, &partition, &offset);
    log_rarely(1000, LOG_WARN, "lane", "event %.*s%son %s is a dead letter: %s (%.200s)%s%s", (int)id.length,
               id.length == 0 ? "" : id.at, id.length == 0 ? "" : " ", item->topic->name, event_dead_word(work->reason),
               work->why == NULL ? "" : work->why, place[0] == '\0' ? "" : "; it is ", place);
}

/* A tick has no dead letter topic: what became of it is in the log. */
static void log_dead_tick(const struct work *work)
{
    log_rarely(1000, LOG_ERROR, "lane", "a tick of schedule %s failed: %s (%.300s)", work->item->schedule->name,
               event_dead_word(work->reason), work->why == NULL ? "" : work->why);
}

static void log_unknown(const struct work *work)
{
    const struct span id = work->event.id_text, topic = work->item->record.topic;
    if (work->item->other_file) {
        log_rarely(10000, LOG_WARN, "lane",
                   "event %.*s on %.*s is for a process of the group with another file, which handles that topic: it "
                   "waits in sluice.parked until that process takes it",
                   (int)id.length, id.length == 0 ? "" : id.at, (int)topic.length, topic.at);
        return;
    }
    log_rarely(
        10000, LOG_ERROR, "lane",
        "event %.*s on %.*s: the file says nothing of that topic that could handle it; it waits in sluice.parked "
        "with state 2 until a file with 'renamed', 'retired' or the topic itself is started",
        (int)id.length, id.length == 0 ? "" : id.at, (int)topic.length, topic.at);
}

/* A request or a tick has no dead letter. */
static struct series *series_of_dead(const struct binding_run *run, const struct work *work)
{
    if (work->item->topic != NULL)
        return run->dead;
    return work->item->source == ITEM_REQUEST && request_dead_status(work->reason) < 500 ? run->refused : run->failed;
}

static void count_end(struct batch *batch, const struct work *work)
{
    struct binding_run *run = work->item->binding == NULL ? NULL : &batch->env->bindings[work->item->binding->index];
    if (run != NULL && work->verdict == VERDICT_OUTCOME)
        series_add(run->by_outcome[work->outcome], 1);
    else if (run != NULL && work->verdict == VERDICT_DEAD)
        series_add(series_of_dead(run, work), 1);
    if (work->verdict == VERDICT_UNKNOWN)
        log_unknown(work);
    if (work->verdict == VERDICT_DEAD && work->item->topic != NULL) {
        series_add(batch->env->topics[work->item->topic->index].dead, 1);
        log_dead(batch, work);
    }
    if (work->verdict == VERDICT_DEAD && work->item->source == ITEM_TICK)
        log_dead_tick(work);
}

/* What batch_finish() sorts a batch's items into; each list has room for all of them. */
struct finish_lists {
    struct item **ended;
    struct lane_entry **requeued, **isolated;
    size_t ended_count, requeued_count, isolated_count;
    int64_t parked_due_ms;
};

static void finish_done(struct batch *batch, struct work *work, struct finish_lists *lists)
{
    struct batch_env *env = batch->env;
    struct item *item = work->item;
    if (work_row(work)->parking == PARKING_UNTIL_DUE && work->due_ms < lists->parked_due_ms)
        lists->parked_due_ms = work->due_ms;
    count_end(batch, work);
    if (suspects_any(env->suspects) && work->reason == DEAD_CRASHED)
        suspects_convicted(env->suspects, work_suspect_id(work), work_comes_again(work));
    else if (suspects_any(env->suspects))
        suspects_acquit(env->suspects, work_suspect_id(work));
    lane_done(env->lane, &item->entry);
    lists->ended[lists->ended_count++] = item;
}

/* Without memory for it its key waits, too. */
static void finish_wait(struct batch *batch, struct work *work)
{
    struct batch_env *env = batch->env;
    struct item *waiting = item_wait_apart(work->item);
    if (waiting != NULL) {
        work->item = waiting;
        env->waits(env->context, waiting);
    }
    lane_retry(env->lane, &work->item->entry, work->due_ms);
}

static void finish_work(struct batch *batch, struct work *work, struct finish_lists *lists)
{
    const struct verdict_row *row = work_row(work);
    struct item *item = work->item;
    switch (row->way) {
    case WAY_RETRY:
        if (request_answer_if_late(batch, item, "what the request needs did not answer in time: ask again")) {
            finish_done(batch, work, lists);
            break;
        }
        if (row->counts_try)
            item->tries++, item->failed = 0;
        else
            item->condemned = 0; /* its handler is called again: what an earlier batch judged is void */
        if (work->pause != 0)
            lane_retry_after(batch->env->lane, &item->entry, work->pause);
        else
            lane_retry(batch->env->lane, &item->entry, request_due_ms(batch, item, work->due_ms));
        break;
    case WAY_WAIT:
        finish_wait(batch, work);
        break;
    case WAY_STORED:
        if (row->parking == PARKING_HEAD && work->pause != 0)
            lane_store_after(batch->env->lane, item->entry.key_hash, work->pause);
        else if (row->parking == PARKING_HEAD && work->needs != NULL)
            lane_store_until(batch->env->lane, item->entry.key_hash, work->due_ms);
        else if (row->parking == PARKING_HEAD)
            lane_store(batch->env->lane, item->entry.key_hash, work->due_ms);
        held_remember(batch->env, work);
        finish_done(batch, work, lists);
        break;
    case WAY_REQUEUE:
        lists->requeued[lists->requeued_count++] = &item->entry;
        break;
    case WAY_ISOLATE:
        lists->isolated[lists->isolated_count++] = &item->entry;
        break;
    case WAY_DONE:
        if (item->source == ITEM_REQUEST && !request_answer(batch, work, &work->due_ms))
            lane_retry(batch->env->lane, &item->entry, work->due_ms); /* pending, and the client waits */
        else
            finish_done(batch, work, lists);
        break;
    }
}

void batch_finish(struct batch *batch)
{
    struct batch_env *env = batch->env;
    struct finish_lists lists = {.ended = arena_array(batch->arena, struct item *, batch->count),
                                 .requeued = arena_array(batch->arena, struct lane_entry *, batch->count),
                                 .isolated = arena_array(batch->arena, struct lane_entry *, batch->count),
                                 .parked_due_ms = batch->timer_due_ms == 0 ? INT64_MAX : batch->timer_due_ms};
    for (size_t i = 0; i < batch->count; i++)
        finish_work(batch, &batch->works[i], &lists);
    if (lists.requeued_count > 0)
        lane_requeue(env->lane, lists.requeued, lists.requeued_count);
    if (lists.isolated_count > 0)
        lane_isolate(env->lane, lists.isolated, lists.isolated_count);
    if (lists.ended_count > 0)
        env->finish(env->context, lists.ended, lists.ended_count, true);
    if (lists.parked_due_ms != INT64_MAX)
        env->parked(env->context, lists.parked_due_ms);
    after_over(batch);
}
