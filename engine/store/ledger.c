/*
 * ledger.c - names, the inbox and the attempts.
 *
 * The claim is the statement that everything rests on, and the one that every event pays for. It inserts with a
 * constant number of parameters, in the order given (sorted, so that two claimers never wait for each other in a
 * circle), and its command tag says how many rows were new: when that is all of them, no row travels back.
 *
 * ON CONFLICT costs a look into the index before each row and a record in the log after it, a third of the whole
 * insert. As duplicates come in swarms (after a restart, a rebalance, a lost answer), a claim is optimistic after a
 * while without any: a plain INSERT, which the first duplicate makes fail; then the transaction, of which it is the
 * first statement, begins again, carefully.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "store/ledger.h"
#include "store/ledger_inner.h"

enum store_result ledger_run(struct connection *connection, const struct statement *statement, size_t param_count,
                             const struct store_param *params, struct rows **ret, struct error *error)
{
    if (connection_in_transaction(connection))
        return connection_exec(connection, statement, param_count, params, ret, error);
    return connection_once(connection, statement, param_count, params, connection->store->statement_timeout_ms, ret,
                           error);
}

/* ------------------------------------------------------------------------------------------------------------ names */

/* A name that another process makes at this moment is in neither part: the caller asks again. */
static const struct statement statement_names = {
    "WITH input AS (SELECT u.name, u.place FROM unnest($2) WITH ORDINALITY AS u(name, place)),"
    "     made AS (INSERT INTO sluice.name (kind, name)"
    "              SELECT DISTINCT $1::\"char\", i.name FROM input i"
    "              WHERE NOT EXISTS (SELECT FROM sluice.name n WHERE n.kind = $1::\"char\" AND n.name = i.name)"
    "              ORDER BY i.name"
    "              ON CONFLICT (kind, name) DO NOTHING RETURNING name, number) "
    "SELECT coalesce(n.number, m.number) FROM input i"
    "  LEFT JOIN sluice.name n ON n.kind = $1::\"char\" AND n.name = i.name"
    "  LEFT JOIN made m ON m.name = i.name "
    "ORDER BY i.place",
    false,
};

enum store_result ledger_names(struct connection *connection, char kind, size_t count, const struct span *names,
                               int16_t *ret_numbers, struct error *error)
{
    struct span kind_text = {&kind, 1};
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &kind_text), STORE_ARRAY(PARAM_TEXT, names, count)};
    for (int tries = 0; tries < 3; tries++) {
        struct rows *rows;
        enum store_result result = ledger_run(connection, &statement_names, 2, params, &rows, error);
        if (result != STORE_OK)
            return result;
        size_t known = 0;
        while (known < rows_count(rows) && !rows_null(rows, known, 0))
            known++;
        if (known < count)
            continue;
        for (size_t i = 0; i < count; i++)
            ret_numbers[i] = (int16_t)rows_int64(rows, i, 0);
        return STORE_OK;
    }
    error_set(error, EAGAIN, "another process is naming the same handlers at this moment");
    return STORE_TRANSIENT;
}

/* ----------------------------------------------------------------------------------------------------------- claims */

/* KEY SHARE: a heartbeat may update the row meanwhile, deleting it must wait for us. */
static const struct statement statement_fence = {
    "SELECT 1 FROM sluice.bus_member WHERE id = $1 FOR KEY SHARE",
    false,
};

/* No ORDER BY: unnest gives its elements in order, and a sort of sorted rows is work. The time is computed once. */
#define CLAIM_INSERT                                                                                                   \
    "INSERT INTO sluice.inbox (handler, outcome, at, event_id, hash) "                                                 \
    "SELECT u.handler, u.outcome, " LEDGER_NOW ", u.event_id, u.hash "                                                 \
    "FROM unnest($1, $2, $3, $4) AS u(handler, outcome, event_id, hash)"
static const struct statement statement_claim = {CLAIM_INSERT " ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING",
                                                 false};
static const struct statement statement_claim_new = {CLAIM_INSERT, false};

/*
 * What was there before us. A row is ours when this transaction wrote it; its transaction number has 32 bits and comes
 * again some day, hence the second look at the time.
 */
static const struct statement statement_hits = {
    "SELECT (u.place - 1)::int4, i.outcome, i.hash,"
    "       i.xmin = pg_current_xact_id()::xid AND i.at = " LEDGER_NOW " "
    "FROM unnest($1, $2) WITH ORDINALITY AS u(handler, event_id, place) "
    "JOIN sluice.inbox i ON i.handler = u.handler AND i.event_id = u.event_id",
    false,
};

/* Fills the out members from the rows that stand now: ours and those before us must make up all of them. */
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
        connection->failed = STORE_TRANSIENT;
        error_set(error, EAGAIN, "an inbox row was deleted while it was being claimed");
        return STORE_TRANSIENT;
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

/* BEGIN, the fence and the insert, in one round trip; *ret the number of new rows. */
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
    if (member != 0 && rows_count(connection->results[connection->result_count - 2]) == 0) {
        connection->failed = STORE_FENCED;
        error_set(error, ESTALE, "this process was declared dead by its peers: nothing of this batch may be committed");
        return STORE_FENCED;
    }
    *ret = (size_t)strtoull(PQcmdTuples(rows->result), NULL, 10);
    return STORE_OK;
}

/* Optimistic, if nothing would be lost by beginning again; else, or then, carefully. */
static enum store_result claim_try(struct connection *connection, int64_t member, const struct claim *claims,
                                   size_t count, size_t *ret, struct error *error)
{
    if (connection->claim_careful == 0 && connection->transaction == TRANSACTION_BEGUN) {
        enum store_result result = claim_insert(connection, &statement_claim_new, member, claims, count, ret, error);
        if (result != STORE_TRANSIENT || strcmp(connection->sqlstate, "23505") != 0)
            return result;
        connection_rollback(connection);
        result = connection_begin(connection, connection->deadline_ms, error);
        if (result != STORE_OK)
            return result;
        if (error != NULL)
            *error = (struct error){0};
        connection->claim_careful = CLAIM_CAREFUL;
    }
    enum store_result result = claim_insert(connection, &statement_claim, member, claims, count, ret, error);
    if (result == STORE_OK && *ret < count)
        connection->claim_careful = CLAIM_CAREFUL;
    else if (result == STORE_OK && connection->claim_careful > 0)
        connection->claim_careful--;
    return result;
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
    if (FAILPOINT("store.claim.mutate") == FAILPOINT_MUTATE)
        return STORE_OK; /* the planted bug: everything is new */
    return claim_hits(connection, claims, count, error);
}

enum store_result ledger_failpoint(struct connection *connection, struct error *error)
{
    connection_drop(connection);
    connection->failed = STORE_DOWN;
    error_set(error, ENOTCONN, "the connection to the database was lost (failpoint)");
    return STORE_DOWN;
}

static const struct statement statement_outcomes = {
    "UPDATE sluice.inbox i SET outcome = u.outcome "
    "FROM unnest($1, $2, $3) AS u(handler, event_id, outcome) "
    "WHERE i.handler = u.handler AND i.event_id = u.event_id",
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
    "DELETE FROM sluice.inbox i USING unnest($1, $2) AS u(handler, event_id) "
    "WHERE i.handler = u.handler AND i.event_id = u.event_id",
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

/* --------------------------------------------------------------------------------------------------------- attempts */

static const struct statement statement_attempts_save = {
    "INSERT INTO sluice.attempt AS a (handler, event_id, attempts, reason) "
    "SELECT DISTINCT ON (u.handler, u.event_id) u.handler, u.event_id, u.attempts, u.reason "
    "FROM unnest($1, $2, $3, $4) AS u(handler, event_id, attempts, reason) "
    "ORDER BY u.handler, u.event_id, u.attempts DESC "
    "ON CONFLICT ON CONSTRAINT attempt_pkey"
    " DO UPDATE SET attempts = greatest(a.attempts, excluded.attempts), at = excluded.at, reason = excluded.reason",
    false,
};

enum store_result ledger_attempts_save(struct connection *connection, const struct attempt *attempts, size_t count,
                                       struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &attempts[0].handler, count, sizeof *attempts),
        STORE_COLUMN(PARAM_UUID, &attempts[0].id, count, sizeof *attempts),
        STORE_COLUMN(PARAM_INT4, &attempts[0].attempts, count, sizeof *attempts),
        STORE_COLUMN(PARAM_TEXT, &attempts[0].reason, count, sizeof *attempts),
    };
    return connection_queue(connection, &statement_attempts_save, 4, params, error);
}

static const struct statement statement_attempts_clear = {
    "DELETE FROM sluice.attempt a USING unnest($1, $2) AS u(handler, event_id) "
    "WHERE a.handler = u.handler AND a.event_id = u.event_id",
    false,
};

enum store_result ledger_attempts_clear(struct connection *connection, const struct attempt *attempts, size_t count,
                                        struct error *error)
{
    if (count == 0)
        return STORE_OK;
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &attempts[0].handler, count, sizeof *attempts),
        STORE_COLUMN(PARAM_UUID, &attempts[0].id, count, sizeof *attempts),
    };
    return connection_queue(connection, &statement_attempts_clear, 2, params, error);
}

static const struct statement statement_attempts_load = {
    "SELECT handler, event_id, attempts FROM sluice.attempt",
    false,
};

enum store_result ledger_attempts_load(struct connection *connection, struct rows **ret, struct error *error)
{
    return ledger_run(connection, &statement_attempts_load, 0, NULL, ret, error);
}
