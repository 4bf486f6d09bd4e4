/*
 * fail.c - a batch that did not commit, or is not known to have: rolled back, and its items go back to the lane.
 *
 * Why it failed decides how they come again: a work that was condemned makes its dead letter in the next batch; what
 * may be one event's doing is run one event a batch, so that only the culprit pays, by its `retry:`; an outage is
 * waited for. An outage that one event meets alone, while the lane's others go on, makes only its key wait.
 */
#include "batch/batch.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "batch/breaker.h"
#include "batch/held.h"
#include "batch/request.h"
#include "batch/stopped.h"

#include <stdlib.h>

enum {
    FAIL_MINIMAL_PAUSE_MS = 50,
    FAIL_ISOLATE_AFTER = 3, /* transient refusals of a whole batch before its events run alone */
    FAIL_LOSSES_MAX = 5,    /* connections that an event alone may lose, */
    FAIL_CRASHES_MAX = 3,   /* and server processes, with which everybody loses theirs */
    FAIL_HOLD_MS = 50,      /* how long an event waits after an outage that it met alone; doubles each time */
    FAIL_DOUBLINGS_MAX = 8,
    FAIL_PAUSE_MAX_MS = 1000,
};

static const char not_available[] = "what the request needs did not answer in time; nothing was done: ask again";

static void end_item(struct batch *batch, struct item *item)
{
    lane_done(batch->env->lane, &item->entry);
    batch->env->finish(batch->env->context, &item, 1, false);
}

/* Answers requests past http.timeout and ends ticks, whose schedule has another one soon. Fills entries[] with the
 * items that are left, and returns their number. */
static size_t end_late(struct batch *batch, struct lane_entry **entries)
{
    const char *why = batch->result == STORE_UNKNOWN
                          ? "the database did not answer in time; it is not known whether the request was done"
                          : "the database did not answer in time; nothing was done: ask again";
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->works[i].item;
        if (item->source == ITEM_TICK)
            log_rarely(1000, connection_log_level(batch->connection), "lane", "a tick of schedule %s failed: %s",
                       item->schedule->name, batch->error.text);
        if (item->source == ITEM_TICK || request_answer_if_late(batch, item, why))
            end_item(batch, item);
        else
            entries[count++] = &item->entry;
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

static size_t all_entries(const struct batch *batch, struct lane_entry **ret)
{
    for (size_t i = 0; i < batch->count; i++)
        ret[i] = &batch->works[i].item->entry;
    return batch->count;
}

static void requeue_condemned(struct batch *batch, struct lane_entry **entries)
{
    struct batch_env *env = batch->env;
    int64_t pause_ms = minimal_pause_ms(batch);
    lane_requeue(env->lane, entries, all_entries(batch, entries));
    if (pause_ms > 0)
        (void)env->sleep(env->context, pause_ms);
}

/* In memory, with its key; what waits for longer is written down by the next batch, which does not call its handler,
 * with the reason. */
static void item_wait(struct batch *batch, struct item *item, int64_t due_ms)
{
    struct lane_entry *entry = &item->entry;
    due_ms = request_due_ms(batch, item, due_ms);
    if (held_may_wait(batch, item, due_ms - batch->now_ms, false)) {
        item->wait_until_ms = due_ms;
        free(item->sentence);
        item->sentence = strdup(batch->error.text);
        if (item->sentence != NULL)
            text_clean(item->sentence);
        lane_requeue(batch->env->lane, &entry, 1);
    } else {
        lane_retry(batch->env->lane, entry, due_ms);
    }
}

/* Events of a handler's call that said unavailable after it had run statements. When the call had the whole batch, each
 * waits until it is due, without a call; one that waits for a pause, a limit or another event is requeued and judged
 * again, for it waits for more than a time. Otherwise each event runs in a batch of its own, so that later events of
 * its key cannot overtake it. */
static void requeue_unavailable(struct batch *batch, struct lane_entry **entries)
{
    struct lane *lane = batch->env->lane;
    struct lane_entry **requeued = arena_array(batch->arena, struct lane_entry *, batch->count);
    bool all = true;
    size_t count = 0, requeued_count = 0;
    for (size_t i = 0; i < batch->count; i++)
        all = all && batch->works[i].verdict == VERDICT_DELAY;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->works[i].item;
        if (request_answer_if_late(batch, item, not_available))
            end_item(batch, item);
        else if (all && batch->works[i].pause == 0 && batch->works[i].needs == NULL)
            item_wait(batch, item, batch->works[i].due_ms);
        else if (all)
            requeued[requeued_count++] = &item->entry;
        else
            entries[count++] = &item->entry;
    }
    lane_requeue(lane, requeued, requeued_count);
    if (count > 0)
        lane_isolate(lane, entries, count);
}

/* What a failure means for the batch's items. */
struct judgement {
    bool isolate;     /* those of the handler whose statement failed, or all, run alone */
    int64_t hold_ms;  /* the only one waits so long, and holds its key; 0: it does not */
    int64_t pause_ms; /* nothing of the lane runs so long */
};

/* Once more in a batch of its own, also when its stream is lost with the connection and comes again. */
static void isolate_each(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        batch->works[i].item->isolate = true;
        held_remember(batch->env, &batch->works[i]);
    }
}

/* Nobody is blamed, or not yet. */
static void judge_together(struct batch *batch, struct judgement *ret)
{
    struct batch_env *env = batch->env;
    bool repeated = env->store_failures >= FAIL_ISOLATE_AFTER;
    switch (batch->result) {
    case STORE_DATA:
    case STORE_REFUSED:
    case STORE_DEADLINE:
        ret->isolate = true;
        break;
    case STORE_TRANSIENT:
        ret->pause_ms = 1 + (int64_t)(20 * random_unit(&env->random));
        ret->isolate = repeated;
        break;
    case STORE_DEPLOY:
        ret->pause_ms = FAIL_PAUSE_MAX_MS;
        ret->isolate = repeated && batch->called; /* or a handler has given up the right to it */
        log_rarely(5000, LOG_ERROR, "lane",
                   "the database schema does not match this version; processing has stopped: %s", batch->error.text);
        break;
    default:
        ret->pause_ms = env->store_failures > 5 ? FAIL_PAUSE_MAX_MS : 30ll << env->store_failures;
        ret->isolate = repeated && batch->called && batch->connection != NULL;
        if (ret->isolate)
            isolate_each(batch);
        log_rarely(5000, connection_log_level(batch->connection), "lane", "%s: %s; the batch runs again",
                   store_result_word(batch->result), batch->error.text);
        break;
    }
}

/* Whether it was the item's batches alone that lost their connection, time after time: its handler ends its own
 * session, or crashes its server process, with which all others lose their connections, and are told why. Then no other
 * lane runs with it, for the word may not reach one that is in the middle of a statement. */
static bool has_lost_enough(const struct batch *batch, struct item *item)
{
    uint64_t outages = connection_outages(batch->connection), crashes = connection_crashes(batch->connection);
    bool lost = connection_socket(batch->connection) < 0 && batch->result != STORE_TRANSIENT;
    bool crash = item->crashes_since != crashes;
    if (!lost || connection_crash_elsewhere(batch->connection) || (item->losses_since != outages && !crash))
        item->losses = 0;
    item->losses_since = outages;
    item->crashes_since = crashes;
    item->losses += lost && !connection_crash_elsewhere(batch->connection);
    item->quarantined = item->quarantined || (item->losses > 1 && crash);
    return item->losses >= FAIL_LOSSES_MAX || (item->losses >= FAIL_CRASHES_MAX && crash);
}

/* The batch's only item, whose handler was called, ran into what looks like an outage. The lane goes on with others. */
static void judge_outage(struct batch *batch, struct work *only, struct judgement *ret)
{
    struct item *item = only->item;
    if (has_lost_enough(batch, item)) {
        work_condemn(batch, only, DEAD_DATABASE, "its handler %s, alone, %u times: %s",
                     item->quarantined ? "crashed the server process of its database session"
                                       : "ended the connection to the database",
                     item->losses, batch->error.text);
        return;
    }
    if (batch->result == STORE_UNKNOWN) {
        judge_together(batch, ret); /* nothing behind it may go ahead of what it has committed, perhaps */
        return;
    }
    uint32_t doublings = item->outages > FAIL_DOUBLINGS_MAX ? FAIL_DOUBLINGS_MAX : item->outages;
    item->outages++;
    item->isolate = true;
    held_remember(batch->env, only); /* its stream may be lost with the connections */
    ret->hold_ms = (FAIL_HOLD_MS << doublings) + (int64_t)(FAIL_HOLD_MS * random_unit(&batch->env->random));
    log_rarely(5000, connection_log_level(batch->connection), "lane", "%s: %s; event %.*s on %.*s waits, and its key",
               store_result_word(batch->result), batch->error.text, (int)only->event.id_text.length,
               only->event.id_text.at, (int)item->record.topic.length, item->record.topic.at);
}

static void judge_refused(struct batch *batch, struct work *only, struct judgement *ret)
{
    if (!stopped_refused(batch, only) || only->item->source == ITEM_REQUEST || only->item->source == ITEM_TICK)
        work_fail(batch, only, DEAD_DATABASE, "%s", batch->error.text);
    else
        ret->hold_ms = STOPPED_AGAIN_MS;
    only->item->isolate = true;
}

/* The batch's only item is at fault: a try of its handler's has failed, or its dead letter. */
static void judge_fault(struct batch *batch, struct work *only, enum dead_reason reason)
{
    if (batch->called && only->verdict != VERDICT_DEAD)
        work_fail(batch, only, reason, "%s", batch->error.text);
    else
        work_condemn(batch, only, reason, "%s", batch->error.text);
}

/* Whether the batch's only item ran into a limit of time that is its handler's. When it is over before the server has
 * answered at all, the server may be the one that hangs: the first such time is no event's fault, and after it a server
 * that hangs takes no more connections. */
static bool is_past_deadline(const struct batch *batch, const struct work *only, bool late)
{
    if (!batch->called) /* waiting for a claim */
        return false;
    bool answered = batch->connection == NULL || connection_socket(batch->connection) >= 0;
    return batch->result == STORE_DEADLINE ||
           (batch->result == STORE_TRANSIENT && late && (answered || only->item->outages > 0));
}

/* `late`: the batch's deadline is over. */
static struct judgement judge_failure(struct batch *batch, bool late)
{
    struct work *only = batch->count == 1 ? &batch->works[0] : NULL;
    struct judgement judgement = {0};
    batch->env->store_failures++;
    if (only != NULL && batch->result == STORE_DATA) {
        judge_fault(batch, only, DEAD_DATABASE);
    } else if (only != NULL && batch->result == STORE_REFUSED) {
        judge_refused(batch, only, &judgement);
    } else if (only != NULL && is_past_deadline(batch, only, late)) {
        breaker_late(batch, only);
        judge_fault(batch, only, DEAD_DEADLINE);
    } else if (only != NULL && batch->called && batch->connection != NULL && batch->result != STORE_FENCED) {
        judge_outage(batch, only, &judgement);
    } else {
        judge_together(batch, &judgement);
    }
    if (batch->condemned)
        judgement.pause_ms = minimal_pause_ms(batch);
    return judgement;
}

/* Gives the items back: those of the handler whose statement failed run alone; all when none did. */
static void requeue_isolated(struct batch *batch, struct lane_entry **entries, size_t count)
{
    struct lane_entry **others = arena_array(batch->arena, struct lane_entry *, count);
    size_t isolated = 0, other_count = 0;
    for (size_t i = 0; i < count; i++)
        if (batch->failed_binding == NULL || ((struct item *)entries[i])->binding == batch->failed_binding)
            entries[isolated++] = entries[i];
        else
            others[other_count++] = entries[i];
    lane_requeue(batch->env->lane, others, other_count);
    lane_isolate(batch->env->lane, entries, isolated);
}

void batch_fail(struct batch *batch)
{
    struct batch_env *env = batch->env;
    struct lane_entry **entries = arena_array(batch->arena, struct lane_entry *, batch->count);
    bool late = clock_monotonic_ms() >= batch->deadline_ms; /* before the rollback, which may take its time */

    if (batch->transaction)
        connection_rollback(batch->connection);
    if (batch->transaction)
        session_name(batch);
    batch->transaction = false;
    if (batch->result == STORE_UNKNOWN)
        held_uncertain(batch);
    if (batch->condemned) {
        requeue_condemned(batch, entries);
        return;
    }
    if (batch->plugin_ended) {
        lane_requeue(env->lane, entries, all_entries(batch, entries));
        return;
    }
    if (batch->undo_call) {
        requeue_unavailable(batch, entries);
        return;
    }
    struct judgement judgement = judge_failure(batch, late);
    size_t count = end_late(batch, entries);
    if (count > 0 && judgement.hold_ms > 0)
        item_wait(batch, (struct item *)entries[0], batch->now_ms + judgement.hold_ms);
    else if (count > 0 && judgement.isolate && batch->count > 1)
        requeue_isolated(batch, entries, count);
    else if (count > 0)
        lane_requeue(env->lane, entries, count);
    if (judgement.pause_ms > 0)
        (void)env->sleep(env->context, judgement.pause_ms);
}
