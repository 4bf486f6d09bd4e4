/*
 * connect.c - opening a connection, losing it, and every wait on its socket.
 *
 * Each wait is a poll(2) on the socket and on an eventfd, with our own deadline: a server that is frozen, a network
 * that swallows packets and a shutdown all end it. What libpq offers without such a limit (PQexec, PQconnectdb,
 * PQreset, PQcancel) is not used. Resolving a host name is the one thing that libpq does blocking; its time is the
 * resolver's.
 *
 * A connection that failed once is closed and never repaired: the server rolls back what was open, a new one starts
 * clean.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "store/inner.h"

/* libpq's sentences end in newlines and may have several lines. */
static void connect_fold(char *text)
{
    size_t length = strlen(text);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
        text[--length] = '\0';
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\n' || *at == '\t' || *at == '\r')
            *at = ' ';
    }
}

static bool connect_drain(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof count) == (ssize_t)sizeof count;
}

int connection_wait(struct connection *connection, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (left < 0)
            left = 0;
        struct pollfd fds[2] = {
            {.fd = connection->interrupt_fd, .events = POLLIN},
            {.fd = connection->pg == NULL ? -1 : PQsocket(connection->pg), .events = events},
        };
        int ready = poll(fds, 2, left > 60 * 1000 ? 60 * 1000 : (int)left);
        if (ready < 0 && errno != EINTR)
            return -EIO;
        if (ready > 0 && fds[0].revents != 0 && connect_drain(connection->interrupt_fd))
            return -EINTR;
        if (ready > 0 && fds[1].revents != 0)
            return 0; /* POLLERR and POLLHUP too: the read that follows says what it is */
        if (clock_monotonic_ms() >= deadline_ms)
            return -ETIMEDOUT;
    }
}

void connection_drop(struct connection *connection)
{
    PQfinish(connection->pg);
    connection->pg = NULL;
    connection->pending_count = 0;
    connection->result_count = 0;

    size_t cursor = 0;
    uint64_t key;
    void *value;
    while (connection->prepared != NULL && intmap_next(connection->prepared, &cursor, &key, &value)) {
        for (struct prepared *entry = value; entry != NULL;) {
            struct prepared *next = entry->next;
            free(entry);
            entry = next;
        }
    }
    intmap_destroy(connection->prepared);
    connection->prepared = NULL;
    connection->prepared_count = 0;
}

static void connection_went_down(struct connection *connection)
{
    connection_drop(connection);
    if (connection->store->up != NULL)
        series_set(connection->store->up, 0);
}

enum store_result connection_lost(struct connection *connection, struct error *error)
{
    char text[512];
    snprintf(text, sizeof text, "%s", connection->pg == NULL ? "" : PQerrorMessage(connection->pg));
    connect_fold(text);
    connection_went_down(connection);
    error_set(error, ENOTCONN, "the connection to the database was lost: %s",
              text[0] == '\0' ? "the server closed it" : text);
    return STORE_DOWN;
}

enum store_result connection_wait_failed(struct connection *connection, int code, struct error *error)
{
    if (code == -ETIMEDOUT) {
        connection_drop(connection); /* the server sees the closed socket and cancels what runs */
        error_set(error, ETIMEDOUT, "the database did not answer before the deadline of the transaction");
        return STORE_TRANSIENT;
    }
    if (code == -EINTR) {
        connection_drop(connection);
        error_set(error, EINTR, "waiting for the database was interrupted");
        return STORE_DOWN;
    }
    connection_went_down(connection);
    error_set(error, EIO, "cannot wait for the database: poll: %s", strerror(-code));
    return STORE_DOWN;
}

/* Notices (a plugin's RAISE NOTICE, "already exists, skipping") are nobody's error. */
static void connect_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

static int connect_start(struct connection *connection)
{
    const struct store *store = connection->store;
    /* What comes after "dbname" overrides what the url says. */
    const char *const keywords[] = {
        "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",     "dbname",
        "options",         "application_name",    "client_encoding",  "target_session_attrs", NULL};
    const char *const values[] = {
        "10", "5", "3", "20000", store->url, store->session, connection->application, "UTF8", "read-write", NULL};
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
    PQsetNoticeReceiver(connection->pg, connect_notice, NULL);
    if (PQsetnonblocking(connection->pg, 1) != 0 || PQenterPipelineMode(connection->pg) != 1)
        return -ENOTCONN;
    connection->prepared = intmap_create(64);
    return connection->prepared == NULL ? -ENOMEM : 0;
}

static void connect_failed(struct connection *connection, int code, struct error *error)
{
    char text[512];
    snprintf(text, sizeof text, "%s", connection->pg == NULL ? "" : PQerrorMessage(connection->pg));
    connect_fold(text);
    connection_went_down(connection);
    int64_t backoff = connection->backoff_ms == 0 ? BACKOFF_MIN_MS : connection->backoff_ms * 2;
    connection->backoff_ms = backoff > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff;
    /* A quarter of jitter, so that lanes that lost one server do not come back in step. */
    int64_t jitter = connection->backoff_ms * (rand_r(&connection->random) % 256) / 1024;
    connection->next_try_ms = clock_monotonic_ms() + connection->backoff_ms - jitter;
    if (code == -ETIMEDOUT)
        error_set(error, ETIMEDOUT, "cannot connect to the database: it did not answer in time");
    else if (code == -EINTR)
        error_set(error, EINTR, "connecting to the database was interrupted");
    else
        error_set(error, ENOTCONN, "cannot connect to the database: %s", text[0] == '\0' ? strerror(-code) : text);
}

/* Sleeps the back-off away, as far as the deadline allows. */
static int connect_backoff(struct connection *connection, int64_t deadline_ms)
{
    int64_t until = connection->next_try_ms < deadline_ms ? connection->next_try_ms : deadline_ms;
    if (connection->next_try_ms <= clock_monotonic_ms())
        return 0;
    int code = connection_wait(connection, 0, until);
    return code == -ETIMEDOUT && connection->next_try_ms <= deadline_ms ? 0 : code;
}

bool connection_alive(struct connection *connection)
{
    if (connection->pg == NULL || PQstatus(connection->pg) != CONNECTION_OK)
        return false;
    /* A server that went away left a farewell and then the end of the stream: it takes more than one read to see it. */
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

enum store_result connection_open(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    if (connection->pg != NULL && (!connection_alive(connection) || connection->prepared_count > PREPARED_MAX))
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
    connection->backoff_ms = 0;
    connection->next_try_ms = 0;
    connection->claim_careful = CLAIM_CAREFUL; /* a new connection: much may come again */
    if (connection->store->up != NULL)
        series_set(connection->store->up, 1);
    return STORE_OK;
}

void connection_interrupt(struct connection *connection)
{
    uint64_t one = 1;
    ssize_t written = write(connection->interrupt_fd, &one, sizeof one);
    (void)written; /* full means that it is set already */
}

void connection_wake(struct connection *connection)
{
    uint64_t one = 1;
    ssize_t written = write(connection->wake_fd, &one, sizeof one);
    (void)written;
}

static int connection_notifications(struct connection *connection)
{
    int count = 0;
    for (PGnotify *notify = PQnotifies(connection->pg); notify != NULL; notify = PQnotifies(connection->pg)) {
        PQfreemem(notify);
        count++;
    }
    return count;
}

int connection_wait_notify(struct connection *connection, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    for (;;) {
        if (connection->pg == NULL)
            return -1;
        int count = connection_notifications(connection);
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (count > 0 || left < 0)
            return count;
        struct pollfd fds[3] = {
            {.fd = connection->interrupt_fd, .events = POLLIN},
            {.fd = connection->wake_fd, .events = POLLIN},
            {.fd = PQsocket(connection->pg), .events = POLLIN},
        };
        if (poll(fds, 3, left > 60 * 1000 ? 60 * 1000 : (int)left) <= 0)
            continue;
        if (fds[2].revents != 0 && (PQconsumeInput(connection->pg) != 1 || PQstatus(connection->pg) != CONNECTION_OK)) {
            connection_went_down(connection);
            return -1;
        }
        bool woken = fds[0].revents != 0 && connect_drain(connection->interrupt_fd);
        woken = (fds[1].revents != 0 && connect_drain(connection->wake_fd)) || woken;
        if (woken)
            return connection_notifications(connection);
    }
}

int connection_socket(const struct connection *connection)
{
    return connection->pg == NULL ? -1 : PQsocket(connection->pg);
}
