/*
 * consumer.c - making and ending a consumer of the postgres bus, and what a failed statement means to it. See
 * postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct statement statement_leave = {.text = "select sluice.bus_leave($1, $2)"};
/* Its session is over for the successor, and for nobody else until $2 ms have passed. */
static const struct statement statement_hand_over = {
    .text = "update sluice.bus_member_heartbeat set at = clock_timestamp() + $2 * interval '1 ms' where member = $1"
            " returning pg_advisory_unlock(sluice.bus_lock_member(), $1::int4)"};

enum { RETRY_MIN_MS = 50, RETRY_MAX_MS = 1000 };

static void consumer_free(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    for (size_t i = 0; i < consumer->pending_count; i++)
        bus_chunk_release(consumer->pending[consumer->pending_first + i].chunk, 1);
    connection_destroy(consumer->connection);
    if (consumer->event_fd >= 0)
        close(consumer->event_fd);
    for (size_t i = 0; consumer->topics != NULL && i < consumer->topic_count; i++)
        free(consumer->topics[i]);
    free(consumer->topics);
    for (size_t i = 0; consumer->elsewhere != NULL && consumer->elsewhere[i] != NULL; i++)
        free(consumer->elsewhere[i]);
    free(consumer->elsewhere);
    rows_free(consumer->others);
    free(consumer->strangers);
    free(consumer->group);
    free(consumer->streams);
    free(consumer->pending);
    free(consumer->event_streams);
    free(consumer->event_epochs);
    free(consumer->param_partitions);
    free(consumer->param_epochs);
    free(consumer->param_highs);
    free(consumer->param_lows);
    free(consumer->param_old_highs);
    free(consumer->param_old_lows);
    free(consumer);
}

/* A copy of a NULL-terminated list; NULL when out of memory. */
static char **copy_names(const char *const *names)
{
    size_t count = 0;
    while (names != NULL && names[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++)
        if ((copy[i] = strdup(names[i])) == NULL) {
            while (i > 0)
                free(copy[--i]);
            free(copy);
            return NULL;
        }
    return copy;
}

int postgres_subscribe(struct bus *head, const struct bus_subscription *subscription, struct bus_consumer **ret,
                       struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    size_t partitions = bus->partition_count;
    int code = postgres_verify(bus, error);
    if (code != 0)
        return code;
    struct bus_consumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return error_set(error, ENOMEM, "out of memory while subscribing group \"%s\"", subscription->group);
    consumer->bus = bus;
    consumer->poll_records = subscription->poll_records != 0 ? subscription->poll_records : 500;
    consumer->poll_bytes = subscription->poll_bytes != 0 ? subscription->poll_bytes : 1024 * 1024;
    consumer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    consumer->connection = connection_create(bus->store, subscription->group);
    consumer->group = strdup(subscription->group);
    consumer->streams = calloc(partitions, sizeof *consumer->streams);
    consumer->event_streams = calloc(partitions, sizeof *consumer->event_streams);
    consumer->event_epochs = calloc(partitions, sizeof *consumer->event_epochs);
    consumer->param_partitions = calloc(partitions, sizeof *consumer->param_partitions);
    consumer->param_epochs = calloc(partitions, sizeof *consumer->param_epochs);
    consumer->param_highs = calloc(partitions, sizeof *consumer->param_highs);
    consumer->param_lows = calloc(partitions, sizeof *consumer->param_lows);
    consumer->param_old_highs = calloc(partitions, sizeof *consumer->param_old_highs);
    consumer->param_old_lows = calloc(partitions, sizeof *consumer->param_old_lows);
    consumer->topics = calloc(subscription->topic_count + 1, sizeof *consumer->topics);
    consumer->elsewhere = copy_names(subscription->others);
    bool enough = consumer->event_fd >= 0 && consumer->connection != NULL && consumer->group != NULL &&
                  consumer->streams != NULL && consumer->event_streams != NULL && consumer->event_epochs != NULL &&
                  consumer->param_partitions != NULL && consumer->param_epochs != NULL &&
                  consumer->param_highs != NULL && consumer->param_lows != NULL && consumer->param_old_highs != NULL &&
                  consumer->param_old_lows != NULL && consumer->topics != NULL && consumer->elsewhere != NULL;
    for (size_t i = 0; enough && i < subscription->topic_count; i++) {
        consumer->topics[i] = strdup(subscription->topics[i]);
        enough = consumer->topics[i] != NULL;
        consumer->topic_count++;
    }
    if (!enough) {
        consumer_free(consumer);
        return error_set(error, ENOMEM, "out of memory or file descriptors while subscribing group \"%s\"",
                         subscription->group);
    }
    /* At once, and not with the first poll: before anything is emitted here, peers must know what this one reads. */
    enum store_result result = postgres_join(consumer, error);
    if (result != STORE_OK) {
        consumer_free(consumer);
        return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
    }
    pthread_mutex_lock(&bus->consumers_lock);
    consumer->next = bus->consumers;
    bus->consumers = consumer;
    pthread_mutex_unlock(&bus->consumers_lock);
    atomic_fetch_add(&bus->consumer_count, 1);
    *ret = consumer;
    return 0;
}

int postgres_back_off(struct bus_consumer *consumer, enum store_result result, struct error *error)
{
    if (result == STORE_DEPLOY || result == STORE_DATA)
        return -EPROTO;
    int64_t now = clock_monotonic_ms();
    consumer->retry_ms = consumer->retry_ms == 0                 ? RETRY_MIN_MS
                         : consumer->retry_ms * 2 < RETRY_MAX_MS ? consumer->retry_ms * 2
                                                                 : RETRY_MAX_MS;
    consumer->heartbeat_due_ms = consumer->fetch_due_ms = now + consumer->retry_ms;
    /* The second failure in a row: a connection that was lost and is made again is none. */
    if (result != STORE_TRANSIENT && !consumer->unreachable && error != NULL && consumer->retry_ms > RETRY_MIN_MS) {
        consumer->unreachable = true;
        if (store_unreachable(consumer->bus->store))
            return 0;
        consumer->fault = *error;
        error_prefix(&consumer->fault, "group \"%s\" cannot reach the bus and keeps trying", consumer->group);
    }
    return 0;
}

static void note_handed_over(struct postgres_bus *bus, int64_t member)
{
    long long highest = atomic_load(&bus->handed_over);
    while (highest < member && !atomic_compare_exchange_weak(&bus->handed_over, &highest, member))
        continue;
}

void postgres_unsubscribe(struct bus_consumer *consumer)
{
    if (consumer == NULL)
        return;
    struct postgres_bus *bus = consumer->bus;
    pthread_mutex_lock(&bus->consumers_lock);
    for (struct bus_consumer **at = &bus->consumers; *at != NULL; at = &(*at)->next) {
        if (*at != consumer)
            continue;
        *at = consumer->next;
        break;
    }
    pthread_mutex_unlock(&bus->consumers_lock);
    atomic_fetch_sub(&bus->consumer_count, 1);
    if (consumer->joined) {
        struct span group = span_of(consumer->group);
        int64_t member = atomic_load(&consumer->member), succession_ms = SUCCESSION_MS;
        struct store_param leave[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_INT8, &member)};
        struct store_param hand_over[] = {STORE_VALUE(PARAM_INT8, &member), STORE_VALUE(PARAM_INT8, &succession_ms)};
        bool succeeded = atomic_load(&bus->succeeded);
        struct rows *rows;
        /* If it fails, a heartbeat of a peer removes it after SESSION_GRACE_MS: its session ends here. */
        (void)connection_once(consumer->connection, succeeded ? &statement_hand_over : &statement_leave, 2,
                              succeeded ? hand_over : leave, STATEMENT_MS, &rows, NULL);
        if (succeeded)
            note_handed_over(bus, member);
    }
    consumer_free(consumer);
}
