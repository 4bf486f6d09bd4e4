/*
 * wire.c - statements in, results out, in libpq's pipeline mode.
 *
 * A statement goes to the server at most once as text: it is prepared under a short name the first time, in the same
 * pipeline as its first execution, so preparing costs no round trip. Every pipeline ends in one Sync; after an error
 * the server skips what follows up to the Sync. The results that the server still has to send are listed in order, and
 * libpq's results are matched against that list.
 */
#include "store/connection/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* Reads while it writes: else client and server would block each other in a transfer larger than their buffers. */
enum store_result wire_flush(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    for (;;) {
        int left = PQflush(connection->pg);
        if (left == 0)
            return STORE_OK;
        if (left < 0)
            return connection_lost(connection, error);
        int code = connection_wait(connection, POLLIN | POLLOUT, deadline_ms);
        if (code != 0)
            return connection_wait_failed(connection, code, error);
        if (PQconsumeInput(connection->pg) != 1)
            return connection_lost(connection, error);
    }
}

enum store_result wire_result(struct connection *connection, int64_t deadline_ms, PGresult **ret, struct error *error)
{
    while (PQisBusy(connection->pg)) {
        int code = connection_wait(connection, POLLIN, deadline_ms);
        if (code != 0)
            return connection_wait_failed(connection, code, error);
        if (PQconsumeInput(connection->pg) != 1)
            return connection_lost(connection, error);
    }
    *ret = PQgetResult(connection->pg);
    return STORE_OK;
}

/* ---------------------------------------------------------------------------------------------------------- sending */

static void *wire_grow(void *at, size_t *size, size_t element)
{
    size_t wanted = *size == 0 ? 32 : *size * 2;
    void *grown = reallocarray(at, wanted, element);
    if (grown == NULL)
        abort(); /* as in arena.h */
    *size = wanted;
    return grown;
}

static void wire_expect(struct connection *connection, const struct pending *pending)
{
    if (connection->pending_count == connection->pending_size)
        connection->pending = wire_grow(connection->pending, &connection->pending_size, sizeof connection->pending[0]);
    connection->pending[connection->pending_count++] = *pending;
}

static int wire_prepare(struct connection *connection, const struct statement *statement, struct prepared *entry,
                        size_t count, const struct store_param *params)
{
    Oid oids[STORE_PARAMS_MAX];
    for (size_t i = 0; i < count; i++)
        oids[i] = param_oid(params[i].type, params[i].array);
    if (PQsendPrepare(connection->pg, entry->name, statement->text, (int)count, oids) != 1)
        return -ENOTCONN;
    entry->sent = true;
    connection->session.whole_due = connection->session.whole_due || statement->plugin;
    wire_expect(connection, &(struct pending){.kind = PENDING_PREPARE, .statement = statement, .prepared = entry});
    return 0;
}

/* Encodes the parameters into connection->bytes and hands them to libpq, which copies them into its output. */
static int wire_send(struct connection *connection, const struct prepared *entry, size_t count,
                     const struct store_param *params)
{
    size_t offsets[STORE_PARAMS_MAX];
    const char *values[STORE_PARAMS_MAX];
    int lengths[STORE_PARAMS_MAX], formats[STORE_PARAMS_MAX];
    bool nulls[STORE_PARAMS_MAX];

    buffer_clear(&connection->bytes);
    for (size_t i = 0; i < count; i++) {
        offsets[i] = connection->bytes.length;
        int code = param_encode(&connection->bytes, &params[i], &nulls[i]);
        if (code != 0)
            return code;
        lengths[i] = (int)(connection->bytes.length - offsets[i]);
        formats[i] = 1;
    }
    for (size_t i = 0; i < count; i++) /* only now does the buffer stay where it is */
        values[i] = nulls[i] ? NULL : connection->bytes.at == NULL ? "" : connection->bytes.at + offsets[i];
    return PQsendQueryPrepared(connection->pg, entry->name, (int)count, values, lengths, formats, 1) == 1 ? 0
                                                                                                          : -ENOTCONN;
}

enum store_result wire_push(struct connection *connection, enum pending_kind kind, const struct statement *statement,
                            size_t param_count, const struct store_param *params, struct error *error)
{
    if (param_count > STORE_PARAMS_MAX) {
        error_set(error, E2BIG, "a statement may have %d parameters, and this one has %zu: %.60s",
                  (int)STORE_PARAMS_MAX, param_count, statement->text);
        return STORE_DATA;
    }
    if (connection->pending_count >= PENDING_MAX) {
        error_set(error, E2BIG, "%d statements may be queued before one is executed: %.60s", (int)PENDING_MAX,
                  statement->text);
        return STORE_DATA;
    }
    struct prepared *entry = prepared_get(connection, statement, param_count, params);
    bool reused = entry->reused;
    int code = entry->sent ? 0 : wire_prepare(connection, statement, entry, param_count, params);
    if (code == 0)
        code = wire_send(connection, entry, param_count, params);
    if (code == -ENOTCONN)
        return connection_lost(connection, error);
    if (code != 0) {
        error_set(error, -code, "the parameters of a statement are too large or of no known type: %.60s",
                  statement->text);
        return STORE_DATA;
    }
    wire_expect(connection,
                &(struct pending){.kind = kind, .statement = statement, .prepared = entry, .reused = reused});
    return STORE_OK;
}

enum store_result wire_sync(struct connection *connection, struct error *error)
{
    return PQpipelineSync(connection->pg) == 1 ? STORE_OK : connection_lost(connection, error);
}

/* ---------------------------------------------------------------------------------------------------------- reading */

/* The first words of a statement, on one line. */
static void statement_excerpt(const struct statement *statement, char *buf, size_t size)
{
    size_t length = 0;
    bool blank = true;
    const char *at = statement->text;
    for (; *at != '\0' && length + 4 < size; at++) {
        bool is_blank = *at == ' ' || *at == '\n' || *at == '\t' || *at == '\r';
        if (!is_blank || !blank)
            buf[length++] = is_blank ? ' ' : *at;
        blank = is_blank;
    }
    buf[length] = '\0';
    if (*at != '\0')
        memcpy(buf + length, "...", 4);
}

static const char *wire_field(const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    return text == NULL ? "" : text;
}

/* What to do about a plugin's statement that no event can pass. */
static const char *refused_hint(const char *state)
{
    if (strcmp(state, "42601") == 0)
        return "it is no valid SQL: mend the statement in the plugin, or in the function that it calls, and build it "
               "again";
    return "bring what is missing (`sluice migrate CONFIG` for the plugin's tables and functions, `grant` for its "
           "rights)";
}

static void refused(enum store_result answer, const struct statement *statement, const char *state,
                    const PGresult *result, struct error *error)
{
    char excerpt[96];
    const char *constraint = wire_field(result, PG_DIAG_CONSTRAINT_NAME);
    statement_excerpt(statement, excerpt, sizeof excerpt);
    error_set(error, store_result_errno(answer), "the database refused \"%s\": %.400s (SQLSTATE %s%s%s)", excerpt,
              wire_field(result, PG_DIAG_MESSAGE_PRIMARY), state, constraint[0] == '\0' ? "" : ", constraint ",
              constraint);
    if (strcmp(state, "26000") == 0 || strcmp(state, "42P05") == 0)
        error_hint(
            error,
            "is there a connection pooler in transaction mode in between? store.url must lead to the server itself");
    else if (answer == STORE_DEPLOY)
        error_hint(error,
                   "has `sluice migrate CONFIG` of this version run here, and has this role the rights to its tables?");
    else if (answer == STORE_REFUSED)
        error_hint(error, "%s", refused_hint(state));
}

/* A schema, table, column, function or type that is not there. */
static bool names_nothing(const char *state)
{
    static const char *const states[] = {"3F000", "42P01", "42703", "42883", "42704"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        if (strcmp(state, states[i]) == 0)
            return true;
    return false;
}

static void not_migrated(enum store_result answer, const char *state, const PGresult *result, struct error *error)
{
    error_set(error, store_result_errno(answer),
              "the database lacks the engine's tables, or has those of another version: %.400s (SQLSTATE %s)",
              wire_field(result, PG_DIAG_MESSAGE_PRIMARY), state);
    error_hint(error, "run `sluice migrate CONFIG`");
}

enum store_result wire_failure(struct connection *connection, const struct pending *pending, const PGresult *result,
                               struct error *error)
{
    const char *state = wire_field(result, PG_DIAG_SQLSTATE);
    const char *severity = wire_field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (state[0] == '\0')
        return connection_lost(connection, error); /* an error of libpq itself: the connection is lost */

    enum sqlstate_origin origin = pending->kind == PENDING_COMMIT ? SQLSTATE_COMMIT
                                  : pending->statement->plugin    ? SQLSTATE_PLUGIN
                                                                  : SQLSTATE_ENGINE;
    enum store_result answer = sqlstate_class(state, origin);
    bool plan_outdated = strcmp(state, "0A000") == 0 && pending->reused;
    if (plan_outdated) /* "cached plan must not change result type": a table was altered since it was prepared */
        answer = STORE_TRANSIENT;
    if (strcmp(state, "25006") == 0 && connection->plugin_ran)
        answer = STORE_DATA; /* the transaction had written before: a plugin's statement has made it read only */
    if (strcmp(state, "08P01") == 0 && origin == SQLSTATE_PLUGIN && strcmp(severity, "ERROR") == 0)
        answer = STORE_DATA; /* a plugin's statement has more parameters than it was given; an outage is FATAL */
    if (strcmp(state, "23505") == 0 && strcmp(wire_field(result, PG_DIAG_SCHEMA_NAME), "sluice") == 0)
        answer = STORE_TRANSIENT; /* another process wrote the same row of the engine's tables: claim again */

    if (answer == STORE_DEPLOY && origin == SQLSTATE_ENGINE && pending->kind != PENDING_SCRIPT && names_nothing(state))
        not_migrated(answer, state, result, error);
    else
        refused(answer, pending->statement, state, result, error);
    memcpy(connection->sqlstate, state, sizeof connection->sqlstate - 1);
    connection->refused = strcmp(severity, "ERROR") == 0; /* FATAL may be anywhere, even behind the commit */

    if (strcmp(severity, "ERROR") != 0)
        connection_count_outage(connection);
    if (strcmp(severity, "ERROR") != 0 || PQstatus(connection->pg) != CONNECTION_OK || plan_outdated ||
        strcmp(state, "26000") == 0 || strcmp(state, "42P05") == 0)
        connection_drop(connection); /* FATAL: the server closes it; else: what is prepared there cannot be used */
    return answer;
}

/* Keeps a good result in its place, or gives what a bad one means. Takes the result. */
static enum store_result wire_take(struct connection *connection, const struct pending *pending, PGresult *result,
                                   struct error *error)
{
    ExecStatusType status = PQresultStatus(result);
    enum store_result answer = STORE_OK;
    if (session_statement(pending->statement) && status != PGRES_PIPELINE_ABORTED) {
        if (pending->kind == PENDING_SEPARATE)
            session_take_left(connection, result);
        else if (pending->kind == PENDING_SESSION || status != PGRES_COMMAND_OK)
            session_take(connection, result); /* whatever it is, the transaction stands */
    } else if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        if (pending->kind == PENDING_COMMIT && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
            error_set(error, ENOTCONN, "the database answered COMMIT with %s: nothing was committed",
                      PQcmdStatus(result));
            answer = STORE_DOWN;
            connection->refused = true;
        }
        if (pending->kind == PENDING_STATEMENT) {
            if (connection->result_count == connection->result_size)
                connection->results = wire_grow(connection->results, &connection->result_size,
                                                sizeof connection->results[0]);
            connection->results[connection->result_count++] = rows_keep(connection, result);
            return STORE_OK;
        }
    } else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
        answer = wire_failure(connection, pending, result, error);
    } else if (status != PGRES_PIPELINE_ABORTED) { /* COPY: its data would follow, and nothing here reads it */
        error_set(error, EINVAL, "a statement may not be a COPY: %.60s", pending->statement->text);
        connection_drop(connection);
        answer = pending->statement->plugin ? STORE_DATA : STORE_DEPLOY;
    }
    PQclear(result);
    return answer;
}

/* The results of one pending statement: one, and the NULL that ends it. */
static enum store_result wire_read_one(struct connection *connection, const struct pending *pending,
                                       int64_t deadline_ms, struct error *error)
{
    enum store_result answer = STORE_OK;
    for (;;) {
        PGresult *result;
        enum store_result read = wire_result(connection, deadline_ms, &result, answer == STORE_OK ? error : NULL);
        if (read != STORE_OK)
            return answer == STORE_OK ? read : answer;
        if (result == NULL)
            return answer;
        bool good = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
        if (good)
            pending->prepared->reused = true;
        else if (pending->kind == PENDING_PREPARE)
            pending->prepared->sent = false;
        enum store_result taken = wire_take(connection, pending, result, answer == STORE_OK ? error : NULL);
        if (answer == STORE_OK)
            answer = taken;
        if (connection->pg == NULL)
            return answer;
    }
}

static enum store_result wire_read_sync(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    PGresult *result;
    enum store_result read = wire_result(connection, deadline_ms, &result, error);
    if (read != STORE_OK)
        return read;
    bool sync = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
    return sync ? STORE_OK
                : connection_lost(connection, error); /* FATAL between two statements, or a broken protocol */
}

enum store_result wire_read(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    enum store_result answer = STORE_OK;
    connection->refused = false;
    connection->result_count = 0;
    for (size_t i = 0; i < connection->pending_count; i++) {
        enum store_result one = wire_read_one(connection, &connection->pending[i], deadline_ms,
                                              answer == STORE_OK ? error : NULL);
        if (answer == STORE_OK)
            answer = one;
        if (connection->pg == NULL)
            return answer; /* dropped: nothing is pending any more */
    }
    connection->pending_count = 0;
    enum store_result sync = wire_read_sync(connection, deadline_ms, answer == STORE_OK ? error : NULL);
    return answer == STORE_OK ? sync : answer;
}

enum store_result wire_run(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    enum store_result result = wire_sync(connection, error);
    if (result == STORE_OK)
        result = wire_flush(connection, deadline_ms, error);
    if (result == STORE_OK)
        result = wire_read(connection, deadline_ms, error);
    if (connection->store->round_trips != NULL)
        series_add(connection->store->round_trips, 1);
    return result;
}
