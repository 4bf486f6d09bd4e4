/*
 * batch_record.c - everything that must become true together with the handlers' effects, and COMMIT.
 */
#include "run/outbox.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

enum {
    RECORD_UNDO_AGAIN_MS = 30000,         /* pause of an undo under retry_forever */
    RECORD_PARKED_MAX = 64 * 1024 * 1024, /* bytes; engine.max_event_size is 16 MiB at most */
};

static void record_claims(struct batch *batch)
{
    struct claim *back = arena_array(batch->arena, struct claim, batch->claim_count + 1);
    struct attempt *failed = arena_array(batch->arena, struct attempt, batch->count);
    struct attempt *over = arena_array(batch->arena, struct attempt, batch->count);
    struct kept_reply *replies = arena_array(batch->arena, struct kept_reply, batch->count);
    size_t back_count = 0, failed_count = 0, over_count = 0, reply_count = 0;
    bool changed = false;

    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (!work->claimed)
            continue;
        struct claim *mine = &batch->claims[work->claim];
        struct attempt attempt = {.handler = mine->handler,
                                  .id = mine->id,
                                  .attempts = (int32_t)work->item->tries + 1,
                                  .reason = span_of(work->why == NULL ? "" : work->why)};
        switch (work->verdict) {
        case VERDICT_RETRY:
            failed[failed_count++] = attempt;
            back[back_count++] = *mine;
            break;
        case VERDICT_LATER:
        case VERDICT_BACK:
        case VERDICT_STUCK:
        case VERDICT_PARK:
        case VERDICT_ALONE:
            back[back_count++] = *mine;
            break;
        case VERDICT_DEAD:
            if (work->item->source == ITEM_REQUEST) { /* nothing was done: the key is free for a better request */
                back[back_count++] = *mine;
                break;
            }
            /* fall through */
        default:
            if (work->item->source == ITEM_REQUEST)
                replies[reply_count++] = (struct kept_reply){
                    .handler = mine->handler, .status = (int16_t)work->status, .id = mine->id, .body = work->reply};
            mine->outcome = work->verdict == VERDICT_DEAD      ? OUTCOME_DEAD
                            : work->verdict == VERDICT_OUTCOME ? (int16_t)work->outcome
                                                               : 0;
            changed = changed || mine->outcome != 0;
            if (work->item->tries > 0)
                over[over_count++] = attempt;
        }
    }
    if (batch->result == STORE_OK && changed)
        batch->result = ledger_outcomes(batch->connection, batch->claims, batch->claim_count, &batch->error);
    if (batch->result == STORE_OK && back_count > 0)
        batch->result = ledger_unclaim(batch->connection, back, back_count, &batch->error);
    if (batch->result == STORE_OK)
        batch->result = ledger_replies_save(batch->connection, replies, reply_count, &batch->error);
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
            buffer_init(&one, RECORD_PARKED_MAX);
            record_batch_begin(&one);
            record_batch_append(&one, 0, &work->item->record);
            if (one.failed) { /* kept, never half: its position stays where it is */
                error_set(&batch->error, ENOMEM, "an event on %s cannot be packed to wait in the database",
                          work->item->topic->name);
                batch->result = STORE_DOWN;
            }
            parked[parked_count++] = (struct parked){
                .group = group,
                .state = work->verdict == VERDICT_STUCK ? PARKED_STUCK : PARKED_WAITING,
                .id = event_id_with_payload(work->event.id, work->event.payload_hash),
                .due_ms = work->verdict == VERDICT_STUCK ? batch->wall_ms : work->due_ms,
                .record = arena_span(batch->arena, buffer_view(&one)),
                .reason = span_of(work->why == NULL ? "" : work->why)};
            buffer_free(&one);
        } else if (work->item->source == ITEM_PARKED && work->verdict != VERDICT_RETRY &&
                   work->verdict != VERDICT_LATER && work->verdict != VERDICT_BACK && work->verdict != VERDICT_ALONE) {
            ended[ended_count++] = event_id_with_payload(work->event.id, work->event.payload_hash);
        }
    }
    if (batch->result == STORE_OK && parked_count + ended_count > 0 && !batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = batch->result == STORE_OK;
    }
    if (batch->result == STORE_OK && ended_count > 0)
        batch->result = ledger_unpark(batch->connection, group, ended, ended_count, &batch->error);
    if (batch->result == STORE_OK && parked_count > 0)
        batch->result = ledger_park(batch->connection, parked, parked_count, &batch->error);
}

void batch_record(struct batch *batch)
{
    record_parked(batch);
    if (batch->result == STORE_OK && batch->transaction)
        record_claims(batch);
}

void batch_judge(struct batch *batch, struct work *work)
{
    if (work->verdict != VERDICT_DEAD || work->item->bare || batch->result != STORE_OK || batch->condemned)
        return;
    work->verdict = chain_undo_failed(batch, work);
    if (work->verdict == VERDICT_LATER)
        work->due_ms = batch->now_ms + RECORD_UNDO_AGAIN_MS;
}

void batch_outputs(struct batch *batch, struct record **ret_records, int64_t *ret_outbox)
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
        batch->result = (enum store_result)bus_append(bus, batch->connection, *ret_records, batch->output_count,
                                                      &batch->error);
        return;
    }
    struct buffer *packed = &batch->worker->packed;
    buffer_clear(packed);
    record_batch_begin(packed);
    for (size_t i = 0; i < batch->output_count; i++)
        record_batch_append(packed, 0, &(*ret_records)[i]);
    if (packed->failed) {
        error_set(&batch->error, ENOMEM, "the outputs of %zu events cannot be packed for the outbox", batch->count);
        batch->result = STORE_DOWN;
    } else
        batch->result = ledger_outbox_add(batch->connection, outbox_owner(batch->worker), buffer_view(packed),
                                          ret_outbox, &batch->error);
}

void batch_commit(struct batch *batch)
{
    struct worker *worker = batch->worker;
    if (!batch->transaction)
        return;
    if (worker->outbox_id_count > 0)
        batch->result = ledger_outbox_done(batch->connection, worker->outbox_ids, worker->outbox_id_count,
                                           &batch->error);
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
