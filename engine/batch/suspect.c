/*
 * suspect.c - suspects, written down for `sluice explain --why`.
 *
 * Once for each end of a process, before the event's handler is called again and in a transaction of its own: when that
 * call ends the process, too, the row stands. It goes with the transaction that ends the event. That it could not be
 * written changes nothing for the event.
 */
#include "batch/batch.h"

#include "base/log.h"
#include "store/ledger_suspect.h"

static struct noted_suspect suspect_of(const struct batch *batch, const struct work *work)
{
    return (struct noted_suspect){.handler = batch->env->bindings[work->item->binding->index].number,
                                  .id = work->event.id,
                                  .times = work->suspect == NULL ? 0 : (int32_t)work->suspect->times,
                                  .reason = span_of(work->suspect == NULL ? "" : work->suspect->why)};
}

void batch_suspects(struct batch *batch)
{
    struct noted_suspect *noted = NULL;
    struct error error = {0};
    size_t count = 0;
    for (size_t i = 0; batch->connection != NULL && batch->env->group != NULL && i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (work->suspect == NULL || work->item->suspected == work->suspect->times || work->item->binding == NULL)
            continue;
        work->item->suspected = work->suspect->times;
        if (work->verdict == VERDICT_DEAD)
            continue; /* convicted: an earlier process has written a row, which goes */
        if (noted == NULL)
            noted = arena_array(batch->arena, struct noted_suspect, batch->count);
        noted[count++] = suspect_of(batch, work);
    }
    if (count > 0 && ledger_suspects_note(batch->connection, noted, count, &error) != STORE_OK)
        log_rarely(5000, connection_log_level(batch->connection), "lane", "suspects cannot be written down: %s",
                   error.text);
}

void batch_suspects_over(struct batch *batch)
{
    struct noted_suspect *over = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        if (work->item->suspected == 0 || (work_row(work)->way != WAY_DONE && work_row(work)->way != WAY_STORED))
            continue;
        if (over == NULL)
            over = arena_array(batch->arena, struct noted_suspect, batch->count);
        over[count++] = suspect_of(batch, work);
    }
    if (count > 0 && !batch->transaction) { /* of a tap that records nothing */
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = batch->result == STORE_OK;
    }
    if (count > 0 && batch->result == STORE_OK)
        batch->result = ledger_suspects_clear(batch->connection, over, count, &batch->error);
}
