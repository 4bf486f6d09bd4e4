/*
 * after.c - see after.h.
 */
#include "batch/after.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/correlation.h"
#include "store/ledger_after.h"

#include <stdlib.h>

enum {
    AFTER_LOOK_MS = 50,    /* what other processes handled is looked for so often, while something waits, */
    AFTER_LOOK_SHARE = 20, /* for one part of so many of the time at most */
    AFTER_READY_MAX = 1000,
    AFTER_EARLY_MS = 100,    /* a wait this close to its end is over: as held keys are */
    AFTER_VALUE_SHOWN = 100, /* bytes */
};

/* ---------------------------------------------------------------------------------------------------------- judged */

/* A topic's name has no space, and a field's length is before it. */
static struct event_id needed_id(struct arena *arena, const char *topic, const char *field, struct span value)
{
    return event_id_of(
        span_of(arena_format(arena, "%s %zu %s %.*s", topic, strlen(field), field, (int)value.length, value.at)));
}

static int id_compare(const void *left, const void *right)
{
    return memcmp(left, right, sizeof(struct event_id));
}

/* Of a topic and its retries. */
static const struct topic *topic_of(const struct work *work)
{
    const struct topic *topic = work->item->topic;
    return topic == NULL ? NULL : topic->ladder_of != NULL ? topic->ladder_of : topic;
}

static bool in_own_group(const struct batch *batch)
{
    const struct batch_env *env = batch->env;
    return env->config->after_count > 0 && env->group != NULL && env->group->tap == NULL && env->connection != NULL;
}

static bool is_judged(const struct work *work)
{
    const struct item *item = work->item;
    return work->verdict == VERDICT_NONE && item->topic != NULL && item->topic->after != NULL && item->failed == 0 &&
           !item->entry.append;
}

const char *after_refusal(const struct after *after, const struct json_object *data, struct arena *arena,
                          struct span *ret_value)
{
    const char *got = NULL;
    if (correlation_read(data, span_of(after->correlate), arena, ret_value, &got) == CORRELATION_USABLE)
        return NULL;
    return arena_format(arena,
                        "field '%s' says which event of '%s' it comes after: expected a text of 1 to %d bytes or a "
                        "whole number, got %s",
                        after->correlate, after->topic->name, EVENT_ID_MAX, got);
}

/* What the event needs; false: its data does not say, and it is a dead letter. */
static bool needs_of(struct batch *batch, struct work *work, struct needed *ret)
{
    const struct after *after = work->item->topic->after;
    struct span value;
    const char *refusal = after_refusal(after, &work->event.data, batch->arena, &value);
    if (refusal != NULL) {
        work_dead(batch, work, DEAD_BAD_CORRELATION, "%s", refusal);
        return false;
    }
    *ret = (struct needed){.id = needed_id(batch->arena, after->noted_as, after->correlate, value)};
    return true;
}

/* Since when it waits, monotonic: since it was here first. One that was delayed, since it was due. */
static int64_t came_ms(const struct batch *batch, struct work *work)
{
    struct item *item = work->item;
    int64_t due_ms = work->event.not_before_ms;
    if (item->source == ITEM_PARKED)
        return due_ms == 0 || due_ms > batch->wall_ms ? batch->now_ms : batch->now_ms - (batch->wall_ms - due_ms);
    if (item->came_ms == 0)
        item->came_ms = batch->now_ms;
    return item->came_ms;
}

static void wait(struct batch *batch, struct work *work, const struct needed *needed)
{
    const struct after *after = work->item->topic->after;
    int64_t end_ms = came_ms(batch, work) + after->at_most_ms;
    char most_text[32];
    struct span value;
    (void)correlation_read(&work->event.data, span_of(after->correlate), batch->arena, &value, NULL);
    char *shown = text_clean(arena_format(batch->arena, "%.*s", AFTER_VALUE_SHOWN, arena_string(batch->arena, value)));
    if (end_ms - batch->now_ms > AFTER_EARLY_MS) {
        work->verdict = VERDICT_DELAY;
        work->due_ms = end_ms;
        work->needs = &needed->id;
        work->why = arena_format(batch->arena, "waits for %s with %s=%s; then %s", after->topic->name, after->correlate,
                                 shown, after->handle ? "it is handled" : "dead letter");
    } else if (!after->handle) {
        work_dead(batch, work, DEAD_TOO_EARLY, "no event of '%s' with %s=%s was handled within %s of its arrival",
                  after->topic->name, after->correlate, shown, duration_text(after->at_most_ms, most_text));
    }
}

/* What the events of this batch that are about to be handled may be to others; sorted. */
static size_t about_to_be(const struct batch *batch, struct event_id *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        const struct topic *topic = work->verdict == VERDICT_NONE ? topic_of(work) : NULL;
        struct span value;
        for (size_t f = 0; topic != NULL && f < topic->noted_count; f++)
            if (correlation_read(&work->event.data, span_of(topic->noted[f].field), batch->arena, &value, NULL) ==
                CORRELATION_USABLE)
                ret[count++] = needed_id(batch->arena, topic->noted[f].topic, topic->noted[f].field, value);
    }
    qsort(ret, count, sizeof *ret, id_compare);
    return count;
}

static size_t most_noted(const struct batch *batch)
{
    size_t count = 1;
    for (size_t i = 0; i < batch->count; i++)
        count += topic_of(&batch->works[i]) == NULL ? 0 : topic_of(&batch->works[i])->noted_count;
    return count;
}

/* Those that must wait; but one whose other event is handled in this very batch is looked at again behind it. */
static void judge(struct batch *batch, struct work **works, const struct needed *needed, size_t count)
{
    struct event_id *soon = NULL;
    size_t soon_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (needed[i].handled)
            continue;
        if (soon == NULL) {
            soon = arena_array(batch->arena, struct event_id, most_noted(batch));
            soon_count = about_to_be(batch, soon);
        }
        if (bsearch(&needed[i].id, soon, soon_count, sizeof *soon, id_compare) != NULL)
            works[i]->verdict = VERDICT_REQUEUE;
        else
            wait(batch, works[i], &needed[i]);
    }
}

void batch_after(struct batch *batch)
{
    size_t count = 0;
    if (!in_own_group(batch) || batch->result != STORE_OK)
        return;
    for (size_t i = 0; i < batch->count; i++)
        count += is_judged(&batch->works[i]);
    if (count == 0)
        return;
    struct work **works = arena_array(batch->arena, struct work *, count);
    struct needed *needed = arena_array(batch->arena, struct needed, count);
    count = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (is_judged(&batch->works[i]) && needs_of(batch, &batch->works[i], &needed[count]))
            works[count++] = &batch->works[i];
    if (count > 0)
        batch->result = ledger_after_look(batch->connection, batch->env->numbers->groups[batch->env->group->index],
                                          needed, count, &batch->error);
    if (batch->result == STORE_OK)
        judge(batch, works, needed, count);
}

/* -------------------------------------------------------------------------------------------------------- recorded */

/* A try that goes on on a retry ladder is not the end of the event. */
static bool was_handled(const struct work *work)
{
    if (work->verdict != VERDICT_OUTCOME)
        return false;
    const struct route *route = work->item->binding->by_outcome[work->outcome];
    return route == NULL || route->kind != ROUTE_LADDER || work->retries_left == 0;
}

static bool is_held(const struct work *work)
{
    return work->needs != NULL && work_row(work)->parking == PARKING_HEAD;
}

/* What it needed was handled, or is needed no more; now it waits for something else: a retry, the end of a pause. */
static bool has_waited(const struct work *work)
{
    return work->item->needs && work->needs == NULL && work_row(work)->parking == PARKING_HEAD;
}

static bool is_concerned(const struct batch *batch)
{
    bool waited = false;
    for (size_t i = 0; i < batch->count && !waited; i++)
        waited = has_waited(&batch->works[i]);
    return waited || in_own_group(batch);
}

/* Sorted, each once; handled when one of them is. */
static size_t merge(struct needed *needed, size_t count)
{
    size_t kept = 0;
    qsort(needed, count, sizeof *needed, id_compare);
    for (size_t i = 0; i < count; i++)
        if (kept > 0 && id_compare(&needed[kept - 1], &needed[i]) == 0)
            needed[kept - 1].handled |= needed[i].handled;
        else
            needed[kept++] = needed[i];
    return kept;
}

static size_t add_handled(const struct batch *batch, const struct work *work, struct needed *ret)
{
    const struct topic *topic = topic_of(work);
    size_t count = 0;
    struct span value;
    for (size_t f = 0; topic != NULL && f < topic->noted_count && was_handled(work); f++)
        if (correlation_read(&work->event.data, span_of(topic->noted[f].field), batch->arena, &value, NULL) ==
            CORRELATION_USABLE)
            ret[count++] = (struct needed){needed_id(batch->arena, topic->noted[f].topic, topic->noted[f].field, value),
                                           1};
    return count;
}

void after_record(struct batch *batch)
{
    if (!is_concerned(batch) || batch->result != STORE_OK)
        return;
    struct needed *needed = arena_array(batch->arena, struct needed, most_noted(batch) + batch->count);
    struct held_need *held = arena_array(batch->arena, struct held_need, batch->count);
    size_t count = 0, held_count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        count += add_handled(batch, work, &needed[count]);
        if (has_waited(work))
            held[held_count++] = (struct held_need){.key_hash = (int64_t)work->item->entry.key_hash,
                                                    .event = work->event.id};
        if (!is_held(work))
            continue;
        needed[count++] = (struct needed){*work->needs, 0};
        held[held_count++] = (struct held_need){(int64_t)work->item->entry.key_hash, work->event.id, *work->needs,
                                                span_of(work->item->topic->after->rule)};
    }
    if (count + held_count == 0)
        return;
    if (!batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = batch->result == STORE_OK;
    }
    count = merge(needed, count);
    if (batch->result == STORE_OK)
        batch->result = ledger_after_note(batch->connection, batch->env->numbers->groups[batch->env->group->index],
                                          needed, count, held, held_count, &batch->ready, &batch->error);
}

void after_over(struct batch *batch)
{
    if (!in_own_group(batch))
        return;
    for (size_t i = 0; i < batch->count; i++)
        if (is_held(&batch->works[i])) {
            after_waits(batch->env);
            break;
        }
    if (batch->ready > 0)
        batch->env->ready(batch->env->context);
}

/* ----------------------------------------------------------------------------------------------------- between them */

int64_t after_due_ms(const struct batch_env *env)
{
    return env->some_wait ? env->after_look_ms : INT64_MAX;
}

void after_waits(struct batch_env *env)
{
    env->some_wait = true;
    env->after_look_ms = 0;
}

bool after_stands(const struct batch_env *env, struct span rule)
{
    for (size_t i = 0; i < env->config->after_count; i++)
        if (span_equal(env->config->after_rules[i], rule))
            return true;
    return false;
}

void after_changed(struct batch_env *env, const struct span *streams, size_t stream_count)
{
    struct error error = {0};
    if (ledger_after_changed(env->connection, env->numbers->groups[env->group->index], streams, stream_count,
                             env->config->after_rules, env->config->after_count, &error) != STORE_OK)
        log_rarely(5000, connection_log_level(env->connection), "lane", "events wait by an earlier file: %s",
                   error.text);
}

void after_look(struct batch_env *env)
{
    struct span *streams = NULL;
    struct rows *rows = NULL;
    struct error error = {0};
    int64_t began_ms = clock_monotonic_ms();
    size_t stream_count = env->streams(env->context, env->arena, &streams);
    enum store_result result = ledger_after_ready(env->connection, env->numbers->groups[env->group->index], streams,
                                                  stream_count, AFTER_READY_MAX, &rows, &error);
    int64_t now_ms = clock_monotonic_ms(), share_ms = AFTER_LOOK_SHARE * (now_ms - began_ms);
    env->after_look_ms = now_ms + (share_ms > AFTER_LOOK_MS ? share_ms : AFTER_LOOK_MS);
    if (result != STORE_OK) {
        log_rarely(5000, connection_log_level(env->connection), "lane",
                   "whose event need not wait any more is not known yet: %s", error.text);
        return;
    }
    env->some_wait = rows_int64(rows, 0, 1) != 0;
    for (size_t i = 0; i < rows_count(rows); i++) {
        uint64_t key_hash = (uint64_t)rows_int64(rows, i, 0);
        if (rows_null(rows, i, 0) || lane_of_key(key_hash, env->lane_count) != env->lane_index)
            continue;
        lane_found(env->lane, key_hash, now_ms, 0);
        env->some_wait = true; /* until it is gone: the lane may be at its key */
    }
}
