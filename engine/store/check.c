/*
 * check.c - whether a database that answers can be used, and what to do when it cannot.
 */
#include "store/connection/connection.h"

#include "base/clock.h"

#include <errno.h>

enum { CHECK_POOLER_TRIES = 3 };

static int64_t check_ms(const struct store *store)
{
    return store->connect_timeout_ms + store->statement_timeout_ms;
}

/* ------------------------------------------------------------------------------------------------------ the session */

static const struct statement statement_session = {
    "select pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean,"
    "       (select s.source from pg_settings s where s.name = 'default_transaction_read_only'), current_schema(),"
    "       current_setting('search_path'), session_user, current_database(), pg_backend_pid(),"
    "       current_setting('idle_in_transaction_session_timeout')",
    false,
};
static const struct statement statement_pid = {"select pg_backend_pid()", false};

/* What sets it, by pg_settings.source. */
static void read_only_cure(struct span source, struct span user, struct span database, struct error *error)
{
    if (span_is(source, "database"))
        error_hint(error, "alter database %.*s reset default_transaction_read_only", (int)database.length, database.at);
    else if (span_is(source, "user"))
        error_hint(error, "alter role %.*s reset default_transaction_read_only", (int)user.length, user.at);
    else if (span_is(source, "database user"))
        error_hint(error, "alter role %.*s in database %.*s reset default_transaction_read_only", (int)user.length,
                   user.at, (int)database.length, database.at);
    else if (span_is(source, "client"))
        error_hint(error, "take it out of the options of store.url, or of PGOPTIONS");
    else
        error_hint(error, "set it to off in postgresql.conf, or with alter system");
}

static enum store_result check_writable(const struct rows *rows, struct error *error)
{
    struct span source = rows_span(rows, 0, 2), user = rows_span(rows, 0, 5), database = rows_span(rows, 0, 6);
    if (rows_int64(rows, 0, 0) != 0) {
        error_set(error, ENOTCONN, "the server of database %.*s is a standby: it cannot be written to",
                  (int)database.length, database.at);
        error_hint(error, "store.url must lead to the primary; the engine waits until the server is one");
        return STORE_DOWN;
    }
    if (rows_int64(rows, 0, 1) != 0) {
        error_set(error, EROFS,
                  "transactions of user %.*s in database %.*s are read-only by default "
                  "(default_transaction_read_only = on, set for: %.*s), and nothing can be written",
                  (int)user.length, user.at, (int)database.length, database.at, (int)source.length, source.at);
        read_only_cure(source, user, database, error);
        return STORE_DEPLOY;
    }
    if (rows_null(rows, 0, 3)) {
        struct span path = rows_span(rows, 0, 4);
        error_set(error, ENOEXEC,
                  "the search_path of user %.*s in database %.*s, '%.*s', names no schema that is there: the plugins' "
                  "tables have no place",
                  (int)user.length, user.at, (int)database.length, database.at, (int)path.length, path.at);
        error_hint(error, "alter role %.*s set search_path = public, or create the schema that it names",
                   (int)user.length, user.at);
        return STORE_DEPLOY;
    }
    return STORE_OK;
}

/* ------------------------------------------------------------------------------------------------------- the pooler */

static int64_t session_pid(struct connection *connection, bool transaction)
{
    const struct store *store = connection->store;
    struct rows *rows = NULL;
    enum store_result result = transaction
                                   ? connection_exec(connection, &statement_pid, 0, NULL, &rows, NULL)
                                   : connection_once(connection, &statement_pid, 0, NULL, check_ms(store), &rows, NULL);
    return result == STORE_OK ? rows_int64(rows, 0, 0) : -1;
}

/* Whether another client can be given the server's session that this connection had: it can while the connection is
 * in no transaction. */
static bool session_is_shared(struct connection *connection, int64_t pid)
{
    bool shared = false;
    for (int i = 0; i < CHECK_POOLER_TRIES && !shared; i++) {
        struct connection *other = connection_create(connection->store, "check");
        if (other == NULL)
            return false;
        if (connection_begin(other, clock_monotonic_ms() + check_ms(connection->store), NULL) == STORE_OK) {
            int64_t theirs = session_pid(other, true), mine = session_pid(connection, false);
            bool refused = theirs < 0 && other->sqlstate[0] != '\0'; /* transactions, in statement mode */
            shared = refused || theirs == pid || mine != pid;
        }
        connection_destroy(other);
    }
    return shared;
}

static enum store_result pooler_found(struct error *error)
{
    error_set(error, ENOEXEC,
              "between the engine and the database is a connection pooler in transaction mode: the engine's prepared "
              "statements and settings are lost with each transaction");
    error_hint(error, "store.url must lead to the server itself, or to a port of the pooler in session mode");
    return STORE_DEPLOY;
}

/* A pooler gives out process ids of its own; a server's are true. */
static enum store_result check_pooler(struct connection *connection, const struct rows *rows, struct error *error)
{
    int64_t pid = rows_int64(rows, 0, 7);
    bool unlimited = span_is(rows_span(rows, 0, 8), "0");
    if (connection->pg == NULL || PQbackendPID(connection->pg) == pid)
        return STORE_OK;
    if (session_is_shared(connection, pid))
        return pooler_found(error);
    if (unlimited) {
        error_set(error, ENOEXEC,
                  "the connection pooler between the engine and the database drops the settings of the engine's "
                  "sessions (the startup parameter `options`)");
        error_hint(error, "store.url must lead to the server itself; or set idle_in_transaction_session_timeout, "
                          "statement_timeout and lock_timeout for the engine's role: alter role ... set ...");
        return STORE_DEPLOY;
    }
    return STORE_OK;
}

/* Nothing could be connected to with target_session_attrs = read-write: is there a server that says why? */
static enum store_result check_any(struct store *store, struct error *error)
{
    struct connection *connection = connection_create(store, "check");
    struct rows *rows;
    struct error ignored = {0};
    enum store_result result = STORE_DOWN;
    if (connection == NULL)
        return result;
    connection->any_server = true;
    if (connection_once(connection, &statement_session, 0, NULL, check_ms(store), &rows, &ignored) == STORE_OK) {
        enum store_result writable = check_writable(rows, &ignored);
        if (writable != STORE_OK)
            *error = ignored;
        result = writable == STORE_OK ? STORE_DOWN : writable;
    }
    connection_destroy(connection);
    return result;
}

static struct connection *check_connect(struct store *store, struct error *error)
{
    struct connection *connection = connection_create(store, "check");
    if (connection == NULL)
        error_set(error, ENOMEM, "out of memory while looking at the database");
    return connection;
}

static enum store_result check_session(struct connection *connection, struct error *error)
{
    struct store *store = connection->store;
    struct rows *rows;
    enum store_result result = connection_once(connection, &statement_session, 0, NULL, check_ms(store), &rows, error);
    if (result == STORE_OK)
        result = check_writable(rows, error);
    else if (strcmp(connection->sqlstate, "42P05") == 0 || strcmp(connection->sqlstate, "26000") == 0)
        result = pooler_found(error); /* what another client prepared, or ours */
    else if (result != STORE_DEPLOY)
        result = check_any(store, error);
    if (result == STORE_OK)
        result = check_pooler(connection, rows, error);
    return result;
}

enum store_result store_check_session(struct store *store, struct error *error)
{
    struct connection *connection = check_connect(store, error);
    enum store_result result = connection == NULL ? STORE_DOWN : check_session(connection, error);
    connection_destroy(connection);
    return result;
}

/* ------------------------------------------------------------------------------------------------------- the server */

static const struct statement statement_settings = {
    "select current_setting('server_version_num')::int4, current_setting('server_version'),"
    "       current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    "       current_setting('server_encoding')",
    false,
};

static enum store_result check_settings(const struct store *store, const struct rows *rows, struct error *error)
{
    static const struct {
        size_t column;
        const char *name, *what;
    } unsafe[] = {
        {2, "fsync", "a crash of the machine loses or corrupts what was committed"},
        {3, "full_page_writes", "a crash of the machine corrupts pages"},
        {4, "synchronous_commit", "a crash of the server loses what was committed"},
    };
    if (rows_int64(rows, 0, 0) < STORE_VERSION_MIN) {
        struct span version = rows_span(rows, 0, 1);
        error_set(error, ENOEXEC, "the database is PostgreSQL %.*s; 14 or later is needed", (int)version.length,
                  version.at);
        return STORE_DEPLOY;
    }
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0] && !store->allow_unsafe; i++) {
        if (!span_is(rows_span(rows, 0, unsafe[i].column), "off"))
            continue;
        error_set(error, ENOEXEC, "the database runs with %s=off: %s, and events would be lost that were acknowledged",
                  unsafe[i].name, unsafe[i].what);
        error_hint(error, "turn %s on, or allow it for a database whose contents do not matter", unsafe[i].name);
        return STORE_DEPLOY;
    }
    struct span encoding = rows_span(rows, 0, 5);
    if (!span_is(encoding, "UTF8") && !span_is(encoding, "SQL_ASCII")) {
        error_set(error, ENOEXEC, "the database's encoding is %.*s: events are UTF-8 and some would be refused",
                  (int)encoding.length, encoding.at);
        error_hint(error, "create the database with encoding 'UTF8' template template0");
        return STORE_DEPLOY;
    }
    return STORE_OK;
}

static enum store_result check_server(struct connection *connection, struct error *error)
{
    struct rows *rows;
    enum store_result result = connection_once(connection, &statement_settings, 0, NULL, check_ms(connection->store),
                                               &rows, error);
    if (result == STORE_OK)
        return check_settings(connection->store, rows, error);
    return result == STORE_DEPLOY ? result : STORE_DOWN;
}

enum store_result store_check(struct store *store, struct error *error)
{
    struct connection *connection = check_connect(store, error);
    enum store_result result = connection == NULL ? STORE_DOWN : check_session(connection, error);
    if (result == STORE_OK)
        result = check_server(connection, error);
    connection_destroy(connection);
    return result;
}
