/*
 * notify.c - telling readers that the log has changed: those of this process at once, others with NOTIFY. See
 * postgres.h.
 */
#include "bus/postgres/postgres.h"

#include <sys/eventfd.h>

static const struct statement statement_notify = {.text = "select pg_notify('sluice_bus', '')"};

static void notify_consumer(struct bus_consumer *consumer)
{
    atomic_store(&consumer->log_changed, true);
    if (atomic_load(&consumer->sleeping))
        (void)eventfd_write(consumer->event_fd, 1);
}

void postgres_published(struct bus *head)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    if (atomic_load(&bus->remote_readers))
        atomic_store(&bus->notify_pending, true);
    pthread_mutex_lock(&bus->consumers_lock);
    for (struct bus_consumer *consumer = bus->consumers; consumer != NULL; consumer = consumer->next)
        notify_consumer(consumer);
    pthread_mutex_unlock(&bus->consumers_lock);
}

int64_t postgres_notify_others(struct bus_consumer *consumer, int64_t now_ms)
{
    struct postgres_bus *bus = consumer->bus;
    if (!atomic_load(&bus->notify_pending))
        return INT64_MAX;
    int64_t next_ms = atomic_load(&bus->notified_ms) + NOTIFY_EVERY_MS;
    if (now_ms < next_ms)
        return next_ms;
    if (atomic_exchange(&bus->notify_pending, false)) {
        struct rows *rows;
        atomic_store(&bus->notified_ms, now_ms);
        /* If it fails, their fetch after IDLE_MS finds what was published. */
        (void)connection_once(consumer->connection, &statement_notify, 0, NULL, STATEMENT_MS, &rows, NULL);
    }
    return INT64_MAX;
}
