/*
 * claim.c - the inbox: which handler did which event, and whether this process may still record it.
 *
 * Every event of a handler that is recorded costs one row of the claim, and no effect is safe without it. It inserts
 * with a constant number of parameters, in the order given (sorted, so that two claimers cannot deadlock), and its
 * command tag says how many rows were new: when that is all of them, no row travels back.
 *
 * "on conflict" costs a look into the index before each row and a WAL record after it, a third of the whole insert.
 * Duplicates come many at a time (after a restart, a rebalance, a lost reply). So after ON_CONFLICT_CLAIMS claims
 * without a duplicate a plain insert is tried first; the first duplicate key aborts it and the claim restarts with
 * "on conflict": the transaction, of which the claim is the first statement, is rolled back and begun again.
 */
#include "store/ledger/inner.h"

#include "base/failpoint.h"

#include <errno.h>

/* Key share, so that only deleting the row waits for this transaction, not an update of it. */
static const struct statement statement_fence = {
    "select 1 from sluice.bus_member where id = $1 for key share",
    false,
};

/* No "order by": unnest gives its elements in order, and a sort of sorted rows is work. The time is computed once. */
#define CLAIM_INSERT                                                                                                   \
    "insert into sluice.inbox (handler, outcome, at, event_id, hash) "                                                 \
    "select u.handler, u.outcome, " LEDGER_NOW ", u.event_id, u.hash "                                                 \
    "from unnest($1, $2, $3, $4) as u(handler, outcome, event_id, hash)"
static const struct statement statement_claim = {CLAIM_INSERT " on conflict on constraint inbox_pkey do nothing",
                                                 false};
static const struct statement statement_claim_plain = {CLAIM_INSERT, false};

/*
 * All rows of the claim, and for each whether this transaction wrote it. xmin has 32 bits and is used again after a
 * wraparound, so the time is compared as well.
 */
static const struct statement statement_hits = {
    "select (u.place - 1)::int4, i.outcome, i.hash,"
    "       i.xmin = pg_current_xact_id()::xid and i.at = " LEDGER_NOW " "
    "from unnest($1, $2) with ordinality as u(handler, event_id, place) "
    "join sluice.inbox i on i.handler = u.handler and i.event_id = u.event_id",
    false,
};

/* Fills the out members from the rows in the table, which must have one for each claim: new or a duplicate. */
static enum store_result claim_hits(struct connection *connection, struct claim *claims, size_t count,
                                    struct error *error)
{
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &claims[0].handler, count, sizeof *claims),
        STORE_COLUMN(PARAM_UUID, &claims[0].id, count, sizeof *claims),
    };
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_hits, 2, params, &rows, error);
    if (result != STORE_OK)
        return result;
    if (rows_count(rows) != count) {
        error_set(error, EAGAIN, "an inbox row was deleted while it was being claimed");
        return connection_fail(connection, STORE_TRANSIENT);
    }
    for (size_t i = 0; i < count; i++) {
        struct claim *claim = &claims[rows_int64(rows, i, 0)];
        if (rows_int64(rows, i, 3) != 0)
            continue;
        claim->hit = true;
        claim->outcome = (int16_t)rows_int64(rows, i, 1);
        claim->conflict = claim->hash != rows_int64(rows, i, 2);
    }
    return STORE_OK;
}

enum store_result ledger_fenced(struct connection *connection, struct error *error)
{
    error_set(error, ESTALE,
              "this process is fenced: its membership expired and a peer removed it; the batch may not be committed");
    return connection_fail(connection, STORE_FENCED);
}

/* "begin", the fence and the insert, in one round trip; *ret the number of new rows. */
static enum store_result claim_insert(struct connection *connection, const struct statement *statement, int64_t member,
                                      const struct claim *claims, size_t count, size_t *ret, struct error *error)
{
    const struct store_param fence[] = {STORE_VALUE(PARAM_INT8, &member)};
    enum store_result result = STORE_OK;
    if (member != 0)
        result = connection_queue(connection, &statement_fence, 1, fence, error);
    if (result != STORE_OK)
        return result;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &claims[0].handler, count, sizeof *claims),
        STORE_COLUMN(PARAM_INT2, &claims[0].outcome, count, sizeof *claims),
        STORE_COLUMN(PARAM_UUID, &claims[0].id, count, sizeof *claims),
        STORE_COLUMN(PARAM_INT8, &claims[0].hash, count, sizeof *claims),
    };
    struct rows *rows;
    result = connection_exec(connection, statement, 4, params, &rows, error);
    if (result != STORE_OK)
        return result;
    if (member != 0 && rows_count(connection->results[connection->result_count - 2]) == 0)
        return ledger_fenced(connection, error);
    *ret = rows_affected(rows);
    return STORE_OK;
}

/* The plain insert is tried only as the first statement, because restarting loses what was queued before it. */
static enum store_result claim_try(struct connection *connection, int64_t member, const struct claim *claims,
                                   size_t count, size_t *ret, struct error *error)
{
    if (connection->on_conflict_countdown == 0 && connection->transaction == TRANSACTION_BEGUN) {
        enum store_result result = claim_insert(connection, &statement_claim_plain, member, claims, count, ret, error);
        if (result != STORE_TRANSIENT || strcmp(connection->sqlstate, "23505") != 0)
            return result;
        connection_rollback(connection);
        result = connection_begin(connection, connection->deadline_ms, error);
        if (result != STORE_OK)
            return result;
        if (error != NULL)
            *error = (struct error){0};
        connection->on_conflict_countdown = ON_CONFLICT_CLAIMS;
    }
    enum store_result result = claim_insert(connection, &statement_claim, member, claims, count, ret, error);
    if (result == STORE_OK && *ret < count)
        connection->on_conflict_countdown = ON_CONFLICT_CLAIMS;
    else if (result == STORE_OK && connection->on_conflict_countdown > 0)
        connection->on_conflict_countdown--;
    return result;
}

enum store_result ledger_failpoint(struct connection *connection, struct error *error)
{
    connection_drop(connection);
    error_set(error, ENOTCONN, "the connection to the database was lost (failpoint)");
    return connection_fail(connection, STORE_DOWN);
}

enum store_result ledger_claim(struct connection *connection, int64_t member, struct claim *claims, size_t count,
                               struct error *error)
{
    for (size_t i = 0; i < count; i++)
        claims[i].hit = claims[i].conflict = false;
    if (FAILPOINT("store.claim.before") == FAILPOINT_ERROR)
        return ledger_failpoint(connection, error);
    size_t inserted = 0;
    enum store_result result = claim_try(connection, member, claims, count, &inserted, error);
    if (FAILPOINT("store.claim.after") == FAILPOINT_ERROR && result == STORE_OK)
        return ledger_failpoint(connection, error);
    if (result != STORE_OK || inserted == count)
        return result;
    return claim_hits(connection, claims, count, error);
}

/* A transaction keeps the lock of a table that it wrote to until others see what it did. Sessions' names are cut to 63
 * bytes. */
static const struct statement statement_claiming = {
    "select l.virtualtransaction from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid "
    "where l.locktype = 'relation' and l.relation = 'sluice.inbox'::regclass and l.mode = 'RowExclusiveLock'"
    "  and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())"
    "  and starts_with(a.application_name, left($1 || ' ' || $2, 63)) and ($3 or l.virtualtransaction = any ($4))",
    false,
};

enum store_result ledger_claiming(struct connection *connection, const char *sessions, const struct span *among,
                                  size_t count, struct rows **ret, struct error *error)
{
    struct span application = span_of(connection->store->application), name = span_of(sessions);
    int32_t all = among == NULL;
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &application), STORE_VALUE(PARAM_TEXT, &name),
                                         STORE_VALUE(PARAM_BOOL, &all), STORE_ARRAY(PARAM_TEXT, among, count)};
    return connection_run(connection, &statement_claiming, 4, params, ret, error);
}

static const struct statement statement_claim_dead = {
    "update sluice.inbox i set outcome = 0, at = " LEDGER_NOW " "
    "from unnest($1, $2) as u(handler, event_id) "
    "where i.handler = u.handler and i.event_id = u.event_id and i.outcome = -1",
    false,
};

enum store_result ledger_claim_dead(struct connection *connection, const struct claim *claims, size_t count,
                                    struct error *error)
{
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &claims[0].handler, count, sizeof *claims),
        STORE_COLUMN(PARAM_UUID, &claims[0].id, count, sizeof *claims),
    };
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_claim_dead, 2, params, &rows, error);
    if (result != STORE_OK || rows_affected(rows) == count)
        return result;
    error_set(error, EAGAIN, "a dead letter that came again was handled elsewhere meanwhile");
    return connection_fail(connection, STORE_TRANSIENT);
}

static const struct statement statement_outcomes = {
    "update sluice.inbox i set outcome = u.outcome "
    "from unnest($1, $2, $3) as u(handler, event_id, outcome) "
    "where i.handler = u.handler and i.event_id = u.event_id",
    false,
};

enum store_result ledger_outcomes(struct connection *connection, const struct claim *claims, size_t count,
                                  struct error *error)
{
    struct claim *changed = arena_alloc_raw(connection->scratch, (count + 1) * sizeof *changed);
    size_t changed_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (claims[i].outcome != 0)
            changed[changed_count++] = claims[i];
    }
    if (changed_count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &changed[0].handler, changed_count, sizeof *changed),
        STORE_COLUMN(PARAM_UUID, &changed[0].id, changed_count, sizeof *changed),
        STORE_COLUMN(PARAM_INT2, &changed[0].outcome, changed_count, sizeof *changed),
    };
    return connection_queue(connection, &statement_outcomes, 3, params, error);
}

static const struct statement statement_unclaim = {
    "delete from sluice.inbox i using unnest($1, $2) as u(handler, event_id) "
    "where i.handler = u.handler and i.event_id = u.event_id",
    false,
};

enum store_result ledger_unclaim(struct connection *connection, const struct claim *claims, size_t count,
                                 struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &claims[0].handler, count, sizeof *claims),
        STORE_COLUMN(PARAM_UUID, &claims[0].id, count, sizeof *claims),
    };
    return connection_queue(connection, &statement_unclaim, 2, params, error);
}
