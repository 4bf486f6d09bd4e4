/*
 * store.h - transactions on PostgreSQL, and the engine's own tables in them.
 *
 * A store is the description of a database; a connection is one lane's way to it. A connection reconnects by itself:
 * after any connection error the next transaction opens a new one, with backoff, and prepares its statements again.
 * Every wait has a deadline of its own: libpq's calls without a client-side limit are never used. Statements are
 * prepared once a connection, under the address of their text. Parameters and results are binary. Threads: a store is
 * shared and, but for its marks, immutable after store_open(); a connection belongs to one thread, but for
 * connection_interrupt().
 */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metrics.h"
#include "event/event.h"

struct store;
struct connection;

/* What became of a statement or a transaction, by SQLSTATE (the table is in connection/sqlstate.c). Never by text. */
enum store_result {
    STORE_OK = 0,
    /* a conflict with another transaction: run the batch again, then one by one; no try is counted */
    STORE_TRANSIENT,
    /* an outage, also when the connection was lost before the commit was sent; of the engine's own statements what is
     * not in the table, too: wait, no try is counted */
    STORE_DOWN,
    /* connection lost after the commit was sent, or 25P03 as its answer: claim again; no try is counted */
    STORE_UNKNOWN,
    /* a statement of a plugin or the commit was refused, by any code that the table does not name otherwise; the
     * engine's, for the data in it: run one by one; alone, it counts as a try of the event */
    STORE_DATA,
    /* a statement of a plugin was refused as no event could pass it (no such table, column, function; no right): its
     * handler stops, its events wait, no try is counted */
    STORE_REFUSED,
    /* the server ended what a handler's call took too long for: as STORE_DATA */
    STORE_DEADLINE,
    /* the engine's own statements: the schema is missing or of another version: stop and say so */
    STORE_DEPLOY,
    /* a peer removed this process's expired membership: nothing of it may be committed; join again */
    STORE_FENCED,
};
const char *store_result_word(enum store_result result);

struct store_options {
    const char *url;         /* libpq connection string or URI; never logged */
    const char *application; /* application_name: "sluice/NAME" */
    int64_t connect_timeout_ms;
    int64_t statement_timeout_ms; /* also sent to the server, with lock_timeout (half of it) */
    /* The longest time between two statements of a transaction: idle_in_transaction_session_timeout is a bit more, and
     * at least statement_timeout_ms. 0: as short as that. */
    int64_t idle_ms;
    bool announce;           /* log that the database does not answer, and when it answers again: once each */
    bool allow_unsafe;       /* start even though fsync, synchronous_commit or full_page_writes is off */
    struct metrics *metrics; /* METRIC_ROUND_TRIPS, METRIC_STORE_UP; NULL: none */
};

enum { STORE_VERSION_MIN = 140000 /* of the server: TID range scans, client_connection_check_interval */ };

/* Connects nowhere. -ENOMEM, or -EINVAL with the reason when the url cannot be understood. */
int store_open(const struct store_options *options, struct store **ret, struct error *error);
void store_close(struct store *store); /* after its connections; NULL is fine */
/* For a store that only one thread uses: its connections hand one session on to each other between transactions, so
 * that many of them cost one connect and one Parse of each statement. */
void store_share_session(struct store *store);
/* sluice.bus_lock_writer(), for statements that stand before a database is migrated, or cost no call. */
#define STORE_LOCK_WRITER "1398491701"
/* Every transaction that begins from now on has that lock from its first statement on, before it has a number: readers
 * of the postgres bus wait for it, and not for those of other programs. Any thread. */
void store_mark_transactions(struct store *store);
/* The url of another database of the same server; `options` ("-c name=value"; NULL: none) come before what the engine
 * sets. Allocated; NULL when the url cannot be understood. It may hold a password, as `url`. */
char *store_url_of(const char *url, const char *database, const char *options);

/* One try to connect, and what keeps a server that answers from being used: a standby (STORE_DOWN); sessions that are
 * read-only by default, a search path without a schema, a connection pooler in transaction mode (STORE_DEPLOY). */
enum store_result store_check_session(struct store *store, struct error *error);
/* The same, and more: server version, settings that break durability (fsync, synchronous_commit,
 * full_page_writes off), encoding. (migrate_check() checks the schema.) STORE_OK; STORE_DOWN (worth
 * trying again) or STORE_DEPLOY (will not change by itself), with the sentence. */
enum store_result store_check(struct store *store, struct error *error);

/* A connection, not yet connected. `name` is for logs and application_name. */
struct connection *connection_create(struct store *store, const char *name);
void connection_destroy(struct connection *connection); /* rolls back; NULL is fine */
/* From another thread: a wait in progress on this connection, or else the next one, ends soon with STORE_DOWN
 * (STORE_UNKNOWN when the commit was sent). For shutdown. */
void connection_interrupt(struct connection *connection);
/* The sslmode with which a connection that is open was encrypted ("verify-full"), in `buf`; "" when it is not.
 * *ret_local: the server is on this machine, by its address. False while not connected. */
bool connection_encryption(const struct connection *connection, char *buf, size_t size, bool *ret_local);
int connection_socket(const struct connection *connection); /* -1 while not connected; for poll() by a listener */
/* How many connections of this store were lost or could not be made so far. One that was lost in a transaction in which
 * a plugin's statement ran is not counted: the statement may have ended it. */
uint64_t connection_outages(const struct connection *connection);
/* Whether the store has announced that its database does not answer, and not yet that it does. */
bool store_unreachable(const struct store *store);
/* The level of a line that says a statement failed: LOG_WARN, but LOG_DEBUG while an outage is announced. */
enum log_level connection_log_level(const struct connection *connection);
/* How many connections of this store the server closed because the server process of another one had crashed; and
 * whether that happened to this one since its last begin. The crashed one's own connection just ends. */
uint64_t connection_crashes(const struct connection *connection);
bool connection_crash_elsewhere(const struct connection *connection);

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

enum { STORE_PARAMS_MAX = 64 }; /* parameters of one statement; sluice/plugin.h promises as many to a query */

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

/* A statement of the engine or of a plugin (`plugin`: its errors have other results, and it may not change the
 * transaction). The address of `text` is its identity: the same text at another address is prepared again. */
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
 *   commit  sends what is queued with "commit": one round trip; done only when the command tag says COMMIT
 *
 * After any result but STORE_OK the only thing to do is connection_rollback(); `error` then has SQLSTATE, message and,
 * for queued statements, which one it was. Deadline: of the whole transaction, monotonic ms; passing it cancels the
 * statement and gives STORE_TRANSIENT (STORE_UNKNOWN when the commit was sent). More than STORE_PARAMS_MAX parameters,
 * or more than 1024 statements queued, give STORE_DATA.
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
/* True when a plugin's own statement ended or changed the transaction or session (commit, rollback, set): a fault of
 * the plugin. */
bool connection_tampered(const struct connection *connection);
/* What plugins' statements of the last transaction changed in the session, for people; NULL: nothing. It has been put
 * back, or the connection is replaced. After commit or rollback, until the next begin. */
const char *connection_changed(const struct connection *connection);
/* The plugin's statement that comes next is another handler's than those before it: it finds the session's own
 * settings, in the same round trip. What cannot be put back inside the transaction (a role, temporary tables) makes it
 * fail with STORE_TRANSIENT, and connection_left() says what; NULL else. */
void connection_separate(struct connection *connection);
const char *connection_left(const struct connection *connection);

/* A statement outside any transaction, autocommitted: one round trip. Its rows live until the next begin, once or
 * script. When the connection is lost (STORE_DOWN, or STORE_TRANSIENT at the deadline) it may have been done. */
enum store_result connection_once(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, int64_t timeout_ms, struct rows **ret,
                                  struct error *error);
/* Plain SQL text, several statements, no parameters, text results ignored: migrations and "listen". */
enum store_result connection_script(struct connection *connection, const char *sql, int64_t timeout_ms,
                                    struct error *error);

/* Notifications that have arrived ("listen" through connection_script). Waits up to timeout_ms for one, or for
 * connection_interrupt(); returns the number of notifications consumed, 0 on time-out, -1 when the connection is
 * lost. */
int connection_wait_notify(struct connection *connection, int64_t timeout_ms);

/* ------------------------------------------------------------------------------------------------------------- rows */

size_t rows_count(const struct rows *rows);
size_t rows_columns(const struct rows *rows);
bool rows_null(const struct rows *rows, size_t row, size_t column);
/* int2/4/8, bool, xid8, oid; timestamptz as ms; numeric and floats without their fraction */
int64_t rows_int64(const struct rows *rows, size_t row, size_t column);
double rows_double(const struct rows *rows, size_t row, size_t column);
/* text, bytea, json, jsonb (without its version byte) */
struct span rows_span(const struct rows *rows, size_t row, size_t column);
struct event_id rows_uuid(const struct rows *rows, size_t row, size_t column);
/* The column's type as one of param_type, or 0 for another. */
enum param_type rows_type(const struct rows *rows, size_t column);
/* The rows leave the connection and now belong to the caller, who frees them; their bytes stay where they are (zero
 * copy). */
struct rows *rows_detach(struct connection *connection, struct rows *rows);
void rows_free(struct rows *rows); /* NULL is fine */

#endif
