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

/* A claim waits for the transaction that made the same one: of the items that the batch has claimed, or seen as
 * duplicates, every earlier transaction is over. */
static void note_over(const struct batch *batch)
{
    struct outbox_lane *outbox = &batch->env->outbox;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        if (work->item->uncertain_row == 0 || !(work->claimed || work->verdict == VERDICT_DUPLICATE))
            continue;
        for (size_t u = 0; u < outbox->uncertain_count; u++)
            if (outbox->uncertain[u].id == work->item->uncertain_row)
                outbox->uncertain[u].over = true;
    }
}

/* One whose transaction is over. NULL: out of memory, as in id_add(). */
static struct uncertain_row *uncertain_add(struct outbox_lane *outbox, int64_t id)
{
    for (size_t i = 0; i < outbox->uncertain_count; i++)
        if (outbox->uncertain[i].id == id)
            return &outbox->uncertain[i];
    if (outbox->uncertain_count == outbox->uncertain_size) {
        size_t size = outbox->uncertain_size == 0 ? 16 : outbox->uncertain_size * 2;
        struct uncertain_row *grown = realloc(outbox->uncertain, size * sizeof *grown);
        if (grown == NULL)
            return NULL;
        outbox->uncertain = grown;
        outbox->uncertain_size = size;
    }
    struct uncertain_row *row = &outbox->uncertain[outbox->uncertain_count++];
    *row = (struct uncertain_row){.id = id, .over = true};
    return row;
}

void outbox_mark_uncertain(struct batch *batch)
{
    struct outbox_lane *outbox = &batch->env->outbox;
    if (batch->env->group == NULL)
        return; /* rows of requests and ticks are the sweeper's already */
    note_over(batch);
    struct uncertain_row *row = uncertain_add(outbox, batch->outbox_row);
    if (row == NULL)
        return;
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->works[i].claimed)
            continue;
        batch->works[i].item->uncertain_row = row->id;
        row->over = false;
    }
}

void outbox_find_left(struct batch *batch, const struct claim *claims, size_t count)
{
    const struct batch_env *env = batch->env;
    struct rows *rows = NULL;
    size_t hits = 0;
    if (env->group == NULL || env->bus->kind->transactional)
        return;
    struct claim *repeated = arena_array(batch->arena, struct claim, count);
    for (size_t i = 0; i < count; i++)
        if (claims[i].hit)
            repeated[hits++] = claims[i];
    if (hits == 0)
        return;
    batch->result = ledger_outbox_of_claims(batch->connection, env->outbox.owner, repeated, hits, &rows, &batch->error);
    for (size_t i = 0; batch->result == STORE_OK && i < rows_count(rows); i++)
        (void)uncertain_add(&batch->env->outbox, rows_int64(rows, i, 0));
}

/* The ids of those that are over, or of those that were dropped. */
static int64_t *uncertain_ids(const struct outbox_lane *outbox, bool dropped, struct arena *arena, size_t *ret_count)
{
    int64_t *ids = arena_array(arena, int64_t, outbox->uncertain_count + 1);
    *ret_count = 0;
    for (size_t i = 0; i < outbox->uncertain_count; i++)
        if (dropped ? outbox->uncertain[i].dropped : outbox->uncertain[i].over)
            ids[(*ret_count)++] = outbox->uncertain[i].id;
    return ids;
}

/* Those that are over. */
static void uncertain_forget(struct outbox_lane *outbox)
{
    size_t kept = 0;
    for (size_t i = 0; i < outbox->uncertain_count; i++)
        if (!outbox->uncertain[i].over)
            outbox->uncertain[kept++] = outbox->uncertain[i];
    outbox->uncertain_count = kept;
}

/* Perhaps no event of theirs is claimed here again, so the statement itself waits for their transactions. But one may
 * be: its stream was not among those that were revoked, or came back before the row was released. So the rows are not
 * forgotten: the next batch looks whether somebody has published them. */
static bool release_dropped(struct batch_env *env)
{
    struct outbox_lane *outbox = &env->outbox;
    size_t count;
    const int64_t *ids = uncertain_ids(outbox, true, env->arena, &count);
    if (count > 0 && !rows_write(env, ledger_outbox_release, ids, count))
        return false;
    for (size_t i = 0; i < outbox->uncertain_count; i++) {
        struct uncertain_row *row = &outbox->uncertain[i];
        row->over = row->over || row->dropped;
        row->released = row->released || row->dropped;
        row->dropped = false;
    }
    return true;
}

void outbox_release_uncertain(struct batch_env *env)
{
    struct outbox_lane *outbox = &env->outbox;
    for (size_t i = 0; i < outbox->uncertain_count; i++)
        outbox->uncertain[i].dropped = !outbox->uncertain[i].released;
    if (outbox->uncertain_count > 0)
        (void)release_dropped(env); /* else the next batch does, or outbox_settle() */
}

bool outbox_needs_settling(const struct outbox_lane *outbox)
{
    for (size_t i = 0; i < outbox->uncertain_count; i++)
        if (outbox->uncertain[i].dropped)
            return true;
    return outbox->published_count > 0;
}

void outbox_settle(struct batch_env *env)
{
    struct outbox_lane *outbox = &env->outbox;
    if (outbox->published_count > 0 && rows_write(env, ledger_outbox_done, outbox->published, outbox->published_count))
        outbox->published_count = 0; /* else the next transaction deletes them */
    if (outbox->uncertain_count > 0)
        (void)release_dropped(env);
}

/* Publishes those of the rows that are there and deletes them; the refused ones are left to the sweeper, which tells
 * apart what is refused. They are locked meanwhile: the sweeper of another process does not publish them, too. */
static enum store_result resolve_rows(struct batch *batch, const int64_t *ids, size_t id_count, struct error *error)
{
    struct connection *connection = batch->env->connection;
    int64_t until_ms = clock_monotonic_ms() + OUTBOX_PUBLISH_MS;
    int64_t *published = arena_array(batch->arena, int64_t, id_count);
    int64_t *refused = arena_array(batch->arena, int64_t, id_count);
    size_t published_count = 0, refused_count = 0;
    struct rows *rows = NULL;
    bool down = false;
    enum store_result result = connection_begin(connection, until_ms + OUTBOX_TRANSACTION_MS, error);
    if (result == STORE_OK)
        result = ledger_outbox_lock(connection, ids, id_count, &rows, error);
    for (size_t i = 0; result == STORE_OK && !down && i < rows_count(rows); i++) {
        struct record *records = NULL;
        size_t count = 0, failed = 0;
        int code = record_batch_read(rows_span(rows, i, 1), batch->arena, &records, &count, error);
        if (code == 0)
            code = bus_publish(batch->env->bus, records, count, until_ms, &failed, error);
        (void)FAILPOINT("lane.resolve.after");
        if (code == 0)
            published[published_count++] = rows_int64(rows, i, 0);
        else if (is_refusal(code))
            refused[refused_count++] = rows_int64(rows, i, 0);
        else
            down = true;
    }
    if (result == STORE_OK && published_count > 0)
        result = ledger_outbox_done(connection, published, published_count, error);
    if (result == STORE_OK && refused_count > 0)
        result = ledger_outbox_release(connection, refused, refused_count, error);
    if (result == STORE_OK && published_count + refused_count > 0)
        result = connection_commit(connection, error);
    else
        connection_rollback(connection);
    return result == STORE_OK && down ? STORE_DOWN : result;
}

/* False: to be tried again. */
static bool resolve_once(struct batch *batch)
{
    struct batch_env *env = batch->env;
    struct outbox_lane *outbox = &env->outbox;
    struct error error = {0};
    size_t id_count;
    if (!release_dropped(env))
        return false;
    const int64_t *ids = uncertain_ids(outbox, false, batch->arena, &id_count);
    if (id_count > 0 && resolve_rows(batch, ids, id_count, &error) != STORE_OK) {
        log_rarely(5000, connection_log_level(env->connection), "lane",
                   "what an earlier COMMIT emitted must be published before these keys go on: %s", error.text);
        return false;
    }
    uncertain_forget(outbox);
    return true;
}

void outbox_resolve_uncertain(struct batch *batch)
{
    note_over(batch);
    while (!resolve_once(batch) && batch->env->sleep(batch->env->context, OUTBOX_AGAIN_MS))
        ;
}
