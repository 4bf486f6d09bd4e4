/*
 * bus.c - opening and closing the kafka bus, and what it says of itself. See bus.h.
 */
#include "bus/kafka/bus.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t kafka_member(struct bus_consumer *consumer)
{
    (void)consumer;
    return 0; /* the inbox fences: an old owner's claims find a new owner's */
}

static void kafka_describe(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf,
                           size_t size, int32_t *ret_partition, int64_t *ret_offset)
{
    pthread_mutex_lock(&consumer->streams_lock);
    const struct kafka_stream *at = &consumer->streams[stream];
    snprintf(buf, size, "partition %d of %s at %llu", at->partition, at->topic, (unsigned long long)position.high);
    *ret_partition = at->partition;
    pthread_mutex_unlock(&consumer->streams_lock);
    *ret_offset = (int64_t)position.high;
}

static int kafka_append(struct bus *bus, struct connection *connection, const struct record *records, size_t count,
                        struct error *error)
{
    (void)bus, (void)connection, (void)records, (void)count;
    return error_set(error, ENOTSUP, "the kafka bus cannot publish inside a database transaction");
}

static void kafka_published(struct bus *bus)
{
    (void)bus; /* the brokers wake readers */
}

static void kafka_abort_publishes(struct bus *bus)
{
    atomic_store(&((struct kafka_bus *)bus)->hurried, true);
}

static void kafka_maintain(struct bus *bus)
{
    (void)bus; /* the brokers keep their logs in shape */
}

static void kafka_close(struct bus *head)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    kafka_producer_close(bus);
    pthread_cond_destroy(&bus->retired);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

static const struct bus_kind kafka_kind = {
    .name = "kafka",
    .durable = true,
    .transactional = false,
    .close = kafka_close,
    .subscribe = kafka_subscribe,
    .poll = kafka_poll,
    .wake = kafka_wake,
    .pause = kafka_pause,
    .commit = kafka_commit,
    .revoked = kafka_revoked,
    .unsubscribe = kafka_unsubscribe,
    .member = kafka_member,
    .describe = kafka_describe,
    .publish = kafka_publish,
    .abort_publishes = kafka_abort_publishes,
    .append = kafka_append,
    .published = kafka_published,
    .scan = kafka_scan,
    .lag = kafka_lag,
    .maintain = kafka_maintain,
    .topics = kafka_topics,
};

/* This machine in instance ids: its name, which may be a default that others have too, and a hash of its id, which
 * an image may share. */
static void host_name(char *ret, size_t size)
{
    char name[256] = "host", id[64] = "";
    (void)gethostname(name, sizeof name - 1);
    FILE *file = fopen("/etc/machine-id", "re");
    if (file != NULL) {
        if (fgets(id, sizeof id, file) == NULL)
            id[0] = '\0';
        fclose(file);
    }
    for (char *at = name; *at != '\0'; at++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *at) == NULL)
            *at = '_';
    snprintf(ret, size, "%.40s-%08x", name, (unsigned)span_hash(span_of(id)));
}

int bus_kafka_open(const struct bus_options *options, struct bus **ret, struct error *error)
{
    struct kafka_bus *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return error_set(error, ENOMEM, "out of memory while opening the kafka bus");
    bus->bus.kind = &kafka_kind;
    bus->options = *options;
    int code = kafka_properties_check(bus, error);
    if (code != 0) {
        free(bus);
        return code;
    }
    host_name(bus->host, sizeof bus->host);
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->retired, NULL);
    *ret = &bus->bus;
    return 0;
}
