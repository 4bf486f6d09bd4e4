/*
 * transaction.c - begin, statements, and an end that is known; and statements without a transaction.
 *
 * "begin" travels with the first statement and "commit" with the last queued ones, so a transaction costs as many round
 * trips as it has answers to wait for. A commit counts only when its result says COMMIT; a connection that is lost
 * after the commit was sent leaves the outcome unknown, whatever the reason, and the result says so. After a failure
 * only a rollback is possible, and a rollback that cannot be confirmed becomes a closed connection.
 */
#include "store/connection/connection.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "store/script.h"

#include <errno.h>
#include <stdlib.h>

enum {
    ROLLBACK_MS = 3000, /* how long a rollback may take before the connection is closed instead */
    SCRIPT_EXCERPT = 400,
};

/* In full, because a role or a database may have other defaults. */
static const struct statement statement_begin = {"begin isolation level read committed read write", false};
/* The lock is the transaction's: nothing that a plugin's statement does gives it back. */
static const struct statement statement_mark = {"select pg_advisory_xact_lock_shared(" STORE_LOCK_WRITER ", 0)", false};
static const struct statement statement_commit = {"commit", false};
static const struct statement statement_rollback = {"rollback", false};

bool connection_tampered(const struct connection *connection)
{
    return connection->tampered;
}

/* The first failure of a transaction stays its answer. */
static enum store_result connection_note(struct connection *connection, enum store_result result)
{
    if (result != STORE_OK && connection->failed == STORE_OK && connection->transaction != TRANSACTION_NONE)
        connection->failed = result;
    return result;
}

enum store_result connection_fail(struct connection *connection, enum store_result result)
{
    connection->failed = result;
    return result;
}

static void connection_reset(struct connection *connection)
{
    rows_release(connection);
    arena_reset(connection->scratch);
    connection->failed = STORE_OK;
    connection->tampered = false;
    connection->plugin_ran = connection->crash_elsewhere = false;
    connection->session.changed[0] = connection->session.left[0] = '\0';
    connection->session.separate = connection->session.own_due = false;
    connection->sqlstate[0] = '\0';
    connection->pending_count = 0;
    connection->result_count = 0;
}

void store_mark_transactions(struct store *store)
{
    atomic_store(&store->marks, true);
}

/* --------------------------------------------------------------------------------- the session, see session.c */

static enum store_result compare_session(struct connection *connection, bool whole, struct error *error)
{
    int32_t all = whole;
    const struct store_param params[] = {STORE_VALUE(PARAM_BOOL, &all)};
    return wire_push(connection, PENDING_SESSION, &session_compare, 1, params, error);
}

/* Before a plugin's statement is pushed: asks what there is, once a connection. */
static enum store_result remember_session(struct connection *connection, struct error *error)
{
    if (connection->session.asked)
        return STORE_OK;
    connection->session.asked = true;
    return compare_session(connection, false, error);
}

/* Before a plugin's statement is pushed, when another handler's ran before it. */
static enum store_result separate_session(struct connection *connection, struct error *error)
{
    const int32_t whole = false;
    const struct store_param params[] = {STORE_VALUE(PARAM_BOOL, &whole)};
    if (!connection->session.separate)
        return STORE_OK;
    connection->session.separate = false;
    enum store_result result = wire_push(connection, PENDING_SEPARATE, &session_reset, 0, NULL, error);
    return result == STORE_OK ? wire_push(connection, PENDING_SEPARATE, &session_compare, 1, params, error) : result;
}

/* Before a statement of the engine is pushed, or COMMIT, when the last one was a plugin's. */
static enum store_result own_session(struct connection *connection, struct error *error)
{
    enum { ROLE = 4 }; /* in session_columns[] */
    struct session *session = &connection->session;
    if (!session->own_due || !session->known)
        return STORE_OK;
    session->own_due = false;
    const struct span values[] = {span_of(session->before[ROLE]), span_of(session->own[0]), span_of(session->own[1]),
                                  span_of(session->own[2])};
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &values[0]), STORE_VALUE(PARAM_TEXT, &values[1]),
                                         STORE_VALUE(PARAM_TEXT, &values[2]), STORE_VALUE(PARAM_TEXT, &values[3])};
    return wire_push(connection, PENDING_OWN, &session_own, 4, params, error);
}

/* Pushed behind the end of a transaction in which a plugin's statement ran. */
static void leave_session(struct connection *connection)
{
    if (compare_session(connection, session_whole(connection), NULL) != STORE_OK ||
        wire_push(connection, PENDING_SESSION, &session_reset, 0, NULL, NULL) != STORE_OK)
        connection->session.replace = true;
}

static void settle_session(struct connection *connection)
{
    if (connection->pg != NULL && connection->session.replace)
        connection_drop(connection);
}

/* ----------------------------------------------------------------------------------------------- begin, statements */

enum store_result connection_begin(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    connection_rollback(connection);
    connection_reset(connection);
    enum store_result result = connection_open(connection, deadline_ms, error);
    if (result != STORE_OK)
        return result;
    connection->transaction = TRANSACTION_BEGUN;
    connection->deadline_ms = deadline_ms;
    return STORE_OK;
}

/* Whether a statement may be sent now; queues "begin" before the first one. */
static enum store_result connection_prepare(struct connection *connection, const struct statement *statement,
                                            struct error *error)
{
    if (connection->transaction == TRANSACTION_NONE) {
        error_set(error, EINVAL, "a statement needs a transaction: %.60s", statement->text);
        return STORE_DOWN;
    }
    if (connection->failed != STORE_OK) {
        error_set(error, store_result_errno(connection->failed),
                  "the transaction has failed before this statement: %.60s", statement->text);
        return connection->failed;
    }
    if (statement->plugin && sqlstate_transaction_word(statement->text)) {
        connection->tampered = true;
        error_set(error, EPERM, "a plugin may not end or change its transaction or session: %.60s", statement->text);
        return connection_note(connection, STORE_DATA);
    }
    if (connection->transaction == TRANSACTION_OPEN)
        return STORE_OK;
    connection->transaction = TRANSACTION_OPEN;
    enum store_result result = wire_push(connection, PENDING_BEGIN, &statement_begin, 0, NULL, error);
    if (result == STORE_OK && atomic_load(&connection->store->marks))
        result = wire_push(connection, PENDING_BEGIN, &statement_mark, 0, NULL, error);
    return connection_note(connection, result);
}

enum store_result connection_queue(struct connection *connection, const struct statement *statement, size_t param_count,
                                   const struct store_param *params, struct error *error)
{
    enum store_result result = connection_prepare(connection, statement, error);
    if (result == STORE_OK && statement->plugin) {
        connection->plugin_ran = true;
        result = remember_session(connection, error);
        if (result == STORE_OK)
            result = separate_session(connection, error);
        connection->session.own_due = true;
    } else if (result == STORE_OK) {
        result = own_session(connection, error);
    }
    if (result == STORE_OK)
        result = wire_push(connection, PENDING_STATEMENT, statement, param_count, params, error);
    return connection_note(connection, result);
}

/* After a pipeline inside a transaction the server must still be inside it. */
static enum store_result connection_check_open(struct connection *connection, struct error *error)
{
    if (PQtransactionStatus(connection->pg) == PQTRANS_INTRANS)
        return STORE_OK;
    connection->tampered = true;
    connection_drop(connection);
    error_set(error, EPERM, "a statement has ended the transaction that it was part of");
    return STORE_DATA;
}

enum store_result connection_exec(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, struct rows **ret, struct error *error)
{
    enum store_result result = connection_queue(connection, statement, param_count, params, error);
    if (result == STORE_OK)
        result = wire_run(connection, connection->deadline_ms, error);
    if (connection_left(connection) != NULL) {
        error_set(error, EAGAIN, "another handler has left the session changed: %s", connection_left(connection));
        result = STORE_TRANSIENT;
    }
    if (result == STORE_OK)
        result = connection_check_open(connection, error);
    if (result == STORE_OK && ret != NULL)
        *ret = connection->results[connection->result_count - 1];
    return connection_note(connection, result);
}

/* ---------------------------------------------------------------------------------------------------------- the end */

static enum store_result commit_lost(struct connection *connection, const char *how, struct error *error)
{
    connection_drop(connection);
    error_set(error, EINPROGRESS, "the connection was lost %s: whether it was committed is not known", how);
    return STORE_UNKNOWN;
}

/* COMMIT is on its way: from here on a lost connection, for whatever reason, leaves the answer unknown. */
static enum store_result commit_finish(struct connection *connection, struct error *error)
{
    connection->refused = false;
    enum store_result result = wire_flush(connection, connection->deadline_ms, error);
    if (FAILPOINT("store.commit.sent") == FAILPOINT_ERROR)
        return commit_lost(connection, "after COMMIT was sent (failpoint)", error);
    if (result == STORE_OK)
        result = wire_read(connection, connection->deadline_ms, error);
    if (connection->store->round_trips != NULL)
        series_add(connection->store->round_trips, 1);
    if (connection->pg == NULL && !connection->refused) {
        connection_drop(connection);
        error_prefix(error, "whether it was committed is not known");
        return STORE_UNKNOWN;
    }
    if (FAILPOINT("store.commit.reply_lost") == FAILPOINT_ERROR) /* the reply has arrived and is dropped */
        return commit_lost(connection, "before the answer to COMMIT came (failpoint)", error);
    if (FAILPOINT("store.commit.after") == FAILPOINT_ERROR && result == STORE_OK)
        return commit_lost(connection, "after COMMIT (failpoint)", error);
    return result;
}

static enum store_result commit_send(struct connection *connection, struct error *error)
{
    if (FAILPOINT("store.commit.before") == FAILPOINT_ERROR) {
        connection_drop(connection);
        error_set(error, ENOTCONN, "the connection was lost before COMMIT was sent (failpoint)");
        return STORE_DOWN;
    }
    enum store_result result = own_session(connection, error);
    if (result == STORE_OK)
        result = wire_push(connection, PENDING_COMMIT, &statement_commit, 0, NULL, error);
    if (result != STORE_OK && connection->pg != NULL)
        return result; /* too many are queued: COMMIT was not sent */
    if (result == STORE_OK && connection->plugin_ran)
        leave_session(connection);
    if (result == STORE_OK)
        result = wire_sync(connection, error);
    if (result != STORE_OK) { /* libpq may have flushed on its own */
        error_prefix(error, "whether it was committed is not known");
        return STORE_UNKNOWN;
    }
    return commit_finish(connection, error);
}

enum store_result connection_commit_rows(struct connection *connection, struct rows **ret_rows, size_t count,
                                         struct error *error)
{
    if (connection->transaction == TRANSACTION_NONE || connection->failed != STORE_OK)
        return connection_prepare(connection, &statement_commit, error);
    if (connection->transaction == TRANSACTION_OPEN) {
        enum store_result result = commit_send(connection, error);
        if (result != STORE_OK)
            return connection_note(connection, result);
    }
    connection->transaction = TRANSACTION_NONE;
    for (size_t i = 0; i < count; i++)
        ret_rows[i] = i < connection->result_count ? connection->results[i] : NULL;
    settle_session(connection);
    return STORE_OK;
}

enum store_result connection_commit(struct connection *connection, struct error *error)
{
    return connection_commit_rows(connection, NULL, 0, error);
}

void connection_rollback(struct connection *connection)
{
    bool open = connection->transaction == TRANSACTION_OPEN;
    connection->transaction = TRANSACTION_NONE;
    connection->failed = STORE_OK;
    if (connection->pg == NULL || !open)
        return;
    int64_t deadline_ms = clock_monotonic_ms() + ROLLBACK_MS;
    /* What is queued and was not run is sent before the rollback, because it is in libpq's buffer already. */
    if (connection->pending_count > 0)
        wire_run(connection, deadline_ms, NULL);
    if (connection->pg == NULL || PQtransactionStatus(connection->pg) == PQTRANS_IDLE)
        return;
    enum store_result result = wire_push(connection, PENDING_ROLLBACK, &statement_rollback, 0, NULL, NULL);
    if (result == STORE_OK && connection->plugin_ran)
        leave_session(connection);
    if (result != STORE_OK || wire_run(connection, deadline_ms, NULL) != STORE_OK ||
        PQtransactionStatus(connection->pg) != PQTRANS_IDLE)
        connection_drop(connection);
    settle_session(connection);
}

/* ------------------------------------------------------------------------------------------- outside a transaction */

enum store_result connection_once(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, int64_t timeout_ms, struct rows **ret,
                                  struct error *error)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    connection_rollback(connection);
    connection_reset(connection);
    enum store_result result = connection_open(connection, deadline_ms, error);
    if (result != STORE_OK)
        return result;
    result = wire_push(connection, PENDING_STATEMENT, statement, param_count, params, error);
    if (result == STORE_OK)
        result = wire_run(connection, deadline_ms, error);
    if (result == STORE_OK && PQtransactionStatus(connection->pg) != PQTRANS_IDLE) {
        connection_drop(connection);
        error_set(error, EPERM, "a statement has opened a transaction: %.60s", statement->text);
        result = STORE_DATA;
    }
    if (result == STORE_OK && ret != NULL)
        *ret = connection->results[0];
    return result;
}

enum store_result connection_run(struct connection *connection, const struct statement *statement, size_t param_count,
                                 const struct store_param *params, struct rows **ret, struct error *error)
{
    if (connection->transaction != TRANSACTION_NONE)
        return connection_exec(connection, statement, param_count, params, ret, error);
    return connection_once(connection, statement, param_count, params, connection->store->statement_timeout_ms, ret,
                           error);
}

/* The answer to a statement of a script that failed: what it means, and which one it was. */
static enum store_result script_refused(struct connection *connection, const char *sql, size_t done,
                                        const PGresult *result, struct error *error)
{
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    struct script_part part;
    char text[SCRIPT_EXCERPT];
    bool found = script_failed(sql, done, position == NULL ? 0 : (int)strtol(position, NULL, 10), &part);
    struct span shown = found ? part.text : SPAN("a script");
    snprintf(text, sizeof text, "%.*s", (int)(shown.length < sizeof text ? shown.length : sizeof text - 1), shown.at);
    connection->script_line = found ? part.line : 0;
    const struct statement statement = {text, false};
    const struct pending pending = {.kind = PENDING_SCRIPT, .statement = &statement};
    return wire_failure(connection, &pending, result, error);
}

/* Every result of a simple query, until the NULL behind the last. */
static enum store_result script_read(struct connection *connection, const char *sql, int64_t deadline_ms,
                                     struct error *error)
{
    enum store_result answer = STORE_OK;
    size_t done = 0;
    connection->script_line = 0;
    connection->script_committed = false;
    for (;;) {
        PGresult *result;
        enum store_result read = wire_result(connection, deadline_ms, &result, answer == STORE_OK ? error : NULL);
        if (read != STORE_OK || result == NULL)
            return answer == STORE_OK ? read : answer;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            struct script_part part;
            connection->script_line = script_failed(sql, done, 0, &part) ? part.line : 0;
            error_set(error, EINVAL, "a script may not COPY");
            connection_drop(connection);
            answer = STORE_DEPLOY;
        } else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
            enum store_result one = script_refused(connection, sql, done, result, answer == STORE_OK ? error : NULL);
            answer = answer == STORE_OK ? one : answer;
        }
        const char *tag = PQcmdStatus(result);
        if (strcmp(tag, "COMMIT") == 0 || strcmp(tag, "PREPARE TRANSACTION") == 0)
            connection->script_committed = true;
        done++;
        PQclear(result);
        if (connection->pg == NULL)
            return answer;
    }
}

static enum store_result script_run(struct connection *connection, const char *sql, int64_t deadline_ms,
                                    struct error *error)
{
    /* Several statements in one text need the simple protocol, which pipeline mode does not allow. */
    if (PQexitPipelineMode(connection->pg) != 1 || PQsendQuery(connection->pg, sql) != 1)
        return connection_lost(connection, error);
    enum store_result result = wire_flush(connection, deadline_ms, error);
    if (result == STORE_OK)
        result = script_read(connection, sql, deadline_ms, error);
    if (connection->store->round_trips != NULL)
        series_add(connection->store->round_trips, 1);
    if (connection->pg != NULL && PQenterPipelineMode(connection->pg) != 1)
        connection_drop(connection);
    return result;
}

enum store_result connection_script(struct connection *connection, const char *sql, int64_t timeout_ms,
                                    struct error *error)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    const struct statement script = {"a script", false};
    bool inside = connection->transaction != TRANSACTION_NONE;
    enum store_result result;
    if (inside) {
        result = connection_prepare(connection, &script, error);
        if (result == STORE_OK && connection->pending_count > 0)
            result = wire_run(connection, deadline_ms, error);
    } else {
        connection_reset(connection);
        result = connection_open(connection, deadline_ms, error);
    }
    if (result == STORE_OK)
        result = script_run(connection, sql, deadline_ms, error);
    if (result == STORE_OK && inside)
        result = connection_check_open(connection, error);
    else if (result == STORE_OK && PQtransactionStatus(connection->pg) != PQTRANS_IDLE) {
        connection_drop(connection);
        error_set(error, EPERM, "a script has left a transaction open");
        result = STORE_DATA;
    }
    return connection_note(connection, result);
}
