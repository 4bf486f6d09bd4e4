/*
 * pipeline.c - statements in, results out.
 *
 * A statement goes to the server at most once as text: it is prepared under a short name the first time, in the same
 * pipeline as its first execution, so preparing costs no round trip. Every pipeline ends in one Sync; an error makes
 * the server skip to it, and so do we. What the server owes us is kept in a list, in order: libpq's results are matched
 * against it.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "store/inner.h"

/* A pipeline in a big transfer must read while it writes, or both sides would wait for ever. */
enum store_result pipeline_flush(struct connection *connection, int64_t deadline_ms, struct error *error)
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

enum store_result pipeline_result(struct connection *connection, int64_t deadline_ms, PGresult **ret,
                                  struct error *error)
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

static void *pipeline_grow(void *at, size_t *size, size_t element)
{
    size_t wanted = *size == 0 ? 32 : *size * 2;
    void *grown = reallocarray(at, wanted, element);
    if (grown == NULL)
        abort(); /* as in arena.h */
    *size = wanted;
    return grown;
}

static void pipeline_expect(struct connection *connection, const struct pending *pending)
{
    if (connection->pending_count == connection->pending_size)
        connection->pending = pipeline_grow(connection->pending, &connection->pending_size,
                                            sizeof connection->pending[0]);
    connection->pending[connection->pending_count++] = *pending;
}

static uint8_t pipeline_type(const struct store_param *param)
{
    return (uint8_t)(param->type | (param->array ? 0x80 : 0));
}

static bool prepared_fits(const struct prepared *entry, size_t count, const struct store_param *params)
{
    if (entry->type_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (entry->types[i] != pipeline_type(&params[i]))
            return false;
    }
    return true;
}

static struct prepared *prepared_get(struct connection *connection, const struct statement *statement, size_t count,
                                     const struct store_param *params)
{
    uint64_t key = (uint64_t)(uintptr_t)statement->text;
    struct prepared *first = intmap_get(connection->prepared, key);
    for (struct prepared *entry = first; entry != NULL; entry = entry->next) {
        if (prepared_fits(entry, count, params))
            return entry;
    }
    struct prepared *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        abort(); /* as in arena.h */
    snprintf(entry->name, sizeof entry->name, "s%zu", ++connection->prepared_count);
    entry->type_count = (uint8_t)count;
    for (size_t i = 0; i < count; i++)
        entry->types[i] = pipeline_type(&params[i]);
    entry->next = first;
    intmap_set(connection->prepared, key, entry);
    return entry;
}

static int prepared_send(struct connection *connection, const struct statement *statement, struct prepared *entry,
                         size_t count, const struct store_param *params)
{
    Oid oids[PARAMS_MAX];
    for (size_t i = 0; i < count; i++)
        oids[i] = param_oid(params[i].type, params[i].array);
    if (PQsendPrepare(connection->pg, entry->name, statement->text, (int)count, oids) != 1)
        return -ENOTCONN;
    entry->sent = true;
    pipeline_expect(connection, &(struct pending){.kind = PENDING_PREPARE, .statement = statement, .prepared = entry});
    return 0;
}

/* Encodes the parameters into connection->bytes and hands them to libpq, which copies them into its output. */
static int pipeline_send(struct connection *connection, const struct prepared *entry, size_t count,
                         const struct store_param *params)
{
    size_t offsets[PARAMS_MAX];
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    bool nulls[PARAMS_MAX];

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

enum store_result pipeline_push(struct connection *connection, enum pending_kind kind,
                                const struct statement *statement, size_t param_count, const struct store_param *params,
                                struct error *error)
{
    if (param_count > PARAMS_MAX || connection->pending_count >= PENDING_MAX) {
        error_set(error, E2BIG, "a statement may have %d parameters, and %d may be queued: %.60s", (int)PARAMS_MAX,
                  (int)PENDING_MAX, statement->text);
        return STORE_DATA;
    }
    struct prepared *entry = prepared_get(connection, statement, param_count, params);
    bool reused = entry->reused;
    int code = entry->sent ? 0 : prepared_send(connection, statement, entry, param_count, params);
    if (code == 0)
        code = pipeline_send(connection, entry, param_count, params);
    if (code == -ENOTCONN)
        return connection_lost(connection, error);
    if (code != 0) {
        error_set(error, -code, "the parameters of a statement are too large or of no known type: %.60s",
                  statement->text);
        return STORE_DATA;
    }
    pipeline_expect(connection,
                    &(struct pending){.kind = kind, .statement = statement, .prepared = entry, .reused = reused});
    return STORE_OK;
}

enum store_result pipeline_sync(struct connection *connection, struct error *error)
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

static const char *pipeline_field(const PGresult *result, int field)
{
    const char *text = PQresultErrorField(result, field);
    return text == NULL ? "" : text;
}

enum store_result pipeline_failure(struct connection *connection, const struct pending *pending, const PGresult *result,
                                   struct error *error)
{
    const char *state = pipeline_field(result, PG_DIAG_SQLSTATE);
    const char *severity = pipeline_field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (state[0] == '\0')
        return connection_lost(connection, error); /* libpq's own: the connection */

    enum sqlstate_origin origin = pending->kind == PENDING_COMMIT ? SQLSTATE_COMMIT
                                  : pending->statement->plugin    ? SQLSTATE_PLUGIN
                                                                  : SQLSTATE_ENGINE;
    enum store_result answer = sqlstate_class(state, origin);
    bool stale = strcmp(state, "0A000") == 0 && pending->reused;
    if (stale) /* "cached plan must not change result type": a table was altered under a prepared statement */
        answer = STORE_TRANSIENT;
    if (strcmp(state, "23505") == 0 && strcmp(pipeline_field(result, PG_DIAG_SCHEMA_NAME), "sluice") == 0)
        answer = STORE_TRANSIENT; /* another process wrote the same row of ours: claim again */

    char excerpt[96];
    const char *constraint = pipeline_field(result, PG_DIAG_CONSTRAINT_NAME);
    statement_excerpt(pending->statement, excerpt, sizeof excerpt);
    error_set(error, store_result_errno(answer), "the database refused \"%s\": %.400s (SQLSTATE %s%s%s)", excerpt,
              pipeline_field(result, PG_DIAG_MESSAGE_PRIMARY), state, constraint[0] == '\0' ? "" : ", constraint ",
              constraint);
    if (answer == STORE_DEPLOY)
        error_hint(error, "is the schema \"sluice\" there and of this version? sluice migrate");
    memcpy(connection->sqlstate, state, sizeof connection->sqlstate - 1);
    connection->refused = strcmp(severity, "ERROR") == 0; /* FATAL may be anywhere, even behind the commit */

    if (strcmp(severity, "ERROR") != 0 || PQstatus(connection->pg) != CONNECTION_OK || stale ||
        strcmp(state, "26000") == 0)
        connection_drop(connection); /* FATAL: the server closes it; else: what is prepared there is worth nothing */
    return answer;
}

/* Keeps a good result in its place, or says what a bad one means. Takes the result. */
static enum store_result pipeline_take(struct connection *connection, const struct pending *pending, PGresult *result,
                                       struct error *error)
{
    ExecStatusType status = PQresultStatus(result);
    enum store_result answer = STORE_OK;
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        if (pending->kind == PENDING_COMMIT && strcmp(PQcmdStatus(result), "COMMIT") != 0) {
            error_set(error, ENOTCONN, "the database answered COMMIT with %s: nothing was committed",
                      PQcmdStatus(result));
            answer = STORE_DOWN;
            connection->refused = true;
        }
        if (pending->kind == PENDING_STATEMENT) {
            if (connection->result_count == connection->result_size)
                connection->results = pipeline_grow(connection->results, &connection->result_size,
                                                    sizeof connection->results[0]);
            connection->results[connection->result_count++] = rows_keep(connection, result);
            return STORE_OK;
        }
    } else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
        answer = pipeline_failure(connection, pending, result, error);
    } else if (status != PGRES_PIPELINE_ABORTED) { /* COPY: its data would follow, and nobody reads it */
        error_set(error, EINVAL, "a statement may not be a COPY: %.60s", pending->statement->text);
        connection_drop(connection);
        answer = pending->statement->plugin ? STORE_DATA : STORE_DEPLOY;
    }
    PQclear(result);
    return answer;
}

/* The results of one pending statement: one, and the NULL that ends it. */
static enum store_result pipeline_read_one(struct connection *connection, const struct pending *pending,
                                           int64_t deadline_ms, struct error *error)
{
    enum store_result answer = STORE_OK;
    for (;;) {
        PGresult *result;
        enum store_result read = pipeline_result(connection, deadline_ms, &result, answer == STORE_OK ? error : NULL);
        if (read != STORE_OK)
            return answer == STORE_OK ? read : answer;
        if (result == NULL)
            return answer;
        bool good = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
        if (good)
            pending->prepared->reused = true;
        else if (pending->kind == PENDING_PREPARE)
            pending->prepared->sent = false;
        enum store_result taken = pipeline_take(connection, pending, result, answer == STORE_OK ? error : NULL);
        if (answer == STORE_OK)
            answer = taken;
        if (connection->pg == NULL)
            return answer;
    }
}

static enum store_result pipeline_read_sync(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    PGresult *result;
    enum store_result read = pipeline_result(connection, deadline_ms, &result, error);
    if (read != STORE_OK)
        return read;
    bool sync = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
    return sync ? STORE_OK
                : connection_lost(connection, error); /* FATAL between two statements, or a broken protocol */
}

enum store_result pipeline_read(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    enum store_result answer = STORE_OK;
    connection->refused = false;
    connection->result_count = 0;
    for (size_t i = 0; i < connection->pending_count; i++) {
        enum store_result one = pipeline_read_one(connection, &connection->pending[i], deadline_ms,
                                                  answer == STORE_OK ? error : NULL);
        if (answer == STORE_OK)
            answer = one;
        if (connection->pg == NULL)
            return answer; /* and nothing is pending any more */
    }
    connection->pending_count = 0;
    enum store_result sync = pipeline_read_sync(connection, deadline_ms, answer == STORE_OK ? error : NULL);
    return answer == STORE_OK ? sync : answer;
}

enum store_result pipeline_run(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    enum store_result result = pipeline_sync(connection, error);
    if (result == STORE_OK)
        result = pipeline_flush(connection, deadline_ms, error);
    if (result == STORE_OK)
        result = pipeline_read(connection, deadline_ms, error);
    if (connection->store->round_trips != NULL)
        series_add(connection->store->round_trips, 1);
    return result;
}
