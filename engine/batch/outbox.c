/*
 * outbox.c - see outbox.h.
 */
#include "batch/outbox.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "batch/refused.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

enum {
    OUTBOX_PUBLISH_MS = 30000,     /* one try; a lane tries again */
    OUTBOX_PUBLISH_SOON_MS = 3000, /* one try for rows of requests and ticks; then they are left to the sweeper, */
    OUTBOX_BUS_DOWN_MS = 2000,     /* and so are the rows of the next ones, for this long */
    OUTBOX_AGAIN_MS = 200,
    OUTBOX_TRANSACTION_MS = 5000,
};

static void id_add(int64_t **ids, size_t *count, size_t *size, int64_t id)
{
    if (*count == *size) {
        size_t more = *size == 0 ? 16 : *size * 2;
        int64_t *grown = realloc(*ids, more * sizeof *grown);
        if (grown == NULL)
            return; /* it is published, or published again, after a restart; readers drop what they had */
        *ids = grown;
        *size = more;
    }
    (*ids)[(*count)++] = id;
}

static void mark_published(struct outbox_lane *outbox, int64_t row)
{
    id_add(&outbox->published, &outbox->published_count, &outbox->published_size, row);
}

/* Runs `write`, which queues a statement about rows, in a transaction of its own. */
static bool rows_write(struct batch_env *env,
                       enum store_result (*write)(struct connection *connection, const int64_t *ids, size_t count,
                                                  struct error *error),
                       const int64_t *ids, size_t count)
{
    struct error error = {0};
    enum store_result result = connection_begin(env->connection, clock_monotonic_ms() + OUTBOX_TRANSACTION_MS, &error);
    if (result == STORE_OK)
        result = write(env->connection, ids, count, &error);
    if (result == STORE_OK)
        result = connection_commit(env->connection, &error);
    if (result != STORE_OK)
        connection_rollback(env->connection);
    return result == STORE_OK;
}

void outbox_delete_published(struct batch_env *env)
{
    struct outbox_lane *outbox = &env->outbox;
    if (outbox->published_count > 0 && rows_write(env, ledger_outbox_done, outbox->published, outbox->published_count))
        outbox->published_count = 0; /* else the next transaction deletes them */
}

void outbox_free(struct outbox_lane *outbox)
{
    free(outbox->published);
    free(outbox->uncertain);
}

/* --------------------------------------------------------------------------------------------------------- refused */

/* Publishes what is not refused and keeps the rest in the row. -EAGAIN: the database did not take it, the row is
 * whole. */
static int settle_refused(struct batch *batch)
{
    struct record *copy = arena_array(batch->arena, struct record, batch->output_count);
    struct error error = {0}, reason = {0};
    size_t refused = 0;
    memcpy(copy, batch->records, batch->output_count * sizeof *copy);
    int code = publish_each(batch->env->bus, copy, batch->output_count, OUTBOX_PUBLISH_MS, &refused, &reason);
    if (code != 0)
        return code;
    if (refused == 0) {
        mark_published(&batch->env->outbox, batch->outbox_row);
        return 0;
    }
    enum store_result result = connection_begin(batch->connection, clock_monotonic_ms() + OUTBOX_TRANSACTION_MS,
                                                &error);
    if (result == STORE_OK)
        result = refused_keep(batch->connection, batch->outbox_row, copy, refused, &reason, &error);
    if (result == STORE_OK)
        return 0;
    connection_rollback(batch->connection);
    return -EAGAIN;
}

/* Without a store nothing remembers a refused output: its event becomes a dead letter. */
static int condemn_refused(struct batch *batch)
{
    struct error error = {0};
    struct span missing = {0}; /* the last topic that the bus does not have */
    size_t failed = 0;
    int refusal = 0;
    for (size_t i = 0; i < batch->output_count; i++) {
        const struct record *record = &batch->records[i];
        int code = missing.at != NULL && span_equal(missing, record->topic)
                       ? -ENOENT
                       : bus_publish(batch->env->bus, record, 1, clock_monotonic_ms() + OUTBOX_PUBLISH_MS, &failed,
                                     &error);
        if (code == 0)
            continue;
        if (!is_refusal(code))
            return code;
        if (code == -ENOENT)
            missing = record->topic;
        work_condemn(batch, batch->outputs[i].work, DEAD_BAD_OUTPUT, "%s", error.text);
        refusal = code;
    }
    return refusal;
}

/* ------------------------------------------------------------------------------------------------------------ emit */

void outbox_reload(struct batch *batch)
{
    size_t count = 0;
    struct error error = {0};
    if (record_batch_read(buffer_view(&batch->env->packed), batch->arena, &batch->records, &count, &error) != 0)
        batch->records = NULL; /* left to the sweeper, which logs what is wrong with the row */
}

static int emit_once(struct batch *batch, int64_t publish_ms)
{
    struct error error = {0};
    size_t failed = 0;
    (void)FAILPOINT("lane.emit.before");
    int code = bus_publish(batch->env->bus, batch->records, batch->output_count, clock_monotonic_ms() + publish_ms,
                           &failed, &error);
    (void)FAILPOINT("lane.emit.after");
    if (code == 0 && batch->outbox_row != 0)
        mark_published(&batch->env->outbox, batch->outbox_row);
    else if (is_refusal(code) && batch->outbox_row != 0)
        code = settle_refused(batch);
    else if (is_refusal(code))
        code = condemn_refused(batch);
    if (code != 0)
        log_rarely(5000, LOG_WARN, "lane", "outputs are not published now: %s; %s", error.text,
                   batch->outbox_row == 0      ? "their events run again"
                   : batch->env->group != NULL ? "their keys wait"
                                               : "the sweeper publishes them");
    return code;
}

/* Of requests and ticks: one try, so that the next requests of the lane do not wait for the bus. */
static int emit_briefly(struct batch *batch)
{
    struct outbox_lane *outbox = &batch->env->outbox;
    if (batch->outbox_row != 0 && (batch->records == NULL || clock_monotonic_ms() < outbox->bus_down_ms))
        return -EAGAIN;
    int code = emit_once(batch, OUTBOX_PUBLISH_SOON_MS);
    outbox->bus_down_ms = code == 0 ? 0 : clock_monotonic_ms() + OUTBOX_BUS_DOWN_MS;
    return code;
}

int outbox_emit(struct batch *batch)
{
    struct batch_env *env = batch->env;
    if (batch->output_count == 0)
        return 0;
    for (size_t i = 0; i < batch->output_count; i++)
        series_add(env->topics[batch->outputs[i].topic->index].emitted, 1);
    if (env->bus->kind->transactional && batch->connection != NULL) {
        bus_published(env->bus);
        return 0;
    }
    if (env->group == NULL)
        return emit_briefly(batch);
    int code = emit_once(batch, OUTBOX_PUBLISH_MS);
    while (code != 0 && batch->outbox_row != 0 && env->sleep(env->context, OUTBOX_AGAIN_MS))
        code = emit_once(batch, OUTBOX_PUBLISH_MS);
    return code;
}

/* ------------------------------------------------------------------------------------------------ uncertain commits */

void outbox_mark_uncertain(struct batch_env *env, int64_t row)
{
    struct outbox_lane *outbox = &env->outbox;
    if (env->group != NULL) /* the others' rows are the sweeper's already */
        id_add(&outbox->uncertain, &outbox->uncertain_count, &outbox->uncertain_size, row);
}

void outbox_release_uncertain(struct batch_env *env)
{
    struct outbox_lane *outbox = &env->outbox;
    if (outbox->uncertain_count > 0 &&
        rows_write(env, ledger_outbox_release, outbox->uncertain, outbox->uncertain_count))
        outbox->uncertain_count = 0; /* else with the next batch */
}

/* False: to be tried again. */
static bool resolve_once(struct batch *batch)
{
    struct batch_env *env = batch->env;
    struct outbox_lane *outbox = &env->outbox;
    struct rows *rows = NULL;
    struct error error = {0};
    bool refused = false;
    enum store_result result = connection_begin(env->connection, clock_monotonic_ms() + OUTBOX_TRANSACTION_MS, &error);
    if (result == STORE_OK)
        result = ledger_outbox_find(env->connection, outbox->uncertain, outbox->uncertain_count, &rows, &error);
    connection_rollback(env->connection);
    for (size_t i = 0; result == STORE_OK && i < rows_count(rows); i++) {
        struct record *records = NULL;
        size_t count = 0, failed = 0;
        int code = record_batch_read(rows_span(rows, i, 1), batch->arena, &records, &count, &error);
        if (code == 0)
            code = bus_publish(env->bus, records, count, clock_monotonic_ms() + OUTBOX_PUBLISH_MS, &failed, &error);
        if (code == 0)
            mark_published(outbox, rows_int64(rows, i, 0));
        else if (is_refusal(code))
            refused = true; /* the sweeper tells apart what is refused */
        else
            result = STORE_DOWN;
    }
    if (result != STORE_OK) {
        log_rarely(5000, LOG_WARN, "lane",
                   "COMMIT was sent but its reply was lost; checking before these keys go on: %s", error.text);
        return false;
    }
    if (refused)
        outbox_release_uncertain(env);
    else
        outbox->uncertain_count = 0;
    return outbox->uncertain_count == 0;
}

void outbox_resolve_uncertain(struct batch *batch)
{
    while (!resolve_once(batch) && batch->env->sleep(batch->env->context, OUTBOX_AGAIN_MS))
        ;
}
