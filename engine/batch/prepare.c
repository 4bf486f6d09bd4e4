/*
 * prepare.c - what an item is, before anything is done with it: parsed, and judged where that is enough.
 *
 * An event that cannot be read, lacks the correlation of a chain that must be told of it, was condemned by an earlier
 * batch or convicted of crashes is a dead letter; one on a retry topic whose step is not due waits; one that nobody
 * here handles has no more to do than its chains, unless a handler that left the file was to have it: then it waits
 * until the file says what becomes of it; one that would be handled waits while an operator has paused that.
 */
#include "batch/batch.h"

#include "base/log.h"
#include "batch/held.h"
#include "batch/pause.h"
#include "batch/request.h"
#include "batch/stopped.h"
#include "flow/retry.h"

enum {
    PREPARE_EARLY_MS = 2,      /* an event this close to its time is handled now */
    PREPARE_POSTPONE_MS = 200, /* what others of the lane get before an event that hung */
    PREPARE_OTHER_FILE_MS = 1000,
};

static void prepare_event(struct batch *batch, struct work *work)
{
    struct item *item = work->item;
    struct error error = {0};
    enum dead_reason reason = 0;

    if (item->source == ITEM_REQUEST) {
        request_event(batch, work);
    } else if (item->source == ITEM_TICK) {
        tick_event(batch, work);
    } else if (event_parse(&item->record, (size_t)batch->env->config->engine.max_event_size, batch->arena, &work->event,
                           &reason, &error) != 0) {
        work->event.record = &item->record;
        work_dead(batch, work, reason, "%s", error.text);
    } else if (work->event.binary) {
        struct record *whole = arena_copy(batch->arena, &item->record, sizeof item->record);
        whole->value = event_whole(&work->event, batch->arena); /* plugins are shown whole events */
        work->event.record = whole;
    }
}

/* Tries that an earlier owner of the partition counted. */
static void prepare_tries(const struct batch *batch, struct work *work)
{
    struct item *item = work->item;
    const struct intmap *attempts = batch->env->attempts == NULL ? NULL : atomic_load(batch->env->attempts);
    if (attempts == NULL || item->tries != 0 || item->binding == NULL)
        return;
    uint64_t key = attempt_key(batch->env->bindings[item->binding->index].number, work->event.id);
    item->tries = (uint32_t)(uintptr_t)intmap_get(attempts, key);
}

/* False when the work may not be handled now: its handler is stopped, or it breaks batches and is not alone. */
static bool prepare_handler(const struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    int64_t until_ms = item->source == ITEM_BUS || item->source == ITEM_PARKED || item->source == ITEM_HELD
                           ? stopped_until_ms(batch->env, item->binding)
                           : 0;
    if (item->failed != 0)
        return true; /* its handler is not called */
    if (until_ms > batch->now_ms) {
        work->verdict = VERDICT_DELAY;
        work->due_ms = until_ms;
        work->why = stopped_why(&batch->env->bindings[item->binding->index].stop, batch->arena);
    } else if (item->isolate && batch->count > 1) {
        work->verdict = VERDICT_ISOLATE;
    }
    return work->verdict == VERDICT_NONE;
}

/* False when suspicion decided about the work. */
static bool prepare_suspect(struct batch *batch, struct work *work)
{
    if (!suspects_any(batch->env->suspects))
        return true;
    struct suspect_story *story = arena_alloc(batch->arena, sizeof *story);
    enum suspicion suspicion = suspects_look(batch->env->suspects, work_suspect_id(work), story);
    work->suspect = suspicion == SUSPECT_NONE ? NULL : story;
    switch (suspicion) {
    case SUSPECT_CONVICTED:
        work_dead(batch, work, DEAD_CRASHED, "%s", story->why);
        return false;
    case SUSPECT_ALONE:
        if (batch->count == 1 && work->item->quarantined)
            return true;
        work->item->quarantined = true;
        work->verdict = VERDICT_ISOLATE;
        return false;
    case SUSPECT_LAST:
        if (!work->item->postponed) {
            work->item->postponed = true;
            work->verdict = VERDICT_DELAY;
            work->due_ms = batch->now_ms + PREPARE_POSTPONE_MS;
            return false;
        }
        /* fall through */
    case SUSPECT_APART:
        if (batch->count == 1)
            return true;
        work->verdict = VERDICT_ISOLATE;
        return false;
    default:
        return true;
    }
}

/* Until then it waits in the database, or without one in its lane, while its key goes on. */
static void prepare_until(const struct batch *batch, struct work *work, int64_t due_wall_ms)
{
    if (batch->connection != NULL) {
        work->verdict = VERDICT_PARK;
        work->due_ms = due_wall_ms;
    } else {
        work->verdict = VERDICT_WAIT;
        work->due_ms = batch->now_ms + (due_wall_ms - batch->wall_ms);
    }
}

/* Its time has come, whatever its header says. */
static bool has_waited(const struct item *item)
{
    return item->source == ITEM_PARKED || item->waited;
}

/* A route with a delay led here. Only where one does does the header count, and never for longer than it could say. */
static void prepare_delay(const struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    const struct group *group = batch->env->group;
    int64_t due_ms = work->event.not_before_ms;
    if (item->topic == NULL || item->topic->delay_ms == 0 || group == NULL || group->tap != NULL || has_waited(item) ||
        due_ms <= batch->wall_ms + PREPARE_EARLY_MS)
        return;
    int64_t latest_ms = batch->wall_ms + item->topic->delay_ms;
    prepare_until(batch, work, due_ms < latest_ms ? due_ms : latest_ms);
}

static void prepare_ladder(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    const struct ladder *ladder = item->binding->ladder;
    work->retries_left = -1;
    if (ladder == NULL)
        return;
    if (item->topic != NULL && item->topic->ladder_of != NULL) {
        const struct json_member *counter = json_find(&work->event.data, span_of(ladder->counter));
        int64_t climbed = 0;
        if (counter == NULL || counter->kind != JSON_KIND_NUMBER || json_int64(counter->value, &climbed) != 0 ||
            climbed < 1 || climbed > ladder->max_retries) {
            work_dead(batch, work, DEAD_BAD_FIELD, "field '%s': expected the ladder's step, an integer from 1 to %d",
                      ladder->counter, ladder->max_retries);
            return;
        }
        work->retry_count = climbed;
    }
    work->retries_left = ladder->max_retries - work->retry_count;
    /* The step's time. Only a retry topic's header counts, and never for longer than its ladder could say. */
    if (work->retry_count == 0 || work->event.not_before_ms <= batch->wall_ms + PREPARE_EARLY_MS)
        return;
    int64_t latest = batch->wall_ms + ladder_delay_ms(ladder, work->retry_count - 1);
    int64_t due = work->event.not_before_ms < latest ? work->event.not_before_ms : latest;
    if (has_waited(item))
        return;
    prepare_until(batch, work, due);
}

static bool tap_names(const struct tap *tap, const char *topic)
{
    for (size_t i = 0; i < tap->topic_count; i++)
        if (strcmp(tap->topics[i], topic) == 0)
            return true;
    return false;
}

/* A tap's pattern does not mean dead letters: those it has to name. */
static bool has_handler(const struct batch *batch, const struct item *item)
{
    const struct tap *tap = batch->env->group == NULL ? NULL : batch->env->group->tap;
    if (tap != NULL && item->topic != NULL && item->topic->is_dead_letter && !tap_names(tap, item->topic->name))
        return false;
    return item->binding != NULL;
}

/* Of a name that left the file, and the file says that it is retired. */
static const struct name_answer *retired_by(const struct batch *batch, const struct item *item)
{
    const struct group *group = batch->env->group;
    if (group == NULL || item->topic == NULL)
        return NULL;
    return group->retired != NULL ? group->retired : group->tap == NULL ? item->topic->retired : NULL;
}

/* Whether it is here because a handler was to have it: what waited in the database, or comes on a topic that an earlier
 * file handled. */
static bool was_handled(const struct batch *batch, const struct item *item)
{
    bool in_place = item->source == ITEM_BUS || item->source == ITEM_HELD;
    return batch->connection != NULL && ((item->source == ITEM_PARKED && item_is_event(item)) ||
                                         ((in_place || item->timer != 0) && item->topic == NULL));
}

/* The replay of a dead letter is for the group whose it was. */
static bool for_others(const struct batch *batch, const struct item *item)
{
    const struct group *group = batch->env->group;
    struct span name = group == NULL ? (struct span){NULL, 0} : record_header(&item->record, HEADER_REPLAY_FOR);
    return name.length > 0 && !group_is_called(batch->env->config, group, name);
}

/* It waits until a process that has its topic takes it: in the database, or else in place, as long as it is read here.
 */
static void prepare_other_file(const struct batch *batch, struct work *work)
{
    work->verdict = batch->connection != NULL ? VERDICT_UNKNOWN : VERDICT_DELAY;
    work->due_ms = batch->now_ms + PREPARE_OTHER_FILE_MS;
}

/* An earlier batch had run statements when it found that the event must wait. */
static bool prepare_wait(const struct batch *batch, struct work *work)
{
    struct item *item = work->item;
    int64_t until = item->wait_until_ms;
    item->wait_until_ms = 0;
    if (until <= batch->now_ms)
        return false;
    work->verdict = VERDICT_DELAY;
    work->due_ms = until;
    work->why = item->sentence == NULL ? NULL : arena_string(batch->arena, span_of(item->sentence));
    return true;
}

static void prepare(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    item_wait_over(work->item);
    if (for_others(batch, item)) {
        work->verdict = VERDICT_FOR_OTHERS;
        return;
    }
    prepare_event(batch, work);
    prepare_tries(batch, work);
    held_recall(batch->env, work);
    if (item->condemned == DEAD_ID_CONFLICT && work->verdict == VERDICT_DEAD)
        return; /* unreadable in the first place: that is what is wrong with it */
    if (item->condemned != 0)
        work_dead(batch, work, item->condemned, "%s", item->sentence == NULL ? "" : item->sentence);
    else if (work->verdict != VERDICT_NONE || !prepare_suspect(batch, work))
        return;
    else if (item->other_file)
        prepare_other_file(batch, work);
    else if (retired_by(batch, item) != NULL)
        work_dead(batch, work, DEAD_RETIRED, "'%s' left the pipeline, which says that it is retired",
                  retired_by(batch, item)->old);
    else if (chain_refuses(batch, work))
        return;
    else if (!has_handler(batch, item))
        work->verdict = was_handled(batch, item) ? VERDICT_UNKNOWN : VERDICT_NO_HANDLER;
    else if (prepare_handler(batch, work) && !prepare_wait(batch, work)) {
        prepare_ladder(batch, work);
        if (work->verdict == VERDICT_NONE)
            prepare_delay(batch, work);
    }
    if (work->verdict == VERDICT_NONE)
        pause_prepare(batch, work);
}

void batch_prepare(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        prepare(batch, &batch->works[i]);
}
