/*
 * batch.c - the life of a batch, step by step; delivery.md in code.
 *
 *   prepare   every item is parsed and judged: poison, not due yet, or to be handled
 *   claim     one statement; hits are duplicates, another payload under the same id is a dead letter
 *   handle    handlers run for the claimed events only, as many a call as they take, keys in order
 *   record    outcomes, attempts, chains, parked events and all outputs go into the same transaction
 *   commit    done only if the server said COMMIT; anything else is rolled back, classified and run again
 *   emit      buses that are not part of the transaction get the outputs now; the outbox row stands until they have
 *             them
 *   finish    every item goes back to its lane, or its position is complete
 */
#include "run/batch.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "run/intake.h"
#include "run/outbox.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH_EARLY_MS = 2 /* an event this close to its time is handled now */ };

/* ------------------------------------------------------------------------------------------------------- verdicts */

static const char *sentence(struct batch *batch, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
static const char *sentence(struct batch *batch, const char *format, va_list args)
{
    char text[ERROR_TEXT_MAX];
    vsnprintf(text, sizeof text, format, args);
    return text_clean(arena_string(batch->arena, span_of(text)));
}

char *text_clean(char *text)
{
    for (size_t i = 0, length = strlen(text); i < length; i++) {
        i += span_utf8((struct span){text + i, length - i});
        if (i < length)
            text[i] = '?'; /* cut inside a letter, or never one */
    }
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' ';
    return text;
}

void work_dead(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    work->why = sentence(batch, format, args);
    va_end(args);
    work->verdict = VERDICT_DEAD;
    work->reason = reason;
}

void work_condemn(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    va_list args;
    batch->condemned = true;
    if (work->item->condemned != 0 && (reason != DEAD_ID_CONFLICT || work->item->condemned == DEAD_ID_CONFLICT)) {
        work->item->bare = true; /* its dead letter failed, too: next time without chains and headers */
        return;
    }
    free(work->item->sentence);
    va_start(args, format);
    work->item->sentence = strdup(sentence(batch, format, args));
    va_end(args);
    work->item->condemned = reason;
    work->verdict = VERDICT_BACK;
}

void work_retry(struct batch *batch, struct work *work, const char *why)
{
    const struct binding *binding = work->item->binding;
    int64_t delay = retry_delay_ms(&binding->retry, work->item->tries + 1, worker_random(batch->worker));
    if (delay < 0) {
        work_dead(batch, work, DEAD_RETRIES_EXHAUSTED, "%s; tried %u times", why, work->item->tries + 1);
        return;
    }
    work->verdict = VERDICT_RETRY;
    work->why = why;
    work->due_ms = batch->now_ms + delay;
    series_add(batch->engine->bindings[binding->index].retries, 1);
}

/* -------------------------------------------------------------------------------------------------------- prepare */

static void prepare_ladder(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    work->retries_left = -1;
    if (item->binding == NULL || item->binding->ladder == NULL)
        return;
    const struct ladder *ladder = item->binding->ladder;
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
    if (work->retry_count == 0 || work->event.not_before_ms <= batch->wall_ms + BATCH_EARLY_MS)
        return;
    int64_t latest = batch->wall_ms + ladder_delay_ms(ladder, work->retry_count - 1);
    int64_t due = work->event.not_before_ms < latest ? work->event.not_before_ms : latest;
    if (batch->connection != NULL && item->source == ITEM_BUS) {
        work->verdict = VERDICT_PARK;
        work->due_ms = due;
    } else if (item->source == ITEM_BUS) {
        work->verdict = VERDICT_LATER;
        work->due_ms = batch->now_ms + (due - batch->wall_ms);
    }
}

static bool tap_names(const struct tap *tap, const char *topic)
{
    for (size_t i = 0; i < tap->topic_count; i++)
        if (strcmp(tap->topics[i], topic) == 0)
            return true;
    return false;
}

static void prepare(struct batch *batch, struct work *work)
{
    struct item *item = work->item;
    struct error error = {0};
    enum dead_reason reason = 0;

    if (item->source == ITEM_REQUEST || item->source == ITEM_TICK) {
        intake_event(batch, work);
    } else if (event_parse(&item->record, (size_t)batch->engine->pipeline->engine.max_event_size, batch->arena,
                           &work->event, &reason, &error) != 0) {
        work->event.record = &item->record;
        work_dead(batch, work, reason, "%s", error.text);
    } else if (work->event.binary) {
        struct record *whole = arena_copy(batch->arena, &item->record, sizeof item->record);
        whole->value = event_whole(&work->event, batch->arena); /* plugins are shown whole events */
        work->event.record = whole;
    }
    const struct intmap *attempts = batch->worker->group == NULL ? NULL : atomic_load(&batch->worker->group->attempts);
    if (attempts != NULL && item->tries == 0 && item->binding != NULL)
        item->tries = (uint32_t)(uintptr_t)intmap_get(
            attempts, attempt_key(batch->engine->bindings[item->binding->index].number, work->event.id));
    if (item->condemned == DEAD_ID_CONFLICT && work->verdict == VERDICT_DEAD)
        return; /* unreadable in the first place: that is what is wrong with it */
    if (item->condemned != 0) {
        work_dead(batch, work, item->condemned, "%s", item->sentence == NULL ? "" : item->sentence);
        return;
    }
    if (work->verdict != VERDICT_NONE)
        return;
    switch (suspects_look(batch->engine->parts.suspects, work->event.id)) {
    case SUSPECT_CONVICTED:
        work_dead(batch, work, DEAD_CRASHED, "its handler crashed or hung on it, alone, %d times", SUSPECT_CONVICTIONS);
        return;
    case SUSPECT_ALONE:
        if (batch->count > 1) {
            work->verdict = VERDICT_ALONE;
            return;
        }
        break;
    default:
        break;
    }
    const struct tap *tap = batch->worker->group == NULL ? NULL : batch->worker->group->group->tap;
    if (tap != NULL && item->topic != NULL && item->topic->is_dead_letter && !tap_names(tap, item->topic->name)) {
        work->verdict = VERDICT_PASSED; /* a pattern does not mean dead letters */
        return;
    }
    if (item->topic == NULL && item->source != ITEM_REQUEST && item->source != ITEM_TICK && item->binding == NULL) {
        work->verdict = VERDICT_PASSED; /* a topic that nobody here handles any more */
        return;
    }
    prepare_ladder(batch, work);
    if (work->verdict == VERDICT_NONE && item->binding == NULL)
        work->verdict = VERDICT_PASSED; /* only a chain watches it */
}

/* --------------------------------------------------------------------------------------------------------- handle */

/* A predecessor of the same key that did not end keeps everything behind it. */
static bool must_wait(const struct batch *batch, uint32_t before)
{
    if (before == BATCH_NONE)
        return false;
    enum verdict verdict = batch->works[before].verdict;
    return verdict == VERDICT_RETRY || verdict == VERDICT_LATER || verdict == VERDICT_BACK || verdict == VERDICT_ALONE;
}

static void tick_begin(struct batch *batch, struct work *work)
{
    bool ours = true;
    if (batch->transaction)
        batch->result = ledger_tick(
            batch->connection,
            batch->engine->schedule_numbers[work->item->schedule - batch->engine->pipeline->schedules],
            work->item->slot_ms, &ours, &batch->error);
    if (!ours)
        work->verdict = VERDICT_DUPLICATE;
}

static void handle(struct batch *batch)
{
    const struct pipeline *pipeline = batch->engine->pipeline;
    uint32_t nobody = (uint32_t)pipeline->binding_count;
    uint64_t *keys = arena_array(batch->arena, uint64_t, batch->count);
    uint32_t *bindings = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *order = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *before = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *most = arena_array(batch->arena, uint32_t, nobody + 1);
    struct call_plan *calls = arena_array(batch->arena, struct call_plan, batch->count);
    struct work **works = arena_array(batch->arena, struct work *, batch->count);

    for (uint32_t u = 0; u < nobody; u++)
        most[u] = pipeline->bindings[u]->handler->max_events < pipeline->bindings[u]->max_events
                      ? pipeline->bindings[u]->handler->max_events
                      : pipeline->bindings[u]->max_events;
    most[nobody] = UINT32_MAX;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        keys[i] = work->item->entry.key_hash;
        bindings[i] = work->verdict == VERDICT_NONE ? work->item->binding->index : nobody;
    }
    for (size_t i = 0; i < batch->count; i++)
        batch_judge(batch, &batch->works[i]);
    size_t call_count = batch_plan(batch->count, keys, bindings, most, order, before, calls, batch->arena);
    for (size_t c = 0; c < call_count && batch->result == STORE_OK && !batch->condemned; c++) {
        size_t count = 0;
        for (uint32_t i = calls[c].first; i < calls[c].first + calls[c].count; i++) {
            struct work *work = &batch->works[order[i]];
            if (must_wait(batch, before[order[i]]))
                work->verdict = VERDICT_BACK; /* a duplicate too: what is behind it waits for what is before it */
            if (work->verdict == VERDICT_NONE && work->item->source == ITEM_TICK)
                tick_begin(batch, work);
            if (work->verdict == VERDICT_NONE)
                works[count++] = work;
        }
        if (count > 0 && batch->result == STORE_OK)
            batch_call(batch, pipeline->bindings[calls[c].binding], works, count);
        for (size_t i = 0; i < count; i++)
            batch_judge(batch, works[i]); /* now, so that what is behind it in its key knows */
    }
}

/* ------------------------------------------------------------------------------------------------------------ run */

static void begin(struct batch *batch, struct lane_entry **entries)
{
    struct worker *worker = batch->worker;
    int64_t timeout = 0;
    batch->works = arena_array(batch->arena, struct work, batch->count);
    buffer_clear(&worker->bytes);
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = (struct item *)entries[i];
        batch->works[i].item = item;
        if (item->binding != NULL && item->binding->timeout_ms > timeout)
            timeout = item->binding->timeout_ms;
    }
    batch->now_ms = clock_monotonic_ms();
    batch->wall_ms = clock_wall_ms();
    batch->deadline_ms = batch->now_ms + (timeout > 0 ? timeout : batch->engine->pipeline->defaults.timeout_ms);
    for (size_t i = 0; i < batch->count; i++)
        prepare(batch, &batch->works[i]);
    if (worker->kind != WORKER_GROUP && batch->connection != NULL) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
}

static void run_steps(struct worker *worker, struct lane_entry **entries, size_t count)
{
    struct batch batch = {.worker = worker,
                          .engine = worker->engine,
                          .arena = worker->arena,
                          .connection = worker->connection,
                          .count = count};
    struct record *records = NULL;
    int64_t outbox = 0, began = clock_monotonic_ns();

    begin(&batch, entries);
    (void)FAILPOINT("lane.claim.before");
    if (FAILPOINT("lane.complete.mutate") == FAILPOINT_MUTATE)
        planted_complete_early(&batch);
    bool planted = FAILPOINT("lane.claim.mutate") == FAILPOINT_MUTATE;
    if (planted)
        planted_effects_first(&batch, handle);
    else if (batch.result == STORE_OK)
        batch_claim(&batch);
    (void)FAILPOINT("lane.claim.after");
    if (batch.result == STORE_OK && !batch.condemned && !planted)
        handle(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        batch_claim(&batch); /* dead letters of handlers whose events are not claimed before */
    if (batch.result == STORE_OK && !batch.condemned)
        batch_chains(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        batch_record(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        batch_outputs(&batch, &records, &outbox);
    if (batch.result == STORE_OK && !batch.condemned)
        batch_commit(&batch);
    if (batch.result != STORE_OK || batch.condemned) {
        if (batch.result == STORE_UNKNOWN && outbox != 0)
            outbox_doubt(worker, outbox);
        batch_fail(&batch);
        return;
    }
    worker->trouble = 0;
    if (worker->doubted_count > 0 && batch.claim_count > 0) {
        outbox_resolve(&batch);
        if (outbox != 0)
            outbox_recorded(&batch, &records);
    }
    /* who asked is answered now: what is committed will be published */
    if (outbox != 0 && worker->kind != WORKER_GROUP) {
        outbox_recorded(&batch, &records);
        batch_finish(&batch);
        (void)outbox_emit(&batch, records, outbox);
        return;
    }
    if (outbox_emit(&batch, records, outbox) != 0 && batch.connection == NULL) {
        batch.result = STORE_DOWN;
        batch_fail(&batch);
        return;
    }
    (void)FAILPOINT("lane.finish.before");
    batch_finish(&batch);
    if (worker->group != NULL) {
        series_add(worker->group->metric_batches, 1);
        series_observe(worker->group->metric_batch_events, (double)count);
        series_observe(worker->group->metric_batch_seconds, (double)(clock_monotonic_ns() - began) / 1e9);
    }
}

void batch_run(struct worker *worker, struct lane_entry **entries, size_t count)
{
    struct engine *engine = worker->engine;
    suspects_end(engine->parts.suspects, worker->number);
    /* Suspects run alone in their batch; while they do, no other lane runs, so that a crash names the right one. */
    bool apart = count == 1 && entries[0]->solo && suspects_any(engine->parts.suspects);
    if (apart)
        pthread_rwlock_wrlock(&engine->quarantine);
    else
        pthread_rwlock_rdlock(&engine->quarantine);
    run_steps(worker, entries, count);
    pthread_rwlock_unlock(&engine->quarantine);
}
