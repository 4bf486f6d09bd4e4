/*
 * fail.c - a batch that did not commit, or is not known to have: rolled back, and its items go back to the lane.
 *
 * Why it failed decides how they come again: a work that was condemned makes its dead letter in the next batch; what
 * may be one event's doing is run one event a batch, so that only the culprit pays; an outage is waited for.
 */
#include "batch/batch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "batch/request.h"

enum {
    FAIL_MINIMAL_PAUSE_MS = 50,
    FAIL_ISOLATE_AFTER = 3, /* transient refusals of a whole batch before its events run alone */
    FAIL_STALLS_MAX = 3,    /* deadlines that an event alone may run into */
    FAIL_PAUSE_MAX_MS = 1000,
};

/* Answers requests past http.timeout and ends ticks, whose schedule has another one soon. Fills entries[] with the
 * items that are left, and returns their number. */
static size_t end_late(struct batch *batch, struct lane_entry **entries)
{
    struct batch_env *env = batch->env;
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->works[i].item;
        if (item->source == ITEM_TICK)
            log_rarely(1000, LOG_WARN, "lane", "a tick of schedule %s failed: %s", item->schedule->name,
                       batch->error.text);
        if (item->source == ITEM_TICK || (item->source == ITEM_REQUEST && request_answer_if_late(batch, item))) {
            lane_done(env->lane, &item->entry);
            env->finish(env->context, &item, 1, false);
        } else {
            entries[count++] = &item->entry;
        }
    }
    return count;
}

/* How long the lane pauses because an event was condemned whose dead letter had failed before. */
static int64_t minimal_pause_ms(const struct batch *batch)
{
    int64_t pause_ms = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct item *item = batch->works[i].item;
        if (!item->minimal)
            continue;
        pause_ms = FAIL_MINIMAL_PAUSE_MS;
        log_rarely(
            5000, LOG_ERROR, "lane",
            "the dead letter of an event on %.*s could not be written, it is tried without headers and chains: %s",
            (int)item->record.topic.length, item->record.topic.at,
            batch->error.text[0] != '\0' ? batch->error.text
            : item->sentence != NULL     ? item->sentence
                                         : "no memory");
    }
    return pause_ms;
}

static void requeue_condemned(struct batch *batch, struct lane_entry **entries)
{
    struct batch_env *env = batch->env;
    int64_t pause_ms = minimal_pause_ms(batch);
    for (size_t i = 0; i < batch->count; i++)
        entries[i] = &batch->works[i].item->entry;
    lane_requeue(env->lane, entries, batch->count);
    if (pause_ms > 0)
        (void)env->sleep(env->context, pause_ms);
}

/* Events of a call that waits for something outside, which had run statements already. When it had the batch to itself
 * they wait; else each event runs alone, so that what is behind one of them in its key cannot overtake it. */
static void requeue_unavailable(struct batch *batch, struct lane_entry **entries)
{
    struct lane *lane = batch->env->lane;
    bool all = true;
    for (size_t i = 0; i < batch->count; i++) {
        all = all && batch->works[i].verdict == VERDICT_DELAY;
        entries[i] = &batch->works[i].item->entry;
    }
    for (size_t i = 0; all && i < batch->count; i++)
        lane_retry(lane, entries[i], batch->works[i].due_ms);
    if (!all)
        lane_isolate(lane, entries, batch->count);
}

/* Takes note of the failure. Returns whether the batch's events are isolated; *ret_pause_ms: how long before
 * anything of the lane runs again. */
static bool judge_failure(struct batch *batch, bool late, int64_t *ret_pause_ms)
{
    struct batch_env *env = batch->env;
    struct work *only = batch->count == 1 ? &batch->works[0] : NULL;

    env->store_failures++;
    switch (batch->result) {
    case STORE_DATA:
        if (only != NULL) {
            work_condemn(batch, only, DEAD_DATABASE, "%s", batch->error.text);
            *ret_pause_ms = minimal_pause_ms(batch);
        }
        return true;
    case STORE_TRANSIENT:
        /* Waiting for a claim is no event's fault: the server may need a second to end the session of a batch that
         * hung. */
        if (only != NULL && late && batch->called && ++only->item->stalls >= FAIL_STALLS_MAX)
            work_condemn(batch, only, DEAD_DEADLINE, "ran past its deadline %d times: %s", FAIL_STALLS_MAX,
                         batch->error.text);
        *ret_pause_ms = 1 + (int64_t)(20 * random_unit(&env->random));
        return env->store_failures >= FAIL_ISOLATE_AFTER;
    case STORE_DEPLOY:
        *ret_pause_ms = FAIL_PAUSE_MAX_MS;
        log_rarely(5000, LOG_ERROR, "lane",
                   "the database schema does not match this version; processing has stopped: %s", batch->error.text);
        return false;
    default:
        *ret_pause_ms = env->store_failures > 5 ? FAIL_PAUSE_MAX_MS : 30ll << env->store_failures;
        log_rarely(5000, LOG_WARN, "lane", "%s: %s; the batch runs again", store_result_word(batch->result),
                   batch->error.text);
        return false;
    }
}

void batch_fail(struct batch *batch)
{
    struct batch_env *env = batch->env;
    struct lane_entry **entries = arena_array(batch->arena, struct lane_entry *, batch->count);
    bool late = clock_monotonic_ms() >= batch->deadline_ms; /* before the rollback, which may take its time */
    int64_t pause_ms = 0;

    if (batch->transaction)
        connection_rollback(batch->connection);
    batch->transaction = false;
    if (batch->condemned) {
        requeue_condemned(batch, entries);
        return;
    }
    if (batch->undo_call) {
        requeue_unavailable(batch, entries);
        return;
    }
    bool isolate = judge_failure(batch, late, &pause_ms);
    size_t count = end_late(batch, entries);
    if (count > 0 && isolate && batch->count > 1)
        lane_isolate(env->lane, entries, count);
    else if (count > 0)
        lane_requeue(env->lane, entries, count);
    if (pause_ms > 0)
        (void)env->sleep(env->context, pause_ms);
}
