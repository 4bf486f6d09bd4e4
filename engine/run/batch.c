/*
 * batch.c - the life of a batch, step by step; delivery.md in code.
 *
 *   prepare   every item is parsed and judged: poison, not due yet, or to be handled
 *   claim     one statement; hits are duplicates, another payload under the same id is a dead letter
 *   handle    handlers run for the claimed events only, as many a call as they take, keys in order
 *   record    outcomes, attempts, chains, parked events and all outputs go into the same transaction
 *   commit    done only if the server said COMMIT; anything else is rolled back, classified and run again
 *   emit      buses that are not part of the transaction get the outputs now; the outbox row stands until they have them
 *   finish    every item goes back to its lane, or its position is complete
 */
#include "run/batch.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "event/record_batch.h"
#include "run/intake.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_TROUBLE_SOLO = 3,       /* transient refusals of a whole batch before its events run alone */
    BATCH_STALLS_MAX = 3,         /* deadlines that an event alone may run into */
    BATCH_EARLY_MS = 2,           /* an event this close to its time is handled now */
    BATCH_PUBLISH_MS = 30000,
    BATCH_UNDO_AGAIN_MS = 30000,  /* pause of an undo under retry_forever */
};

/* ------------------------------------------------------------------------------------------------------- verdicts */

void work_dead(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    work->verdict = VERDICT_DEAD;
    work->reason = reason;
    work->why = arena_string(batch->arena, span_of(text));
}

void work_condemn(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    batch->condemned = true;
    if (work->item->condemned != 0)
        return; /* the first reason is the one that counts */
    work->item->condemned = reason;
    work->item->sentence = strdup(text);
    work->verdict = VERDICT_BACK;
}

void work_retry(struct batch *batch, struct work *work, const char *why)
{
    const struct use *use = work->item->use;
    int64_t delay = retry_delay_ms(&use->retry, work->item->tries + 1, worker_random(batch->worker));
    if (delay < 0) {
        work_dead(batch, work, DEAD_RETRIES_EXHAUSTED, "%s; tried %u times", why, work->item->tries + 1);
        return;
    }
    work->verdict = VERDICT_RETRY;
    work->why = why;
    work->due_ms = batch->now_ms + delay;
    series_add(batch->engine->uses[use->index].retries, 1);
}

/* -------------------------------------------------------------------------------------------------------- prepare */

static void prepare_ladder(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    work->retries_left = -1;
    if (item->use == NULL || item->use->ladder == NULL)
        return;
    const struct ladder *ladder = item->use->ladder;
    if (item->topic != NULL && item->topic->ladder_of != NULL) {
        const struct json_member *counter = json_find(&work->event.data, span_of(ladder->counter));
        int64_t climbed = 0;
        if (counter == NULL || counter->kind != JSON_NUMBER || json_int64(counter->value, &climbed) != 0 || climbed < 1 ||
            climbed > ladder->max_retries) {
            work_dead(batch, work, DEAD_BAD_FIELD, "field '%s': expected the ladder's step, an integer from 1 to %d", ladder->counter,
                      ladder->max_retries);
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

static void prepare(struct batch *batch, struct work *work)
{
    struct item *item = work->item;
    struct error error = {0};
    enum dead_reason reason = 0;

    if (item->source == ITEM_REQUEST || item->source == ITEM_TICK) {
        intake_event(batch, work);
    } else if (event_parse(&item->record, (size_t)batch->engine->pipeline->engine.max_event_size, batch->arena, &work->event,
                           &reason, &error) != 0) {
        work->event.record = &item->record;
        work_dead(batch, work, reason, "%s", error.text);
    }
    const struct intmap *attempts = batch->engine->attempts;
    if (attempts != NULL && item->tries == 0 && item->use != NULL)
        item->tries = (uint32_t)(uintptr_t)intmap_get(attempts, attempt_key(batch->engine->uses[item->use->index].number, work->event.id));
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
    if (item->topic == NULL && item->source != ITEM_REQUEST && item->source != ITEM_TICK && item->use == NULL) {
        work->verdict = VERDICT_PASSED; /* a topic that nobody here handles any more */
        return;
    }
    prepare_ladder(batch, work);
    if (work->verdict == VERDICT_NONE && item->use == NULL)
        work->verdict = VERDICT_PASSED; /* only a chain watches it */
}

/* ---------------------------------------------------------------------------------------------------------- claim */

static bool wants_claim(const struct batch *batch, const struct work *work)
{
    const struct item *item = work->item;
    if (batch->connection == NULL || work->claimed || (item->source != ITEM_BUS && item->source != ITEM_PARKED))
        return false;
    if (work->verdict == VERDICT_DEAD)
        return true;
    if (work->verdict == VERDICT_PASSED)
        return item->topic != NULL && item->topic->watch_count > 0;
    return work->verdict == VERDICT_NONE && batch->engine->uses[item->use->index].records;
}

static int16_t work_number(const struct batch *batch, const struct work *work)
{
    return work->item->use == NULL ? batch->engine->chain_handler : batch->engine->uses[work->item->use->index].number;
}

struct claim_order {
    struct claim claim;
    struct work *work;
};

static int claim_compare(const void *left, const void *right)
{
    const struct claim *a = &((const struct claim_order *)left)->claim, *b = &((const struct claim_order *)right)->claim;
    return a->handler != b->handler ? (a->handler < b->handler ? -1 : 1) : memcmp(a->id.bytes, b->id.bytes, sizeof a->id.bytes);
}

/* An id that was used for another payload: the newcomer is dead under an id of its own, so that it too is recorded once. */
static struct event_id conflict_id(struct batch *batch, const struct work *work)
{
    return event_id_of(span_of(arena_format(batch->arena, "conflict:%.*s:%llx", (int)work->event.id_text.length,
                                            work->event.id_text.at, (unsigned long long)work->event.payload_hash)));
}

static void claim_answers(struct batch *batch, struct claim_order *orders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct work *work = orders[i].work;
        const struct claim *claim = &batch->claims[i];
        if (!claim->hit) {
            work->claimed = true;
            work->claim = i;
        } else if (claim->conflict && work->item->condemned != DEAD_ID_CONFLICT) {
            work_condemn(batch, work, DEAD_ID_CONFLICT, "event id '%.*s' came before with another payload", (int)work->event.id_text.length,
                         work->event.id_text.at);
        } else {
            work->verdict = VERDICT_DUPLICATE;
            if (work->item->use != NULL)
                series_add(batch->engine->uses[work->item->use->index].duplicates, 1);
        }
    }
}

static void claim(struct batch *batch)
{
    size_t wanted = 0, count = 0;
    for (size_t i = 0; i < batch->count; i++)
        wanted += wants_claim(batch, &batch->works[i]);
    if (wanted == 0)
        return;
    struct claim_order *orders = arena_array(batch->arena, struct claim_order, wanted);
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (!wants_claim(batch, work))
            continue;
        struct event_id id = work->item->condemned == DEAD_ID_CONFLICT ? conflict_id(batch, work) : work->event.id;
        orders[count++] = (struct claim_order){
            .claim = {.handler = work_number(batch, work), .id = id, .hash = (int64_t)work->event.payload_hash}, .work = work};
    }
    qsort(orders, count, sizeof *orders, claim_compare);
    /* A twin in the same batch waits for the first one's end. */
    size_t kept = 0;
    batch->claims = arena_array(batch->arena, struct claim, count);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && claim_compare(&orders[kept - 1], &orders[i]) == 0) {
            orders[i].work->verdict = VERDICT_BACK;
            continue;
        }
        orders[kept] = orders[i];
        batch->claims[kept++] = orders[i].claim;
    }
    batch->claim_count = kept;
    if (!batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
    int64_t member = batch->worker->group == NULL ? 0 : atomic_load(&batch->worker->group->member);
    if (batch->result == STORE_OK)
        batch->result = ledger_claim(batch->connection, member, batch->claims, kept, &batch->error);
    if (batch->result == STORE_OK)
        claim_answers(batch, orders, kept);
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
        batch->result = ledger_tick(batch->connection, batch->engine->schedule_numbers[work->item->schedule - batch->engine->pipeline->schedules],
                                    work->item->slot_ms, &ours, &batch->error);
    if (!ours)
        work->verdict = VERDICT_DUPLICATE;
}

static void handle(struct batch *batch)
{
    const struct pipeline *pipeline = batch->engine->pipeline;
    uint32_t nobody = (uint32_t)pipeline->use_count;
    uint64_t *keys = arena_array(batch->arena, uint64_t, batch->count);
    uint32_t *uses = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *order = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *before = arena_array(batch->arena, uint32_t, batch->count);
    uint32_t *most = arena_array(batch->arena, uint32_t, nobody + 1);
    struct call_plan *calls = arena_array(batch->arena, struct call_plan, batch->count);
    struct work **works = arena_array(batch->arena, struct work *, batch->count);

    for (uint32_t u = 0; u < nobody; u++)
        most[u] = pipeline->uses[u]->handler->max_events < pipeline->uses[u]->max_events ? pipeline->uses[u]->handler->max_events
                                                                                         : pipeline->uses[u]->max_events;
    most[nobody] = UINT32_MAX;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        keys[i] = work->item->entry.key_hash;
        uses[i] = work->verdict == VERDICT_NONE ? work->item->use->index : nobody;
    }
    size_t call_count = batch_plan(batch->count, keys, uses, most, order, before, calls, batch->arena);
    for (size_t c = 0; c < call_count && batch->result == STORE_OK && !batch->condemned; c++) {
        size_t count = 0;
        for (uint32_t i = calls[c].first; i < calls[c].first + calls[c].count; i++) {
            struct work *work = &batch->works[order[i]];
            if (must_wait(batch, before[order[i]]) && work->verdict != VERDICT_DUPLICATE)
                work->verdict = VERDICT_BACK;
            if (work->verdict == VERDICT_NONE && work->item->source == ITEM_TICK)
                tick_begin(batch, work);
            if (work->verdict == VERDICT_NONE)
                works[count++] = work;
        }
        if (count > 0 && batch->result == STORE_OK)
            batch_call(batch, pipeline->uses[calls[c].use], works, count);
    }
}

/* --------------------------------------------------------------------------------------------------------- record */

static void record_claims(struct batch *batch)
{
    struct claim *back = arena_array(batch->arena, struct claim, batch->claim_count + 1);
    struct attempt *failed = arena_array(batch->arena, struct attempt, batch->count);
    struct attempt *over = arena_array(batch->arena, struct attempt, batch->count);
    size_t back_count = 0, failed_count = 0, over_count = 0;
    bool changed = false;

    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (!work->claimed)
            continue;
        struct claim *mine = &batch->claims[work->claim];
        struct attempt attempt = {.handler = mine->handler, .id = mine->id, .attempts = (int32_t)work->item->tries + 1,
                                  .reason = span_of(work->why == NULL ? "" : work->why)};
        switch (work->verdict) {
        case VERDICT_RETRY:
            failed[failed_count++] = attempt;
            back[back_count++] = *mine;
            break;
        case VERDICT_LATER: case VERDICT_BACK: case VERDICT_STUCK: case VERDICT_PARK: case VERDICT_ALONE:
            back[back_count++] = *mine;
            break;
        default:
            mine->outcome = work->verdict == VERDICT_DEAD ? OUTCOME_DEAD : work->verdict == VERDICT_OUTCOME ? (int16_t)work->outcome : 0;
            changed = changed || mine->outcome != 0;
            if (work->item->tries > 0)
                over[over_count++] = attempt;
        }
    }
    if (batch->result == STORE_OK && changed)
        batch->result = ledger_outcomes(batch->connection, batch->claims, batch->claim_count, &batch->error);
    if (batch->result == STORE_OK && back_count > 0)
        batch->result = ledger_unclaim(batch->connection, back, back_count, &batch->error);
    if (batch->result == STORE_OK && failed_count > 0)
        batch->result = ledger_attempts_save(batch->connection, failed, failed_count, &batch->error);
    if (batch->result == STORE_OK && over_count > 0)
        batch->result = ledger_attempts_clear(batch->connection, over, over_count, &batch->error);
}

/* Events that wait in the database, and those that waited there and have ended. */
static void record_parked(struct batch *batch)
{
    if (batch->worker->group == NULL)
        return;
    struct parked *parked = arena_array(batch->arena, struct parked, batch->count);
    struct event_id *ended = arena_array(batch->arena, struct event_id, batch->count);
    int16_t group = batch->engine->group_numbers[batch->worker->group->group->index];
    size_t parked_count = 0, ended_count = 0;

    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (work->verdict == VERDICT_PARK || work->verdict == VERDICT_STUCK) {
            struct buffer one;
            buffer_init(&one, 4 * EVENT_VALUE_MAX);
            record_batch_begin(&one);
            record_batch_append(&one, 0, &work->item->record);
            parked[parked_count++] = (struct parked){
                .group = group, .state = work->verdict == VERDICT_STUCK ? PARKED_STUCK : PARKED_WAITING, .id = work->event.id,
                .due_ms = work->verdict == VERDICT_STUCK ? batch->wall_ms : work->due_ms,
                .record = arena_span(batch->arena, buffer_view(&one)), .reason = span_of(work->why == NULL ? "" : work->why)};
            buffer_free(&one);
        } else if (work->item->source == ITEM_PARKED && work->verdict != VERDICT_RETRY && work->verdict != VERDICT_LATER &&
                   work->verdict != VERDICT_BACK && work->verdict != VERDICT_ALONE) {
            ended[ended_count++] = work->event.id;
        }
    }
    if (parked_count + ended_count > 0 && !batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = batch->result == STORE_OK;
    }
    if (batch->result == STORE_OK && ended_count > 0)
        batch->result = ledger_unpark(batch->connection, group, ended, ended_count, &batch->error);
    if (batch->result == STORE_OK && parked_count > 0)
        batch->result = ledger_park(batch->connection, parked, parked_count, &batch->error);
}

/* What ends for good decides: an undo that failed may have to wait for an operator instead. */
static void record_dead(struct batch *batch)
{
    for (size_t i = 0; i < batch->count && batch->result == STORE_OK; i++) {
        struct work *work = &batch->works[i];
        if (work->verdict != VERDICT_DEAD)
            continue;
        work->verdict = chain_undo_failed(batch, work);
        if (work->verdict == VERDICT_LATER)
            work->due_ms = batch->now_ms + BATCH_UNDO_AGAIN_MS;
    }
}

static void record_outputs(struct batch *batch, struct record **ret_records, int64_t *ret_outbox)
{
    *ret_records = NULL;
    *ret_outbox = 0;
    for (size_t i = 0; i < batch->count && !batch->condemned; i++) {
        struct work *work = &batch->works[i];
        if (work->verdict == VERDICT_OUTCOME || work->verdict == VERDICT_PASSED)
            outputs_of_work(batch, work);
        else if (work->verdict == VERDICT_DEAD)
            outputs_dead_letter(batch, work);
    }
    if (batch->condemned || batch->output_count == 0)
        return;
    *ret_records = outputs_finish(batch);
    if (!batch->transaction)
        return;
    struct bus *bus = batch->engine->bus;
    if (bus->kind->transactional) {
        batch->result = (enum store_result)bus->kind->append(bus, batch->connection, *ret_records, batch->output_count, &batch->error);
        return;
    }
    struct buffer *packed = &batch->worker->packed;
    buffer_clear(packed);
    record_batch_begin(packed);
    for (size_t i = 0; i < batch->output_count; i++)
        record_batch_append(packed, 0, &(*ret_records)[i]);
    if (packed->failed)
        batch->result = STORE_DOWN;
    else
        batch->result = ledger_outbox_add(batch->connection, buffer_view(packed), ret_outbox, &batch->error);
}

static void commit(struct batch *batch)
{
    struct worker *worker = batch->worker;
    if (!batch->transaction)
        return;
    if (worker->outbox_id_count > 0)
        batch->result = ledger_outbox_done(batch->connection, worker->outbox_ids, worker->outbox_id_count, &batch->error);
    if (FAILPOINT("lane.commit.before") == FAILPOINT_ERROR)
        batch->result = STORE_DOWN;
    if (batch->result == STORE_OK)
        batch->result = connection_commit(batch->connection, &batch->error);
    if (batch->result == STORE_OK) {
        batch->transaction = false;
        worker->outbox_id_count = 0;
    }
    (void)FAILPOINT("lane.commit.after");
}

/* ----------------------------------------------------------------------------------------------------------- emit */

static void outbox_remember(struct worker *worker, int64_t id)
{
    if (worker->outbox_id_count == worker->outbox_id_size) {
        size_t size = worker->outbox_id_size == 0 ? 16 : worker->outbox_id_size * 2;
        int64_t *grown = realloc(worker->outbox_ids, size * sizeof *grown);
        if (grown == NULL)
            return; /* the sweeper publishes it again; readers drop what they had */
        worker->outbox_ids = grown;
        worker->outbox_id_size = size;
    }
    worker->outbox_ids[worker->outbox_id_count++] = id;
}

/* 0, or negative when the outputs are not (all) out. */
static int emit(struct batch *batch, const struct record *records, int64_t outbox)
{
    struct bus *bus = batch->engine->bus;
    if (batch->output_count == 0)
        return 0;
    for (size_t i = 0; i < batch->output_count; i++)
        series_add(batch->engine->topic_runs[batch->outputs[i].topic->index].emitted, 1);
    if (bus->kind->transactional && batch->connection != NULL) {
        bus->kind->published(bus);
        return 0;
    }
    size_t failed = 0;
    struct error error = {0};
    (void)FAILPOINT("lane.emit.before");
    int code = bus->kind->publish(bus, records, batch->output_count, clock_monotonic_ms() + BATCH_PUBLISH_MS, &failed, &error);
    (void)FAILPOINT("lane.emit.after");
    if (code == 0 && outbox != 0)
        outbox_remember(batch->worker, outbox);
    if (code != 0)
        log_rarely(5000, LOG_WARN, "lane", "outputs are not published now: %s; %s", error.text,
                   outbox != 0 ? "the sweeper will" : "their events run again");
    return code;
}

/* --------------------------------------------------------------------------------------------------------- finish */

static void count_end(struct batch *batch, const struct work *work)
{
    if (work->item->use == NULL)
        return;
    struct use_run *run = &batch->engine->uses[work->item->use->index];
    if (work->verdict == VERDICT_OUTCOME)
        series_add(run->by_outcome[work->outcome], 1);
    else if (work->verdict == VERDICT_DEAD)
        series_add(run->dead, 1);
    if (work->verdict == VERDICT_DEAD && work->item->topic != NULL)
        series_add(batch->engine->topic_runs[work->item->topic->index].dead, 1);
}

static void finish(struct batch *batch)
{
    struct worker *worker = batch->worker;
    struct item **ended = arena_array(batch->arena, struct item *, batch->count);
    struct lane_entry **back = arena_array(batch->arena, struct lane_entry *, batch->count);
    struct lane_entry **alone = arena_array(batch->arena, struct lane_entry *, batch->count);
    size_t ended_count = 0, back_count = 0, alone_count = 0;
    int64_t parked_due = INT64_MAX;

    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        struct item *item = work->item;
        switch (work->verdict) {
        case VERDICT_RETRY:
            item->tries++;
            lane_retry(worker->lane, &item->entry, work->due_ms);
            break;
        case VERDICT_LATER:
            lane_retry(worker->lane, &item->entry, work->due_ms);
            break;
        case VERDICT_BACK:
            back[back_count++] = &item->entry;
            break;
        case VERDICT_ALONE:
            alone[alone_count++] = &item->entry;
            break;
        case VERDICT_PARK:
            if (work->due_ms < parked_due)
                parked_due = work->due_ms;
            /* fall through */
        default:
            if (item->source == ITEM_REQUEST && !intake_answer(batch, work, &work->due_ms)) {
                lane_retry(worker->lane, &item->entry, work->due_ms);
                break;
            }
            count_end(batch, work);
            if (suspects_any(batch->engine->parts.suspects))
                suspects_acquit(batch->engine->parts.suspects, work->event.id);
            lane_done(worker->lane, &item->entry);
            ended[ended_count++] = item;
        }
    }
    if (back_count > 0)
        lane_back(worker->lane, back, back_count);
    if (alone_count > 0)
        lane_solo(worker->lane, alone, alone_count);
    if (ended_count > 0)
        items_finish(worker, ended, ended_count, true);
    if (parked_due != INT64_MAX)
        keeper_due(batch->engine, parked_due);
}

/* Requests do not wait for a database for ever: those past http.timeout are told so. The others go back. */
static size_t give_up_late(struct batch *batch, struct lane_entry **entries)
{
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct item *item = batch->works[i].item;
        if (item->source == ITEM_REQUEST && intake_late(batch, item)) {
            lane_done(batch->worker->lane, &item->entry);
            items_finish(batch->worker, &item, 1, false);
        } else if (item->source == ITEM_TICK) {
            lane_done(batch->worker->lane, &item->entry); /* the next tick comes by itself */
            items_finish(batch->worker, &item, 1, false);
        } else {
            entries[count++] = &item->entry;
        }
    }
    return count;
}

/* The transaction did not happen. Why decides what is next; no attempt of any event is counted. */
static void fail(struct batch *batch)
{
    struct worker *worker = batch->worker;
    struct lane_entry **entries = arena_array(batch->arena, struct lane_entry *, batch->count);
    bool late = clock_monotonic_ms() >= batch->deadline_ms;
    int64_t pause = 0;

    if (batch->transaction)
        connection_rollback(batch->connection);
    batch->transaction = false;
    if (batch->condemned) {
        for (size_t i = 0; i < batch->count; i++)
            entries[i] = &batch->works[i].item->entry;
        lane_back(worker->lane, entries, batch->count);
        return;
    }
    worker->trouble++;
    bool solo = batch->count > 1 && (batch->result == STORE_DATA || worker->trouble >= BATCH_TROUBLE_SOLO);
    switch (batch->result) {
    case STORE_DATA:
        if (batch->count == 1)
            work_condemn(batch, &batch->works[0], DEAD_DATABASE, "%s", batch->error.text);
        break;
    case STORE_TRANSIENT:
        if (batch->count == 1 && late && ++batch->works[0].item->stalls >= BATCH_STALLS_MAX)
            work_condemn(batch, &batch->works[0], DEAD_DEADLINE, "ran past its deadline %d times: %s", BATCH_STALLS_MAX, batch->error.text);
        pause = 1 + (int64_t)(20 * worker_random(worker));
        break;
    case STORE_DEPLOY:
        solo = false;
        pause = 1000;
        log_rarely(5000, LOG_ERROR, "lane", "the database does not fit this engine, nothing moves: %s", batch->error.text);
        break;
    default:
        solo = false;
        pause = worker->trouble > 5 ? 1000 : 30ll << worker->trouble;
        log_rarely(5000, LOG_WARN, "lane", "%s: %s; the batch runs again", store_result_word(batch->result), batch->error.text);
    }
    size_t count = give_up_late(batch, entries);
    if (count > 0 && solo)
        lane_solo(worker->lane, entries, count);
    else if (count > 0)
        lane_back(worker->lane, entries, count);
    if (pause > 0)
        engine_sleep(batch->engine, pause);
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
        if (item->use != NULL && item->use->timeout_ms > timeout)
            timeout = item->use->timeout_ms;
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

void batch_run(struct worker *worker, struct lane_entry **entries, size_t count)
{
    struct batch batch = {.worker = worker, .engine = worker->engine, .arena = worker->arena, .connection = worker->connection,
                          .count = count};
    struct record *records = NULL;
    int64_t outbox = 0, began = clock_monotonic_ns();

    begin(&batch, entries);
    (void)FAILPOINT("lane.claim.before");
    if (batch.result == STORE_OK)
        claim(&batch);
    (void)FAILPOINT("lane.claim.after");
    if (batch.result == STORE_OK && !batch.condemned)
        handle(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        claim(&batch); /* dead letters of handlers whose events are not claimed before */
    if (batch.result == STORE_OK && !batch.condemned)
        record_dead(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        batch_chains(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        record_parked(&batch);
    if (batch.result == STORE_OK && !batch.condemned && batch.transaction)
        record_claims(&batch);
    if (batch.result == STORE_OK && !batch.condemned)
        record_outputs(&batch, &records, &outbox);
    if (batch.result == STORE_OK && !batch.condemned)
        commit(&batch);
    if (batch.result != STORE_OK || batch.condemned) {
        fail(&batch);
        return;
    }
    worker->trouble = 0;
    if (emit(&batch, records, outbox) != 0 && batch.connection == NULL) {
        batch.result = STORE_DOWN;
        fail(&batch);
        return;
    }
    (void)FAILPOINT("lane.finish.before");
    finish(&batch);
    if (worker->group != NULL) {
        series_add(worker->group->metric_batches, 1);
        series_observe(worker->group->metric_batch_events, (double)count);
        series_observe(worker->group->metric_batch_seconds, (double)(clock_monotonic_ns() - began) / 1e9);
    }
}
