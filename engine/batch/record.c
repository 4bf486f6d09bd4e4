/*
 * record.c - everything that must become true together with the handlers' effects, and COMMIT.
 */
#include "batch/batch.h"

#include "base/failpoint.h"
#include "batch/after.h"
#include "batch/breaker.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

/* What record_claims() sorts a batch's claims into; each list has room for all works. */
struct record_lists {
    struct claim *unclaim;
    struct attempt *failed, *over; /* tries that count; attempts that are over */
    struct kept_reply *replies;
    size_t unclaim_count, failed_count, over_count, reply_count;
    bool outcomes; /* some claim has an outcome that is not the usual one */
};

static void record_claim(struct batch *batch, const struct work *work, struct record_lists *lists)
{
    struct claim *claim = &batch->claims[work->claim];
    const struct verdict_row *row = work_row(work);
    bool request = work->item->source == ITEM_REQUEST;
    struct attempt attempt = {.handler = claim->handler,
                              .id = claim->id,
                              .attempts = (int32_t)work->item->tries + 1,
                              .reason = span_of(work->why == NULL ? "" : work->why)};
    if (row->counts_try)
        lists->failed[lists->failed_count++] = attempt;
    if (!(request ? row->keeps_reply && !work->reply_pending : row->keeps_claim)) {
        lists->unclaim[lists->unclaim_count++] = *claim;
        return;
    }
    if (request)
        lists->replies[lists->reply_count++] = (struct kept_reply){
            .handler = claim->handler, .status = (int16_t)work->status, .id = claim->id, .body = work->reply};
    claim->outcome = work->verdict == VERDICT_DEAD      ? OUTCOME_DEAD
                     : work->verdict == VERDICT_OUTCOME ? (int16_t)work->outcome
                                                        : 0;
    lists->outcomes = lists->outcomes || claim->outcome != 0;
    if (work->item->tries > 0)
        lists->over[lists->over_count++] = attempt;
}

static void record_claims(struct batch *batch)
{
    struct connection *connection = batch->connection;
    struct record_lists lists = {.unclaim = arena_array(batch->arena, struct claim, batch->claim_count + 1),
                                 .failed = arena_array(batch->arena, struct attempt, batch->count),
                                 .over = arena_array(batch->arena, struct attempt, batch->count),
                                 .replies = arena_array(batch->arena, struct kept_reply, batch->count)};
    for (size_t i = 0; i < batch->count; i++)
        if (batch->works[i].claimed)
            record_claim(batch, &batch->works[i], &lists);
    if (batch->result == STORE_OK && lists.outcomes)
        batch->result = ledger_outcomes(connection, batch->claims, batch->claim_count, &batch->error);
    if (batch->result == STORE_OK && lists.unclaim_count > 0)
        batch->result = ledger_unclaim(connection, lists.unclaim, lists.unclaim_count, &batch->error);
    if (batch->result == STORE_OK)
        batch->result = ledger_replies_save(connection, lists.replies, lists.reply_count, &batch->error);
    if (batch->result == STORE_OK && lists.failed_count > 0)
        batch->result = ledger_attempts_save(connection, lists.failed, lists.failed_count, &batch->error);
    if (batch->result == STORE_OK && lists.over_count > 0)
        batch->result = ledger_attempts_clear(connection, lists.over, lists.over_count, &batch->error);
}

static struct parked park_one(struct batch *batch, const struct work *work)
{
    static const int16_t states[] = {[PARKING_UNTIL_DUE] = PARKED_WAITING,
                                     [PARKING_STUCK] = PARKED_STUCK,
                                     [PARKING_UNKNOWN] = PARKED_UNKNOWN,
                                     [PARKING_PAUSED] = PARKED_PAUSED};
    enum verdict_parking parking = work_row(work)->parking;
    struct parked parked = {.group = batch->env->numbers->groups[batch->env->group->index],
                            .state = states[parking],
                            .id = work->item->timer != 0
                                      ? work->item->timer_id
                                      : event_id_with_payload(work->event.id, work->event.payload_hash),
                            .chain = work->item->timer,
                            .due_ms = parking == PARKING_UNTIL_DUE ? work->due_ms : batch->wall_ms,
                            .tries = (int32_t)work->item->tries + work_row(work)->counts_try,
                            .record = batch_pack(batch, &work->item->record),
                            .reason = span_of(work->why == NULL ? "" : work->why)};
    if (parking == PARKING_PAUSED)
        parked.paused = span_of(work->item->topic->name);
    return parked;
}

/* Events that wait in the database, and those that waited there and have ended. */
static void record_parked(struct batch *batch)
{
    if (batch->env->group == NULL)
        return;
    struct parked *parked = arena_array(batch->arena, struct parked, batch->count);
    struct event_id *ended = arena_array(batch->arena, struct event_id, batch->count);
    int16_t group = batch->env->numbers->groups[batch->env->group->index];
    size_t parked_count = 0, ended_count = 0;

    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        const struct verdict_row *row = work_row(work);
        if (row->parking != PARKING_NONE && row->way != WAY_STORED)
            parked[parked_count++] = park_one(batch, work);
        else if (work->item->source == ITEM_PARKED && work->item->timer == 0 && row->way == WAY_DONE)
            ended[ended_count++] = event_id_with_payload(work->event.id, work->event.payload_hash);
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
    if (batch->result == STORE_OK)
        batch_held(batch);
    after_record(batch);
    if (batch->result == STORE_OK && batch->transaction)
        record_claims(batch);
    if (batch->result == STORE_OK)
        batch_suspects_over(batch);
    breaker_record(batch);
}

/* The outputs as one row of sluice.outbox, for a bus that is not part of the transaction. */
static void outbox_row(struct batch *batch)
{
    struct buffer *packed = &batch->env->packed;
    buffer_clear(packed);
    record_batch_begin(packed);
    for (size_t i = 0; i < batch->output_count; i++)
        record_batch_append(packed, 0, &batch->records[i]);
    if (packed->failed) {
        error_set(&batch->error, ENOMEM, "the outputs of %zu events cannot be packed for the outbox", batch->count);
        batch->result = STORE_DOWN;
        return;
    }
    batch->result = ledger_outbox_add(batch->connection, batch->env->outbox.owner, buffer_view(packed),
                                      &batch->outbox_row, &batch->error);
}

void batch_outputs(struct batch *batch)
{
    struct bus *bus = batch->env->bus;
    for (size_t i = 0; i < batch->count && !batch->condemned; i++) {
        struct work *work = &batch->works[i];
        enum verdict_output output = work_row(work)->output;
        if (output == OUTPUT_ROUTES)
            outputs_of_work(batch, work);
        else if (output == OUTPUT_DEAD_LETTER)
            outputs_dead_letter(batch, work);
    }
    if (!batch->condemned)
        dead_letters_record(batch);
    if (batch->result != STORE_OK || batch->condemned || batch->output_count == 0)
        return;
    batch->records = outputs_finish(batch);
    batch_outbox_table(batch);
    if (batch->result != STORE_OK)
        return;
    if (batch->transaction && bus->kind->transactional)
        batch->result = bus_append(bus, batch->connection, batch->records, batch->output_count, &batch->error);
    else if (batch->transaction)
        outbox_row(batch);
}

void batch_commit(struct batch *batch)
{
    struct outbox_lane *outbox = &batch->env->outbox;
    if (!batch->transaction)
        return;
    if (outbox->published_count > 0)
        batch->result = ledger_outbox_done(batch->connection, outbox->published, outbox->published_count,
                                           &batch->error);
    if (FAILPOINT("lane.commit.before") == FAILPOINT_ERROR)
        batch->result = STORE_DOWN;
    if (batch->result == STORE_OK)
        batch->result = connection_commit(batch->connection, &batch->error);
    if (batch->result == STORE_OK) {
        batch->transaction = false;
        outbox->published_count = 0;
        session_name(batch);
    }
    (void)FAILPOINT("lane.commit.after");
}
