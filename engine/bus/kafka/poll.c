/*
 * poll.c - see poll.h.
 */
#include "bus/kafka/poll.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "bus/chunk.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/joining.h"
#include "bus/kafka/member.h"
#include "bus/kafka/positions.h"
#include "bus/kafka/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct delivery {           /* the records of one poll */
    struct bus_chunk chunk; /* first */
    struct kafka_client *client;
    size_t count;
    struct header *headers;
    rd_kafka_message_t *messages[];
};

static void delivery_destroy(struct bus_chunk *chunk)
{
    struct delivery *delivery = (struct delivery *)(void *)chunk;
    for (size_t i = 0; i < delivery->count; i++)
        rd_kafka_message_destroy(delivery->messages[i]);
    kafka_client_release(delivery->client);
    free(delivery);
}

/* Batches in progress must not commit positions of a deleted topic: if it is made again, its offsets start at 0. */
static void topic_deleted(struct bus_consumer *consumer, const char *topic)
{
    struct error error = {0};
    for (size_t i = 0; i < consumer->streams.count; i++)
        if (strcmp(consumer->streams.list[i].topic, topic) == 0)
            consumer->streams.list[i].topic_deleted = true;
    (void)kafka_positions_delete(consumer, topic, -1, &error);
    kafka_missing_suspect(consumer, topic);
    error_set(&consumer->health.fault, ENOENT, "group %s: topic %s does not exist any more", consumer->group, topic);
    error_hint(&consumer->health.fault, "`sluice migrate CONFIG` makes it again; reading goes on by itself then");
}

/* An error that came in place of a message. */
static void take_error(struct bus_consumer *consumer, const rd_kafka_message_t *message)
{
    struct kafka_streams *streams = &consumer->streams;
    struct kafka_stream *stream = NULL;
    const char *topic = "", *text = rd_kafka_message_errstr(message);
    if (message->rkt != NULL) {
        topic = rd_kafka_topic_name(message->rkt);
        stream = kafka_stream_find(streams, topic, message->partition);
    }
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        if (stream != NULL)
            stream->offset_out_of_range = streams->any_offset_out_of_range = true;
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
        kafka_health_failed(consumer);
        break;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        log_warn("kafka", "group %s: %s", consumer->group, text);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        topic_deleted(consumer, topic);
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        kafka_missing_suspect(consumer, topic);
        error_set(&consumer->health.fault, EACCES, "group %s may not read %s: %s", consumer->group, topic, text);
        error_hint(&consumer->health.fault, "grant READ and DESCRIBE on it; reading goes on by itself then");
        break;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
        kafka_joining_refused(consumer, message->err, text);
        break;
    default:
        kafka_joining_note(&consumer->joining, text);
        log_rarely(10000, LOG_WARN, "kafka", "group %s: %s%s%s", consumer->group, topic, topic[0] != '\0' ? ": " : "",
                   text);
        break;
    }
}

/* A partition was read to its end, which may lie past its last record: behind the marker of a transaction, an aborted
 * one, or what compaction removed. False when it does not. */
static bool take_end(struct bus_consumer *consumer, const rd_kafka_message_t *message)
{
    struct kafka_stream *stream = kafka_stream_of_message(&consumer->streams, message);
    if (stream == NULL || stream->state != KAFKA_STREAM_READING || message->offset < stream->next)
        return false;
    stream->at_end = true;
    if (message->offset == stream->next)
        return false;
    stream->next = message->offset;
    consumer->end = (struct kafka_end){.pending = true,
                                       .stream = kafka_stream_number(&consumer->streams, stream),
                                       .epoch = stream->epoch,
                                       .position = {(uint64_t)message->offset - 1, 0}};
    return true;
}

static void tell_end(struct bus_consumer *consumer, struct bus_event *ret)
{
    const struct kafka_end *end = &consumer->end;
    *ret = (struct bus_event){.kind = BUS_CONSUMED,
                              .streams = &end->stream,
                              .epochs = &end->epoch,
                              .positions = &end->position,
                              .stream_count = 1};
    consumer->end.pending = false;
}

/* Messages into consumer->messages. An end past the last of them ends the poll, and so does an error: both may be
 * events. */
static size_t collect(struct bus_consumer *consumer, int timeout_ms, size_t *ret_headers)
{
    size_t count = 0, bytes = 0;
    *ret_headers = 0;
    while (count < consumer->poll_records && bytes < consumer->poll_bytes) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, count > 0 ? 0 : timeout_ms);
        if (message == NULL)
            break;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            bool moved = take_end(consumer, message);
            rd_kafka_message_destroy(message);
            if (moved || count == 0)
                break; /* or many ends would make the poll longer than its time */
            continue;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            take_error(consumer, message);
            rd_kafka_message_destroy(message);
            break;
        }
        struct kafka_stream *stream = kafka_stream_of_message(&consumer->streams, message);
        if (stream == NULL || stream->state != KAFKA_STREAM_READING || message->offset < stream->next) {
            rd_kafka_message_destroy(message); /* of a partition that is not ours any more, or delivered before */
            continue;
        }
        kafka_fetch_took(&consumer->fetch, consumer->rk, message);
        consumer->records[count].before = (struct position){
            message->offset > stream->next ? (uint64_t)message->offset - 1 : 0, 0};
        stream->next = message->offset + 1;
        stream->at_end = false;
        consumer->records[count].stream = kafka_stream_number(&consumer->streams, stream);
        consumer->records[count].epoch = stream->epoch;
        consumer->messages[count++] = message;
        bytes += message->len + message->key_len + 64;
        *ret_headers += kafka_record_header_count(message);
    }
    return count;
}

static int deliver(struct bus_consumer *consumer, size_t count, size_t header_count, struct bus_event *ret,
                   struct error *error)
{
    size_t size = sizeof(struct delivery) + count * sizeof(rd_kafka_message_t *);
    struct delivery *delivery = malloc(size + header_count * sizeof(struct header));
    if (delivery == NULL) {
        for (size_t i = 0; i < count; i++)
            rd_kafka_message_destroy(consumer->messages[i]);
        return error_set(error, ENOMEM, "out of memory for %zu records", count);
    }
    atomic_init(&delivery->chunk.references, count);
    delivery->chunk.destroy = delivery_destroy;
    delivery->client = consumer->client;
    kafka_client_hold(consumer->client);
    delivery->count = count;
    delivery->headers = (struct header *)(void *)((char *)delivery + size);
    struct header *headers = delivery->headers;
    for (size_t i = 0; i < count; i++) {
        struct bus_record *record = &consumer->records[i];
        delivery->messages[i] = consumer->messages[i];
        kafka_record_of(delivery->messages[i], headers, &record->record);
        headers += record->record.header_count;
        record->position = (struct position){(uint64_t)delivery->messages[i]->offset, 0};
        record->key_hash = record_key_hash(&record->record, record->position);
        record->chunk = &delivery->chunk;
    }
    *ret = (struct bus_event){.kind = BUS_RECORDS, .records = consumer->records, .record_count = count};
    return 0;
}

/* The engine loses everything first; then the member joins again. */
static int poll_fenced(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret)
{
    if (kafka_assignment_lose_all(consumer, ret) == 0)
        return 0;
    if (kafka_member_rejoin(consumer) != 0) {
        struct timespec pause = timespec_of_ms(timeout_ms < 100 ? timeout_ms : 100);
        nanosleep(&pause, NULL);
    }
    return -EAGAIN;
}

int kafka_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error)
{
    struct kafka_health *health = &consumer->health;
    size_t headers = 0;
    *ret = (struct bus_event){0};
    if (FAILPOINT("bus.poll.before") == FAILPOINT_ERROR)
        return -EAGAIN;
    if (health->client == KAFKA_CLIENT_FENCED && consumer->instance.slot_lock >= 0)
        return poll_fenced(consumer, timeout_ms, ret);
    if (health->client != KAFKA_CLIENT_ALIVE) {
        *error = health->fault;
        return -EIO;
    }
    if (consumer->end.pending) {
        tell_end(consumer, ret);
        return 0;
    }
    if (kafka_assignment_event(consumer, ret) == 0)
        return 0;
    if (health->fault.code != 0) {
        *ret = (struct bus_event){.kind = BUS_FAULT, .error = health->fault};
        health->fault.code = 0;
        return 0;
    }
    kafka_commit_stored(consumer);
    kafka_health_check(consumer);
    kafka_open_check(consumer);
    if (kafka_pause_wait(consumer, timeout_ms))
        return -EAGAIN;
    size_t count = collect(consumer, kafka_pause_take_woken(consumer) ? 0 : timeout_ms, &headers);
    if (count > 0)
        return deliver(consumer, count, headers, ret, error);
    if (!consumer->end.pending)
        return kafka_assignment_event(consumer, ret);
    tell_end(consumer, ret);
    return 0;
}
