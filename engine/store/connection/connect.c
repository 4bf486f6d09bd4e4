/*
 * connect.c - making a connection, and opening it when a transaction needs it.
 *
 * After a failure the next tries come with growing pauses. Resolving a host name is the one thing that libpq does
 * without a client-side limit; its time is the resolver's.
 */
#include "store/connection/connection.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { SCRATCH_BLOCK = 16 * 1024, SCRATCH_MAX = 64 * 1024 * 1024, BACKOFF_MIN_MS = 20, BACKOFF_MAX_MS = 1000 };

struct connection *connection_create(struct store *store, const char *name)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    *connection = (struct connection){.store = store, .interrupt_fd = -1, .failed = STORE_OK};
    buffer_init(&connection->bytes, PARAM_BYTES_MAX);
    connection->random = (unsigned)(uintptr_t)connection ^ (unsigned)clock_monotonic_ns();
    connection->interrupt_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    connection->scratch = arena_create(SCRATCH_BLOCK, SCRATCH_MAX);
    int length = asprintf(&connection->application, "%s%s%s", store->application,
                          name == NULL || name[0] == '\0' ? "" : " ", name == NULL ? "" : name);
    if (length < 0)
        connection->application = NULL;
    if (connection->interrupt_fd < 0 || connection->scratch == NULL || connection->application == NULL) {
        connection_destroy(connection);
        return NULL;
    }
    return connection;
}

void connection_destroy(struct connection *connection)
{
    if (connection == NULL)
        return;
    struct store *store = connection->store;
    if (store->shares_session && store->holder == connection && store->spare == NULL)
        store->spare = connection_create(store, NULL);
    shared_keep(connection);
    connection_drop(connection); /* closing rolls back */
    rows_release(connection);
    arena_destroy(connection->scratch);
    buffer_free(&connection->bytes);
    free(connection->pending);
    free(connection->results);
    free(connection->application);
    free((void *)connection->outbox_table.add.text);
    free((void *)connection->outbox_table.done.text);
    if (connection->interrupt_fd >= 0)
        close(connection->interrupt_fd);
    free(connection);
}

/* ---------------------------------------------------------------------------------------------------------- opening */

static int connect_start(struct connection *connection)
{
    const struct store *store = connection->store;
    /* What comes after "dbname" overrides what the url says. */
    const char *const keywords[] = {
        "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",     "dbname",
        "options",         "application_name",    "client_encoding",  "target_session_attrs", NULL};
    const char *const values[] = {"10",
                                  "5",
                                  "3",
                                  "20000",
                                  store->url,
                                  store->session,
                                  connection->application,
                                  "UTF8",
                                  connection->any_server ? "any" : "read-write",
                                  NULL};
    connection->pg = PQconnectStartParams(keywords, values, 1);
    return connection->pg == NULL || PQstatus(connection->pg) == CONNECTION_BAD ? -ENOTCONN : 0;
}

/* 0, -ENOTCONN with libpq's words in the PGconn, or what connection_wait() gave. */
static int connect_poll(struct connection *connection, int64_t deadline_ms)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING; /* as libpq wants it before the first call */
    while (status != PGRES_POLLING_OK) {
        int code = connection_wait(connection, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms);
        if (code != 0)
            return code;
        status = PQconnectPoll(connection->pg);
        if (status == PGRES_POLLING_FAILED)
            return -ENOTCONN;
    }
    return 0;
}

static int connect_try(struct connection *connection, int64_t deadline_ms)
{
    if (FAILPOINT("store.connect") == FAILPOINT_ERROR)
        return -ENOTCONN;
    int code = connect_start(connection);
    if (code == 0)
        code = connect_poll(connection, deadline_ms);
    if (code != 0)
        return code;
    PQsetNoticeReceiver(connection->pg, outage_notice, connection);
    if (PQsetnonblocking(connection->pg, 1) != 0 || PQenterPipelineMode(connection->pg) != 1)
        return -ENOTCONN;
    connection->prepared = intmap_create(64);
    return connection->prepared == NULL ? -ENOMEM : 0;
}

static void connect_failed(struct connection *connection, int code, struct error *error)
{
    char text[512];
    struct error said = {0};
    error = error == NULL ? &said : error; /* the log has it in any case */
    connection_error_text(connection, text, sizeof text);
    connection_mark_down(connection);
    int64_t backoff = connection->backoff_ms == 0 ? BACKOFF_MIN_MS : connection->backoff_ms * 2;
    connection->backoff_ms = backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff;
    /* Up to a quarter less, so that lanes that lost one server do not connect all at once. */
    int64_t jitter = connection->backoff_ms * (rand_r(&connection->random) % 256) / 1024;
    connection->next_try_ms = clock_monotonic_ms() + connection->backoff_ms - jitter;
    if (code == -ETIMEDOUT)
        error_set(error, ETIMEDOUT, "cannot connect to the database: it did not answer in time");
    else if (code == -EINTR)
        error_set(error, EINTR, "connecting to the database was interrupted");
    else
        error_set(error, ENOTCONN, "cannot connect to the database: %s", text[0] == '\0' ? strerror(-code) : text);
    const char *advice = connection_advice(text);
    if (advice != NULL)
        error_hint(error, "%s", advice);
    if (code != -EINTR)
        outage_begin(connection->store, error->text, advice);
}

/* Sleeps until the next try may begin, as far as the deadline allows. */
static int connect_backoff(struct connection *connection, int64_t deadline_ms)
{
    int64_t until = connection->next_try_ms < deadline_ms ? connection->next_try_ms : deadline_ms;
    if (connection->next_try_ms <= clock_monotonic_ms())
        return 0;
    int code = connection_wait(connection, 0, until);
    return code == -ETIMEDOUT && connection->next_try_ms <= deadline_ms ? 0 : code;
}

/* Reads what the server sent since the last transaction; false when the connection cannot be used any more. */
static bool connection_alive(struct connection *connection)
{
    if (connection->pg == NULL || PQstatus(connection->pg) != CONNECTION_OK)
        return false;
    /* A server that shut down sent an error and then the end of the stream: more than one read is needed to see it. */
    for (int reads = 0; reads < 8; reads++) {
        struct pollfd fd = {.fd = PQsocket(connection->pg), .events = POLLIN};
        if (poll(&fd, 1, 0) <= 0)
            break;
        if (PQconsumeInput(connection->pg) != 1 || PQisBusy(connection->pg) ||
            PQstatus(connection->pg) != CONNECTION_OK)
            return false;
    }
    return PQtransactionStatus(connection->pg) == PQTRANS_IDLE;
}

bool connection_encryption(const struct connection *connection, char *buf, size_t size, bool *ret_local)
{
    if (connection->pg == NULL || size == 0)
        return false;
    const char *address = PQhostaddr(connection->pg); /* "": a socket of this machine's file system */
    *ret_local = address == NULL || address[0] == '\0' || strncmp(address, "127.", 4) == 0 ||
                 strcmp(address, "::1") == 0;
    buf[0] = '\0';
    PQconninfoOption *options = PQsslInUse(connection->pg) ? PQconninfo(connection->pg) : NULL;
    for (const PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++)
        if (strcmp(option->keyword, "sslmode") == 0)
            snprintf(buf, size, "%s", option->val == NULL ? "prefer" : option->val);
    PQconninfoFree(options);
    return true;
}

enum store_result connection_open(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    shared_borrow(connection);
    if (connection->pg != NULL && !connection_alive(connection)) {
        connection_count_outage(connection);
        connection_drop(connection);
    }
    if (connection->pg != NULL && connection->prepared_count > PREPARED_MAX)
        connection_drop(connection);
    if (connection->pg != NULL)
        return STORE_OK;

    int code = connect_backoff(connection, deadline_ms);
    int64_t connect_deadline_ms = clock_monotonic_ms() + connection->store->connect_timeout_ms;
    if (code == 0)
        code = connect_try(connection, connect_deadline_ms < deadline_ms ? connect_deadline_ms : deadline_ms);
    if (code != 0) {
        connect_failed(connection, code, error);
        return STORE_DOWN;
    }
    shared_own(connection);
    connection->backoff_ms = 0;
    connection->next_try_ms = 0;
    outage_end(connection->store);
    connection->on_conflict_countdown = ON_CONFLICT_CLAIMS; /* what was not committed is delivered again */
    if (connection->store->up != NULL)
        series_set(connection->store->up, 1);
    return STORE_OK;
}
