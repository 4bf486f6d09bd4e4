/*
 * sweep.c - see sweep.h.
 */
#include "run/sweep.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "batch/refused.h"
#include "event/record_batch.h"
#include "run/state.h"
#include "store/ledger.h"

enum {
    SWEEP_PUBLISH_MS = 3000,
    SWEEP_PUBLISH_EACH_MS = 30000,
    SWEEP_SETTLE_MS = 5000,
    SWEEP_LIMIT = 100,
    SWEEP_TRANSACTION_MS = 60000,
    SWEEP_MS = 5000, /* then the keeper looks at its other chores */
};

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
    int code = bus_publish(engine->bus, records, count, clock_monotonic_ms() + SWEEP_PUBLISH_MS, &failed, &error);
    if (is_refusal(code))
        code = publish_each(engine->bus, records, count, SWEEP_PUBLISH_EACH_MS, &refused, &reason);
    if (code == 0 && refused > 0 && refused_keep(connection, id, records, refused, &reason, &error) == STORE_OK)
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
    if (connection_begin(connection, clock_monotonic_ms() + SWEEP_TRANSACTION_MS, &error) != STORE_OK)
        return false;
    enum store_result result = ledger_outbox_take(connection, engine->incarnation, age_ms, SWEEP_LIMIT, &rows, &error);
    size_t count = result == STORE_OK ? rows_count(rows) : 0;
    int64_t *ids = arena_array(arena, int64_t, count + 1);
    for (size_t i = 0; i < count && (end == ROW_PUBLISHED || end == ROW_UNREADABLE); i++) {
        end = sweep_row(engine, connection, arena, rows_int64(rows, i, 0), rows_span(rows, i, 1));
        if (end == ROW_PUBLISHED)
            ids[published++] = rows_int64(rows, i, 0);
    }
    if (end == ROW_SETTLED)
        result = connection_begin(connection, clock_monotonic_ms() + SWEEP_SETTLE_MS, &error);
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
    return result == STORE_OK && (end == ROW_PUBLISHED || end == ROW_UNREADABLE) && count < SWEEP_LIMIT;
}

bool sweep_outbox(struct engine *engine, struct connection *connection, struct arena *arena, int64_t age_ms)
{
    bool all = FAILPOINT("keeper.sweep") == FAILPOINT_ERROR, more = true;
    size_t published = 0, sum = 0;
    for (int64_t until = clock_monotonic_ms() + SWEEP_MS;
         !all && more && clock_monotonic_ms() < until && !atomic_load(&engine->life.stop);) {
        all = sweep_some(engine, connection, arena, age_ms, &published, &more);
        sum += published;
    }
    if (sum > 0)
        log_info("outbox", "published %zu batches that were committed and not published by their process", sum);
    return all;
}
