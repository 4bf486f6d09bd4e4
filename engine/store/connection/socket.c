/*
 * socket.c - every wait on a connection's socket, and what a connection that failed becomes.
 *
 * Each wait is a poll(2) on the socket and on an eventfd, with a deadline of its own: a frozen server, a network that
 * drops packets and a shutdown all end it. What libpq offers without such a limit (PQexec, PQconnectdb,
 * PQreset, PQcancel) is not used.
 *
 * A connection that failed once is closed and never repaired: the server rolls back what was open, and the next
 * transaction opens a new one.
 */
#include "store/connection/connection.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

static bool eventfd_drain(int fd)
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
        if (ready > 0 && fds[0].revents != 0 && eventfd_drain(connection->interrupt_fd))
            return -EINTR;
        if (ready > 0 && fds[1].revents != 0)
            return 0; /* POLLERR and POLLHUP too: the read that follows says what it is */
        if (clock_monotonic_ms() >= deadline_ms)
            return -ETIMEDOUT;
    }
}

void connection_interrupt(struct connection *connection)
{
    uint64_t one = 1;
    ssize_t written = write(connection->interrupt_fd, &one, sizeof one);
    (void)written; /* full means that it is set already */
}

/* -------------------------------------------------------------------------------------------------------- losing it */

void connection_drop(struct connection *connection)
{
    PQfinish(connection->pg);
    connection->pg = NULL;
    if (connection->store->holder == connection)
        connection->store->holder = NULL;
    connection->pending_count = 0;
    connection->result_count = 0;
    prepared_release(connection);
    session_forget(connection);
}

void connection_count_outage(const struct connection *connection)
{
    if (!connection->plugin_ran)
        atomic_fetch_add(&connection->store->outages, 1);
}

uint64_t connection_outages(const struct connection *connection)
{
    return atomic_load(&connection->store->outages);
}

uint64_t connection_crashes(const struct connection *connection)
{
    return atomic_load(&connection->store->crashes);
}

bool connection_crash_elsewhere(const struct connection *connection)
{
    return connection->crash_elsewhere;
}

void connection_mark_down(struct connection *connection)
{
    connection_count_outage(connection);
    connection_drop(connection);
    if (connection->store->up != NULL)
        series_set(connection->store->up, 0);
}

void connection_error_text(const struct connection *connection, char *buf, size_t size)
{
    snprintf(buf, size, "%s", connection->pg == NULL ? "" : PQerrorMessage(connection->pg));
    size_t length = strlen(buf);
    while (length > 0 && (buf[length - 1] == '\n' || buf[length - 1] == ' '))
        buf[--length] = '\0';
    for (char *at = buf; *at != '\0'; at++) {
        if (*at == '\n' || *at == '\t' || *at == '\r')
            *at = ' ';
    }
}

enum store_result connection_lost(struct connection *connection, struct error *error)
{
    char text[512];
    connection_error_text(connection, text, sizeof text);
    connection_mark_down(connection);
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
    connection_mark_down(connection);
    error_set(error, EIO, "cannot wait for the database: poll: %s", strerror(-code));
    return STORE_DOWN;
}

/* ---------------------------------------------------------------------------------------------------- notifications */

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
        if (count > 0 || clock_monotonic_ms() > deadline_ms)
            return count;
        int code = connection_wait(connection, POLLIN, deadline_ms);
        if (code == 0 && (PQconsumeInput(connection->pg) != 1 || PQstatus(connection->pg) != CONNECTION_OK)) {
            connection_mark_down(connection);
            return -1;
        }
        if (code != 0)
            return connection_notifications(connection);
    }
}

int connection_socket(const struct connection *connection)
{
    return connection->pg == NULL ? -1 : PQsocket(connection->pg);
}
