/*
 * outbox.c - see outbox.h.
 */
#include "run/outbox.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

enum {
    OUTBOX_PUBLISH_MS = 30000,     /* one try; a lane tries again */
    OUTBOX_PUBLISH_SOON_MS = 3000, /* of requests and ticks, before it is the sweeper's */
    OUTBOX_AWAY_MS = 2000,         /* after that, all of them are for a while */
    OUTBOX_AGAIN_MS = 200,
    OUTBOX_FORGET_MS = 5000,
    OUTBOX_SWEEP_LIMIT = 100,
    OUTBOX_SWEEP_TRANSACTION_MS = 60000,
    OUTBOX_SWEEP_MS = 5000, /* then the keeper looks at its other work */
};

int64_t outbox_owner(const struct worker *worker)
{
    return worker->kind == WORKER_GROUP ? worker->engine->incarnation : 0;
}

/* Whether trying again can never help: the bus's word for one record (see bus.h). */
static bool refused_for_good(int code)
{
    return code == -EMSGSIZE || code == -ENOENT || code == -EACCES || code == -EBADMSG || code == -EINVAL;
}

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

static void outbox_remember(struct worker *worker, int64_t id)
{
    id_add(&worker->outbox_ids, &worker->outbox_id_count, &worker->outbox_id_size, id);
}

void outbox_forget(struct worker *worker)
{
    struct error error = {0};
    if (worker->outbox_id_count == 0)
        return;
    enum store_result result = connection_begin(worker->connection, clock_monotonic_ms() + OUTBOX_FORGET_MS, &error);
    if (result == STORE_OK)
        result = ledger_outbox_done(worker->connection, worker->outbox_ids, worker->outbox_id_count, &error);
    if (result == STORE_OK)
        result = connection_commit(worker->connection, &error);
    if (result != STORE_OK)
        connection_rollback(worker->connection); /* with the next transaction, then */
    else
        worker->outbox_id_count = 0;
}

/* ---------------------------------------------------------------------------------------------------------- refused */

/* Some of these are refused for good: finds out which, one by one, publishing the others. The refused ones move to
 * the front. */
static int publish_apart(struct bus *bus, struct record *records, size_t count, size_t *ret_refused,
                         struct error *reason)
{
    size_t refused = 0, failed = 0;
    struct error error = {0};
    for (size_t i = 0; i < count; i++) {
        const struct record record = records[i];
        int code = 0;
        for (size_t r = 0; r < refused && code == 0; r++)
            if (reason->code == ENOENT && span_equal(records[r].topic, record.topic))
                code = -ENOENT; /* the topic is not there for this one either */
        if (code == 0)
            code = bus_publish(bus, &record, 1, clock_monotonic_ms() + OUTBOX_PUBLISH_MS, &failed, &error);
        if (code == 0)
            continue;
        if (!refused_for_good(code))
            return code;
        if (refused == 0) {
            *reason = error;
            reason->code = -code;
        }
        records[refused++] = record;
    }
    *ret_refused = refused;
    return 0;
}

/* What is left of a row, and why. Queued in the connection's transaction. */
static enum store_result keep_refused(struct connection *connection, int64_t row, const struct record *records,
                                      size_t count, const struct error *reason, struct error *error)
{
    struct buffer packed;
    buffer_init(&packed, 256 * 1024 * 1024);
    record_batch_begin(&packed);
    for (size_t i = 0; i < count; i++)
        record_batch_append(&packed, 0, &records[i]);
    enum store_result result = packed.failed ? STORE_DOWN
                                             : ledger_outbox_refuse(connection, row, buffer_view(&packed),
                                                                    span_of(reason->text), error);
    /* What is queued points to the bytes: they go out here. */
    if (result == STORE_OK)
        result = connection_commit(connection, error);
    buffer_free(&packed);
    log_rarely(5000, LOG_ERROR, "outbox",
               "%zu outputs stay in sluice.outbox (row %lld): %s; nothing else waits for them", count, (long long)row,
               reason->text);
    return result;
}

/* A lane's own row. Until it is written the row is whole, and this process has to go on trying: nobody else will. */
static int settle_refused(struct batch *batch, const struct record *records, int64_t row)
{
    struct record *copy = arena_array(batch->arena, struct record, batch->output_count);
    struct error error = {0}, reason = {0};
    size_t refused = 0;
    memcpy(copy, records, batch->output_count * sizeof *copy);
    int code = publish_apart(batch->engine->bus, copy, batch->output_count, &refused, &reason);
    if (code != 0)
        return code;
    if (refused == 0) {
        outbox_remember(batch->worker, row);
        return 0;
    }
    enum store_result result = connection_begin(batch->connection, clock_monotonic_ms() + OUTBOX_FORGET_MS, &error);
    if (result == STORE_OK)
        result = keep_refused(batch->connection, row, copy, refused, &reason, &error);
    if (result == STORE_OK)
        return 0;
    connection_rollback(batch->connection);
    return -EAGAIN;
}

/* Without a store nothing remembers a refused output: its event becomes a dead letter. The bus may refuse records
 * for those that they went with (Kafka's limit is one of all that go together): each has its own chance. */
static int condemn_refused(struct batch *batch, const struct record *records)
{
    struct bus *bus = batch->engine->bus;
    struct error error = {0};
    struct span gone = {0};
    size_t failed = 0;
    int verdict = 0;
    for (size_t i = 0; i < batch->output_count; i++) {
        int code = gone.at != NULL && span_equal(gone, records[i].topic)
                       ? -ENOENT
                       : bus_publish(bus, &records[i], 1, clock_monotonic_ms() + OUTBOX_PUBLISH_MS, &failed, &error);
        if (code == 0)
            continue;
        if (!refused_for_good(code))
            return code;
        if (code == -ENOENT)
            gone = records[i].topic;
        work_condemn(batch, batch->outputs[i].work, DEAD_BAD_OUTPUT, "%s", error.text);
        verdict = code;
    }
    return verdict;
}

/* --------------------------------------------------------------------------------------------------------- emitting */

void outbox_recorded(struct batch *batch, struct record **ret_records)
{
    size_t count = 0;
    struct error error = {0};
    if (record_batch_read(buffer_view(&batch->worker->packed), batch->arena, ret_records, &count, &error) != 0)
        *ret_records = NULL; /* the sweeper will tell */
}

static int emit_once(struct batch *batch, const struct record *records, int64_t row, int64_t publish_ms)
{
    struct bus *bus = batch->engine->bus;
    struct error error = {0};
    size_t failed = 0;
    (void)FAILPOINT("lane.emit.before");
    int code = bus_publish(bus, records, batch->output_count, clock_monotonic_ms() + publish_ms, &failed, &error);
    (void)FAILPOINT("lane.emit.after");
    if (code == 0 && row != 0)
        outbox_remember(batch->worker, row);
    else if (refused_for_good(code) && row != 0)
        code = settle_refused(batch, records, row);
    else if (refused_for_good(code))
        code = condemn_refused(batch, records);
    if (code != 0)
        log_rarely(5000, LOG_WARN, "lane", "outputs are not published now: %s; %s", error.text,
                   row == 0                              ? "their events run again"
                   : batch->worker->kind == WORKER_GROUP ? "their keys wait"
                                                         : "the sweeper will");
    return code;
}

int outbox_emit(struct batch *batch, const struct record *records, int64_t row)
{
    struct bus *bus = batch->engine->bus;
    if (batch->output_count == 0)
        return 0;
    for (size_t i = 0; i < batch->output_count; i++)
        series_add(batch->engine->topic_runs[batch->outputs[i].topic->index].emitted, 1);
    if (bus->kind->transactional && batch->connection != NULL) {
        bus_published(bus);
        return 0;
    }
    if (batch->worker->kind != WORKER_GROUP) {
        struct worker *worker = batch->worker;
        if (row != 0 && (records == NULL || clock_monotonic_ms() < worker->bus_away_ms))
            return -EAGAIN;
        int code = emit_once(batch, records, row, OUTBOX_PUBLISH_SOON_MS);
        worker->bus_away_ms = code == 0 ? 0 : clock_monotonic_ms() + OUTBOX_AWAY_MS;
        return code;
    }
    int code = emit_once(batch, records, row, OUTBOX_PUBLISH_MS);
    while (code != 0 && row != 0 && engine_sleep(batch->engine, OUTBOX_AGAIN_MS))
        code = emit_once(batch, records, row, OUTBOX_PUBLISH_MS);
    return code;
}

/* --------------------------------------------------------------------------------------------------------- in doubt */

void outbox_doubt(struct worker *worker, int64_t row)
{
    if (worker->kind == WORKER_GROUP) /* the others' rows are the sweeper's already */
        id_add(&worker->doubted, &worker->doubted_count, &worker->doubted_size, row);
}

void outbox_leave(struct worker *worker)
{
    struct error error = {0};
    if (worker->doubted_count == 0)
        return;
    enum store_result result = connection_begin(worker->connection, clock_monotonic_ms() + OUTBOX_FORGET_MS, &error);
    if (result == STORE_OK)
        result = ledger_outbox_release(worker->connection, worker->doubted, worker->doubted_count, &error);
    if (result == STORE_OK)
        result = connection_commit(worker->connection, &error);
    if (result == STORE_OK)
        worker->doubted_count = 0;
    else
        connection_rollback(worker->connection); /* with the next batch, then */
}

/* False: to be tried again. */
static bool resolve_once(struct batch *batch)
{
    struct worker *worker = batch->worker;
    struct bus *bus = batch->engine->bus;
    struct rows *rows = NULL;
    struct error error = {0};
    bool refused = false;
    enum store_result result = connection_begin(worker->connection, clock_monotonic_ms() + OUTBOX_FORGET_MS, &error);
    if (result == STORE_OK)
        result = ledger_outbox_find(worker->connection, worker->doubted, worker->doubted_count, &rows, &error);
    connection_rollback(worker->connection);
    for (size_t i = 0; result == STORE_OK && i < rows_count(rows); i++) {
        struct record *records = NULL;
        size_t count = 0, failed = 0;
        int code = record_batch_read(rows_span(rows, i, 1), batch->arena, &records, &count, &error);
        if (code == 0)
            code = bus_publish(bus, records, count, clock_monotonic_ms() + OUTBOX_PUBLISH_MS, &failed, &error);
        if (code == 0)
            outbox_remember(worker, rows_int64(rows, i, 0));
        else if (refused_for_good(code))
            refused = true; /* the sweeper tells apart what is refused */
        else
            result = STORE_DOWN;
    }
    if (result != STORE_OK) {
        log_rarely(5000, LOG_WARN, "lane", "what became of a commit is not known yet, its keys wait: %s", error.text);
        return false;
    }
    if (refused)
        outbox_leave(worker);
    else
        worker->doubted_count = 0;
    return worker->doubted_count == 0;
}

void outbox_resolve(struct batch *batch)
{
    while (!resolve_once(batch) && engine_sleep(batch->engine, OUTBOX_AGAIN_MS))
        ;
}

/* --------------------------------------------------------------------------------------------------------- sweeping */

enum row_end {
    ROW_PUBLISHED = 1,
    ROW_SETTLED /* what is left of it is refused; the transaction is over */,
    ROW_UNREADABLE,
    ROW_LEFT
};

static enum row_end sweep_row(struct engine *engine, struct connection *connection, struct arena *arena, int64_t id,
                              struct span bytes)
{
    struct record *records = NULL;
    size_t count = 0, failed = 0, refused = 0;
    struct error error = {0}, reason = {0};
    if (record_batch_read(bytes, arena, &records, &count, &error) != 0) {
        log_rarely(10000, LOG_ERROR, "outbox", "row %lld of sluice.outbox cannot be read: %s", (long long)id,
                   error.text);
        return ROW_UNREADABLE;
    }
    int code = bus_publish(engine->bus, records, count, clock_monotonic_ms() + OUTBOX_PUBLISH_SOON_MS, &failed, &error);
    if (refused_for_good(code))
        code = publish_apart(engine->bus, records, count, &refused, &reason);
    if (code == 0 && refused > 0 && keep_refused(connection, id, records, refused, &reason, &error) == STORE_OK)
        return ROW_SETTLED;
    if (code == 0 && refused == 0)
        return ROW_PUBLISHED;
    log_rarely(10000, LOG_WARN, "outbox", "row %lld of sluice.outbox is not published now: %s", (long long)id,
               error.text);
    return ROW_LEFT;
}

/* Some rows, in one transaction. False: others are left; *ret_more: and it makes sense to go on with them. */
static bool sweep_some(struct engine *engine, struct connection *connection, struct arena *arena, int64_t age_ms,
                       size_t *ret_published, bool *ret_more)
{
    struct rows *rows = NULL;
    struct error error = {0};
    size_t published = 0;
    enum row_end end = ROW_PUBLISHED;

    *ret_published = 0;
    *ret_more = false;
    if (connection_begin(connection, clock_monotonic_ms() + OUTBOX_SWEEP_TRANSACTION_MS, &error) != STORE_OK)
        return false;
    enum store_result result = ledger_outbox_take(connection, engine->incarnation, age_ms, OUTBOX_SWEEP_LIMIT, &rows,
                                                  &error);
    size_t count = result == STORE_OK ? rows_count(rows) : 0;
    int64_t *ids = arena_array(arena, int64_t, count + 1);
    for (size_t i = 0; i < count && (end == ROW_PUBLISHED || end == ROW_UNREADABLE); i++) {
        end = sweep_row(engine, connection, arena, rows_int64(rows, i, 0), rows_span(rows, i, 1));
        if (end == ROW_PUBLISHED)
            ids[published++] = rows_int64(rows, i, 0);
    }
    if (end == ROW_SETTLED)
        result = connection_begin(connection, clock_monotonic_ms() + OUTBOX_FORGET_MS, &error);
    if (result == STORE_OK)
        result = ledger_outbox_done(connection, ids, published, &error);
    if (result == STORE_OK)
        result = connection_commit(connection, &error);
    if (result != STORE_OK)
        connection_rollback(connection);
    else
        *ret_published = published;
    *ret_more = result == STORE_OK && (published > 0 || end == ROW_SETTLED);
    arena_reset(arena);
    return result == STORE_OK && (end == ROW_PUBLISHED || end == ROW_UNREADABLE) && count < OUTBOX_SWEEP_LIMIT;
}

bool outbox_sweep(struct engine *engine, struct connection *connection, struct arena *arena, int64_t age_ms)
{
    bool all = FAILPOINT("keeper.sweep") == FAILPOINT_MUTATE;
    bool more = true;
    size_t published = 0, sum = 0;
    for (int64_t until = clock_monotonic_ms() + OUTBOX_SWEEP_MS;
         !all && more && clock_monotonic_ms() < until && !atomic_load(&engine->stop);) {
        all = sweep_some(engine, connection, arena, age_ms, &published, &more);
        sum += published;
    }
    if (sum > 0)
        log_info("outbox", "published %zu batches that were committed and left behind", sum);
    return all;
}
