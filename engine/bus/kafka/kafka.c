/*
 * kafka.c - opening and closing the kafka bus, and the table of its calls. See kafka.h.
 */
#include "bus/kafka/kafka.h"

#include "bus/kafka/assignment.h"
#include "bus/kafka/commit.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/instance.h"
#include "bus/kafka/lag.h"
#include "bus/kafka/member.h"
#include "bus/kafka/options.h"
#include "bus/kafka/pause.h"
#include "bus/kafka/poll.h"
#include "bus/kafka/producer.h"
#include "bus/kafka/scan.h"
#include "bus/kafka/standing.h"
#include "bus/kafka/topics.h"
#include "bus/kafka/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int64_t kafka_member(struct bus_consumer *consumer)
{
    (void)consumer;
    return 0; /* the inbox fences: the claims of a stale owner collide with the new owner's */
}

static void kafka_describe(struct bus_consumer *consumer, uint32_t number, struct position position, char *buf,
                           size_t size, int32_t *ret_partition, int64_t *ret_offset)
{
    pthread_mutex_lock(&consumer->streams.lock);
    const struct kafka_stream *stream = &consumer->streams.list[number];
    snprintf(buf, size, "partition %d of %s at %llu", stream->partition, stream->topic,
             (unsigned long long)position.high);
    *ret_partition = stream->partition;
    pthread_mutex_unlock(&consumer->streams.lock);
    *ret_offset = (int64_t)position.high;
}

static void kafka_stream_name(struct bus_consumer *consumer, uint32_t number, char *buf, size_t size)
{
    pthread_mutex_lock(&consumer->streams.lock);
    const struct kafka_stream *stream = &consumer->streams.list[number];
    snprintf(buf, size, "%s/%d", stream->topic, stream->partition);
    pthread_mutex_unlock(&consumer->streams.lock);
}

static void kafka_succeeded(struct bus *bus)
{
    atomic_store(&((struct kafka_bus *)bus)->succeeded, true);
}

static void kafka_maintain(struct bus *bus)
{
    (void)bus; /* the brokers trim their logs */
}

static void kafka_close(struct bus *head)
{
    struct kafka_bus *bus = (struct kafka_bus *)head;
    kafka_prepared_free(bus);
    kafka_producer_close(bus);
    kafka_slots_free(bus);
    pthread_cond_destroy(&bus->producer_ended);
    pthread_mutex_destroy(&bus->lock);
    free(bus);
}

static const struct bus_kind kafka_kind = {
    .name = "kafka",
    .durable = true,
    .transactional = false,
    .close = kafka_close,
    .subscribe = kafka_subscribe,
    .prepare = kafka_prepare,
    .poll = kafka_poll,
    .wake = kafka_wake,
    .pause = kafka_pause,
    .commit = kafka_commit,
    .revoked = kafka_revoked,
    .unsubscribe = kafka_unsubscribe,
    .succeeded = kafka_succeeded,
    .leave = kafka_slots_leave,
    .find = kafka_slots_find,
    .leave_early = kafka_slots_leave,
    .find_early = kafka_slots_find,
    .member = kafka_member,
    .halted = kafka_halted,
    .describe = kafka_describe,
    .stream_name = kafka_stream_name,
    .publish = kafka_publish,
    .writer_open = kafka_writer_open,
    .writer_publish = kafka_writer_publish,
    .writer_close = kafka_writer_close,
    .abort_publishes = kafka_abort_publishes,
    .scan = kafka_scan,
    .lag = kafka_lag,
    .standing = kafka_standing,
    .reading = kafka_reading,
    .begin = kafka_begin,
    .rename_group = kafka_rename_group,
    .maintain = kafka_maintain,
    .topics = kafka_topics,
};

int bus_kafka_open(const struct bus_options *options, struct bus **ret, struct error *error)
{
    int code = kafka_options_check(options, error);
    if (code != 0)
        return code;
    struct kafka_bus *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return error_set(error, ENOMEM, "out of memory while opening the kafka bus");
    bus->bus.kind = &kafka_kind;
    bus->options = *options;
    kafka_instance_host(bus->host, sizeof bus->host);
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->producer_ended, NULL);
    *ret = &bus->bus;
    return 0;
}
