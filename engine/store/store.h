/*
 * store.h - transactions on PostgreSQL, and the engine's own tables in them.
 *
 * A store is the description of a database; a connection is one lane's way to it. A connection reconnects by itself:
 * after any connection error the next transaction opens a new one, with backoff, and prepares its statements anew.
 * Every wait has a deadline of our own: libpq's calls without a client-side limit are never used. Statements are
 * prepared once a connection, under the address of their text. Parameters and results are binary. Threads: a store is
 * shared and immutable after store_open(); a connection belongs to one thread.
 */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include "base/arena.h"
#include "base/error.h"
#include "base/metrics.h"
#include "event/event.h"

struct store;
struct connection;

/* What became of a statement or a transaction, by SQLSTATE class (reliability.md has the table). Never by text. */
enum store_result {
    STORE_OK = 0,
    STORE_TRANSIENT, /* 40001, 40P01, 55P03, 57014: run the batch again, then one by one; no attempt is counted */
    STORE_DOWN,    /* connection lost before COMMIT was sent, 08, 53, 57P, 58, 25006, 28, unmapped: wait, no attempt */
    STORE_UNKNOWN, /* lost after COMMIT was sent, or 25P03 then: claim again; no attempt is counted */
    STORE_DATA, /* 22, 23, 42 and P0001 raised by a plugin's statement: run one by one; alone, the event is at fault */
    STORE_DEPLOY, /* 42, 26 in the engine's own statements: schema missing or not ours: stop and say so */
    STORE_FENCED, /* this process was declared dead by its peers: nothing of it may commit; join anew */
};
const char *store_result_word(enum store_result result);

struct store_options {
    const char *url;         /* libpq connection string or URI; never logged */
    const char *application; /* application_name: "sluice/NAME" */
    int64_t connect_timeout_ms;
    int64_t
        statement_timeout_ms; /* also sent to the server, with lock_timeout and idle_in_transaction_session_timeout */
    bool allow_unsafe;        /* start even though fsync, synchronous_commit or full_page_writes is off */
    struct metrics *metrics;  /* METRIC_ROUND_TRIPS, METRIC_STORE_UP; NULL: none */
};

/* Connects nowhere. -ENOMEM, or -EINVAL with the reason when the url cannot be understood. */
int store_open(const struct store_options *options, struct store **ret, struct error *error);
void store_close(struct store *store); /* after its connections; NULL is fine */

/* One try to connect and look: server version, the settings that would lie, encoding. (The schema's level is
 * migrate_check's.) STORE_OK; STORE_DOWN (worth trying again) or STORE_DEPLOY (never will by itself), with the
 * sentence. */
enum store_result store_check(struct store *store, struct error *error);

/* A connection, not yet connected. `name` is for logs and application_name. */
struct connection *connection_create(struct store *store, const char *name);
void connection_destroy(struct connection *connection); /* rolls back; NULL is fine */
/* From another thread: a wait in progress on this connection, or else the next one, ends soon with STORE_DOWN
 * (STORE_UNKNOWN when COMMIT was sent). For shutdown. */
void connection_interrupt(struct connection *connection);
/* From another thread: ends connection_wait_notify() in progress, or else the next one, and nothing else. */
void connection_wake(struct connection *connection);
struct store *connection_store(const struct connection *connection);
int connection_socket(const struct connection *connection); /* -1 while not connected; for poll() by a listener */

/* ------------------------------------------------------------------------------------------------------- parameters */

enum param_type {
    PARAM_INT2 = 1,
    PARAM_INT4,
    PARAM_INT8,
    PARAM_BOOL,
    PARAM_DOUBLE,
    PARAM_TEXT,
    PARAM_BYTEA,
    PARAM_UUID,
    PARAM_JSONB,
    PARAM_XID8,
    PARAM_TIMESTAMP, /* int64 milliseconds since 1970 ↔ timestamptz */
};

/* One parameter: an array (one-dimensional, `count` elements) or a single value, read from memory by type and stride:
 * INT2 int16_t · INT4/BOOL int32_t · INT8/XID8/TIMESTAMP int64_t · DOUBLE double · TEXT/BYTEA/JSONB struct span (at
 * NULL: SQL NULL) · UUID struct event_id. */
struct store_param {
    enum param_type type;
    bool array;
    const void *values; /* first element */
    size_t count;       /* elements; ignored for single values */
    size_t stride;      /* bytes from one element to the next; 0: the natural size */
};

#define STORE_ARRAY(kind, first, n)                                                                                    \
    {                                                                                                                  \
        .type = (kind), .array = true, .values = (first), .count = (n)                                                 \
    }
#define STORE_COLUMN(kind, first, n, step)                                                                             \
    {                                                                                                                  \
        .type = (kind), .array = true, .values = (first), .count = (n), .stride = (step)                               \
    }
#define STORE_VALUE(kind, pointer)                                                                                     \
    {                                                                                                                  \
        .type = (kind), .values = (pointer), .count = 1                                                                \
    }

/* A statement of the engine or a plugin. The address of `text` is its identity. `owner`: errors 42/26 are STORE_DEPLOY
 * for the engine's statements, STORE_DATA for a plugin's. */
struct statement {
    const char *text;
    bool plugin;
};

struct rows; /* a result; owned by the connection until the transaction ends */

/* ---------------------------------------------------------------------------------------------------- a transaction */

/*
 * begin (nothing is sent yet) → any of exec, queue → commit or rollback.
 *
 *   exec    sends what is queued with this statement, in one pipeline, and waits for its rows: one round trip
 *   queue   puts a statement into the pipeline; its result is looked at with the next exec or commit
 *   commit  sends what is queued with COMMIT: one round trip; done only when the command tag says COMMIT
 *
 * After any result but STORE_OK the only thing to do is connection_rollback(); `error` then has SQLSTATE, message and,
 * for queued statements, which one it was. Deadline: of the whole transaction, monotonic ms; passing it cancels the
 * statement and gives STORE_TRANSIENT.
 */
enum store_result connection_begin(struct connection *connection, int64_t deadline_ms, struct error *error);
enum store_result connection_exec(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, struct rows **ret, struct error *error);
enum store_result connection_queue(struct connection *connection, const struct statement *statement, size_t param_count,
                                   const struct store_param *params, struct error *error);
enum store_result connection_commit(struct connection *connection, struct error *error);
/* Several results of queued statements may be wanted: ret_rows[i] of the i-th queue since the last exec. Like commit,
 * but hands the rows out; they live until the next begin. count is the number asked for. */
enum store_result connection_commit_rows(struct connection *connection, struct rows **ret_rows, size_t count,
                                         struct error *error);
void connection_rollback(struct connection *connection); /* after anything; ends the transaction for certain */
bool connection_in_transaction(const struct connection *connection);
/* True when the plugin's own statements changed the transaction state (COMMIT, ROLLBACK inside a query): a plugin
 * fault. */
bool connection_tampered(const struct connection *connection);

/* SQLSTATE of the last failure since the begin, "" when it was not the server's. */
const char *connection_sqlstate(const struct connection *connection);

/* A statement outside any transaction, autocommitted: one round trip. Its rows live until the next begin, once or
 * script. When the connection is lost (STORE_DOWN, or STORE_TRANSIENT at the deadline) it may have been done. */
enum store_result connection_once(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, int64_t timeout_ms, struct rows **ret,
                                  struct error *error);
/* Plain SQL text, several statements, no parameters, text results ignored: migrations and LISTEN. */
enum store_result connection_script(struct connection *connection, const char *sql, int64_t timeout_ms,
                                    struct error *error);

/* Notifications that have arrived (LISTEN through connection_script). Waits up to timeout_ms for one, or for
 * connection_wake() or connection_interrupt(); returns the number of notifications consumed, 0 on time-out, -1 when the
 * connection is lost. */
int connection_wait_notify(struct connection *connection, int64_t timeout_ms);

/* ------------------------------------------------------------------------------------------------------------- rows */

size_t rows_count(const struct rows *rows);
size_t rows_columns(const struct rows *rows);
bool rows_null(const struct rows *rows, size_t row, size_t column);
int64_t rows_int64(const struct rows *rows, size_t row,
                   size_t column); /* int2/4/8, bool, xid8, oid; timestamptz as ms */
double rows_double(const struct rows *rows, size_t row, size_t column);
struct span rows_span(const struct rows *rows, size_t row,
                      size_t column); /* text, bytea, json, jsonb (without its version byte) */
struct event_id rows_uuid(const struct rows *rows, size_t row, size_t column);
/* The column's type as one of param_type, or 0 for another. */
enum param_type rows_type(const struct rows *rows, size_t column);
/* The rows leave the connection and now belong to the caller, who frees them; their bytes stay where they are (zero
 * copy). */
struct rows *rows_detach(struct connection *connection, struct rows *rows);
void rows_free(struct rows *rows); /* NULL is fine */

#endif
