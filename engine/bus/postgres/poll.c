/*
 * poll.c - what a poll of the postgres bus does: heartbeats and fetches when they are due, and waiting in between. See
 * postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/clock.h"
#include "base/failpoint.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

void postgres_wake(struct bus_consumer *consumer)
{
    atomic_store(&consumer->wake_requested, true);
    (void)eventfd_write(consumer->event_fd, 1);
}

void postgres_pause(struct bus_consumer *consumer, bool paused)
{
    consumer->paused = paused;
}

/* What connection_wait_notify() returned: -1 for a lost connection. */
static void poll_notified(struct bus_consumer *consumer, int notifications)
{
    if (notifications < 0) {
        consumer->heartbeat_due_ms = clock_monotonic_ms(); /* a heartbeat makes a new session at once */
    } else if (notifications > 0) {
        consumer->notified = true;
        atomic_store(&consumer->log_changed, true);
    }
}

static void poll_wait(struct bus_consumer *consumer, int64_t until_ms)
{
    if (connection_socket(consumer->connection) >= 0)
        poll_notified(consumer, connection_wait_notify(consumer->connection, -1)); /* those that have arrived */
    atomic_store(&consumer->sleeping, true);
    int64_t wait_ms = until_ms - clock_monotonic_ms();
    if (wait_ms > 0 && !atomic_load(&consumer->log_changed) && !atomic_load(&consumer->wake_requested)) {
        struct pollfd fds[2] = {{.fd = consumer->event_fd, .events = POLLIN},
                                {.fd = connection_socket(consumer->connection), .events = POLLIN}};
        if (poll(fds, 2, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms) > 0 && fds[1].revents != 0)
            poll_notified(consumer, connection_wait_notify(consumer->connection, 0));
    }
    atomic_store(&consumer->sleeping, false);
    eventfd_t ignored;
    (void)eventfd_read(consumer->event_fd, &ignored);
}

/* Moves streams from one state to the next and lists them in *ret. False when there are none. */
static bool poll_list(struct bus_consumer *consumer, enum stream_state from, enum stream_state to,
                      enum bus_event_kind kind, struct bus_event *ret)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        struct stream *stream = &consumer->streams[p];
        if (stream->state != from)
            continue;
        stream->state = to;
        if (to != STREAM_ASSIGNED)
            postgres_pending_drop(consumer, p);
        consumer->event_streams[count] = p;
        consumer->event_epochs[count++] = stream->epoch;
    }
    if (count == 0)
        return false;
    *ret = (struct bus_event){
        .kind = kind, .streams = consumer->event_streams, .epochs = consumer->event_epochs, .stream_count = count};
    return true;
}

/* Fills *ret with what there is without a query. False when there is nothing. */
static bool poll_event(struct bus_consumer *consumer, struct bus_event *ret)
{
    if (poll_list(consumer, STREAM_LOST, STREAM_NONE, BUS_LOST, ret))
        return true;
    if (poll_list(consumer, STREAM_REVOKE_PENDING, STREAM_REVOKING, BUS_REVOKED, ret)) {
        (void)FAILPOINT("bus.revoke");
        return true;
    }
    if (poll_list(consumer, STREAM_ASSIGN_PENDING, STREAM_ASSIGNED, BUS_ASSIGNED, ret)) {
        consumer->fetch_due_ms = 0;
        (void)FAILPOINT("bus.assign");
        return true;
    }
    if (consumer->fault.code != 0) {
        *ret = (struct bus_event){.kind = BUS_FAULT, .error = consumer->fault};
        consumer->fault.code = 0;
        return true;
    }
    if (consumer->paused || consumer->pending_count == 0)
        return false;
    size_t count = consumer->pending_count < consumer->poll_records ? consumer->pending_count : consumer->poll_records;
    *ret = (struct bus_event){
        .kind = BUS_RECORDS, .records = consumer->pending + consumer->pending_first, .record_count = count};
    consumer->pending_first += count;
    consumer->pending_count -= count;
    return true;
}

int postgres_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error)
{
    int64_t until_ms = clock_monotonic_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    if (consumer->pending_count == 0)
        consumer->pending_first = 0;
    for (;;) {
        int64_t now = clock_monotonic_ms();
        int result = 0;
        if (now >= consumer->heartbeat_due_ms)
            result = postgres_heartbeat(consumer, error);
        if (result < 0)
            return result;
        /* Before anything that returns, or a busy reader would never send it. */
        int64_t notify_ms = postgres_notify_others(consumer, now);
        if (poll_event(consumer, ret))
            return 0;
        if (atomic_exchange(&consumer->log_changed, false) && !consumer->unreachable)
            consumer->fetch_due_ms = now;
        if (!consumer->paused && now >= consumer->fetch_due_ms) {
            result = postgres_fetch(consumer, error);
            if (result < 0)
                return result;
            if (poll_event(consumer, ret))
                return 0;
        }
        if (atomic_exchange(&consumer->wake_requested, false) || clock_monotonic_ms() >= until_ms)
            return -EAGAIN;
        int64_t next_ms = consumer->heartbeat_due_ms < until_ms ? consumer->heartbeat_due_ms : until_ms;
        next_ms = !consumer->paused && consumer->fetch_due_ms < next_ms ? consumer->fetch_due_ms : next_ms;
        poll_wait(consumer, notify_ms < next_ms ? notify_ms : next_ms);
    }
}
