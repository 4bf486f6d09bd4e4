/*
 * poll.c - reading: one message after another from librdkafka into a chunk that keeps them. See bus.h.
 *
 * The batch calls of librdkafka 2.0.2 skip offsets around rebalances, so they are not used. Payloads are not copied:
 * a chunk owns its messages and gives them back together.
 */
#include "bus/kafka/bus.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct delivery {           /* one poll's records */
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

/* ------------------------------------------------------------------------------------------------------------
 * waking */

void kafka_wake(struct bus_consumer *consumer)
{
    pthread_mutex_lock(&consumer->wake_lock);
    consumer->woken = true;
    pthread_cond_signal(&consumer->wake_up);
    rd_kafka_queue_yield(consumer->queue); /* under the lock: kafka_rejoin() takes another */
    pthread_mutex_unlock(&consumer->wake_lock);
}

static bool take_woken(struct bus_consumer *consumer)
{
    pthread_mutex_lock(&consumer->wake_lock);
    bool woken = consumer->woken;
    consumer->woken = false;
    pthread_mutex_unlock(&consumer->wake_lock);
    return woken;
}

void kafka_pause(struct bus_consumer *consumer, bool paused)
{
    if (paused == consumer->paused)
        return;
    consumer->paused = paused;
    consumer->paused_ms = clock_monotonic_ms();
}

static void pause_partitions(struct bus_consumer *consumer, bool paused)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)consumer->stream_count);
    for (size_t i = 0; i < consumer->stream_count; i++)
        if (consumer->streams[i].state == KAFKA_STREAM_HELD)
            rd_kafka_topic_partition_list_add(list, consumer->streams[i].topic, consumer->streams[i].partition);
    (void)(paused ? rd_kafka_pause_partitions(consumer->rk, list) : rd_kafka_resume_partitions(consumer->rk, list));
    rd_kafka_topic_partition_list_destroy(list);
    consumer->paused_hard = paused;
}

/* In librdkafka a partition that is paused stays so when it goes and when it comes again: none leaves us paused. If
 * the pause lasts, it is made up for. */
void kafka_unpause(struct bus_consumer *consumer)
{
    if (consumer->paused_hard)
        pause_partitions(consumer, false);
}

/* True: the pause is young, nobody polls; the wait was done here. */
static bool wait_paused(struct bus_consumer *consumer, int timeout_ms)
{
    int64_t now = clock_monotonic_ms(), hard = consumer->paused_ms + KAFKA_HARD_PAUSE_MS;
    if (!consumer->paused) {
        kafka_unpause(consumer);
        return false;
    }
    if (consumer->paused_hard)
        return false;
    if (now >= hard) {
        pause_partitions(consumer, true);
        return false;
    }
    int64_t until = now + timeout_ms < hard ? now + timeout_ms : hard;
    struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    pthread_mutex_lock(&consumer->wake_lock);
    while (!consumer->woken && clock_monotonic_ms() < until)
        pthread_cond_timedwait(&consumer->wake_up, &consumer->wake_lock, &at);
    consumer->woken = false;
    pthread_mutex_unlock(&consumer->wake_lock);
    return true;
}

/* -----------------------------------------------------------------------------------------------------------
 * fetching */

enum { FLOW_STEPS = 8 };

static int64_t conf_number(const rd_kafka_t *rk, const char *name)
{
    char text[32] = "0";
    size_t size = sizeof text;
    (void)rd_kafka_conf_get(rd_kafka_conf((rd_kafka_t *)(uintptr_t)rk), name, text, &size);
    return strtoll(text, NULL, 10);
}

void kafka_flow_init(struct kafka_flow *flow, const rd_kafka_t *rk)
{
    *flow = (struct kafka_flow){0};
    if (conf_number(rk, "fetch.queue.backoff.ms") > 0)
        return;
    flow->count_step = conf_number(rk, "queued.min.messages") / FLOW_STEPS + 1;
    flow->bytes_step = conf_number(rk, "queued.max.messages.kbytes") * 1024 / FLOW_STEPS + 1;
}

/* librdkafka 2.0.2 stops fetching from a broker when enough waits, and looks again when that broker's thread is
 * woken, or after a second. What wakes the threads of all that we read from is to ask them something; nobody waits
 * for the answer. */
void kafka_flow_took(struct kafka_flow *flow, rd_kafka_t *rk, const rd_kafka_message_t *message)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    if (flow->count_step == 0)
        return;
    flow->count++;
    flow->bytes += (int64_t)(message->len + message->key_len);
    if (flow->count < flow->count_step && flow->bytes < flow->bytes_step)
        return;
    flow->count = flow->bytes = 0;
    if (rd_kafka_assignment(rk, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    if (list->cnt > 0)
        (void)rd_kafka_offsets_for_times(rk, list, 0);
    rd_kafka_topic_partition_list_destroy(list);
}

/* ------------------------------------------------------------------------------------------------------------
 * reading */

static uint32_t stream_of(struct bus_consumer *consumer, const rd_kafka_message_t *message)
{
    const struct kafka_stream *last = consumer->last_stream < consumer->stream_count
                                          ? &consumer->streams[consumer->last_stream]
                                          : NULL;
    if (last != NULL && consumer->last_topic == message->rkt && last->partition == message->partition)
        return consumer->last_stream;
    const struct kafka_stream *stream = kafka_stream_find(consumer, rd_kafka_topic_name(message->rkt),
                                                          message->partition);
    if (stream == NULL)
        return UINT32_MAX;
    consumer->last_topic = message->rkt;
    consumer->last_stream = (uint32_t)(stream - consumer->streams);
    return consumer->last_stream;
}

/* An error that came in the place of a message. */
static void take_error(struct bus_consumer *consumer, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt == NULL ? "" : rd_kafka_topic_name(message->rkt),
               *words = rd_kafka_message_errstr(message);
    struct kafka_stream *stream = message->rkt == NULL ? NULL : kafka_stream_find(consumer, topic, message->partition);
    struct error error = {0};
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        if (stream != NULL)
            stream->gone = consumer->gone = true;
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
        kafka_group_fatal(consumer);
        break;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        log_warn("kafka", "group %s: %s", consumer->group, words);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        for (size_t i = 0; consumer->streams != NULL && i < consumer->stream_count; i++)
            if (strcmp(consumer->streams[i].topic, topic) == 0)
                consumer->streams[i].deleted = true; /* what still runs must not bring its positions back */
        (void)kafka_positions_forget(consumer, topic, -1, &error); /* if it is made again, its offsets are others */
        error_set(&consumer->fault, ENOENT, "group %s: topic %s is not there any more", consumer->group, topic);
        error_hint(&consumer->fault, "`sluice migrate CONFIG` makes it again; reading goes on by itself then");
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        error_set(&consumer->fault, EACCES, "group %s may not read %s: %s", consumer->group, topic, words);
        break;
    default:
        log_rarely(10000, LOG_WARN, "kafka", "group %s: %s%s%s", consumer->group, topic, topic[0] != '\0' ? ": " : "",
                   words);
        break;
    }
}

/* Messages into consumer->messages; an error ends a poll that has none yet, since it may be news. */
static size_t collect(struct bus_consumer *consumer, int timeout_ms, size_t *ret_headers)
{
    size_t count = 0, bytes = 0;
    *ret_headers = 0;
    while (count < consumer->poll_records && bytes < consumer->poll_bytes) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, count > 0 ? 0 : timeout_ms);
        if (message == NULL)
            break;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            take_error(consumer, message);
            rd_kafka_message_destroy(message);
            break;
        }
        uint32_t number = stream_of(consumer, message);
        struct kafka_stream *stream = number == UINT32_MAX ? NULL : &consumer->streams[number];
        if (stream == NULL || stream->state != KAFKA_STREAM_HELD || message->offset < stream->next) {
            rd_kafka_message_destroy(message); /* not ours now, or again */
            continue;
        }
        kafka_flow_took(&consumer->flow, consumer->rk, message);
        stream->next = message->offset + 1;
        consumer->records[count].stream = number;
        consumer->records[count].epoch = stream->epoch;
        consumer->messages[count++] = message;
        bytes += message->len + message->key_len + 64;
        *ret_headers += kafka_header_count(message);
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
    atomic_fetch_add_explicit(&consumer->client->holders, 1, memory_order_relaxed);
    delivery->count = count;
    delivery->headers = (struct header *)(void *)((char *)delivery + size);
    struct header *headers = delivery->headers;
    for (size_t i = 0; i < count; i++) {
        struct bus_record *record = &consumer->records[i];
        delivery->messages[i] = consumer->messages[i];
        kafka_record(delivery->messages[i], headers, &record->record);
        headers += record->record.header_count;
        record->position = (struct position){(uint64_t)delivery->messages[i]->offset, 0};
        record->key_hash = record_key_hash(&record->record, record->position);
        record->chunk = &delivery->chunk;
    }
    *ret = (struct bus_event){.kind = BUS_RECORDS, .records = consumer->records, .record_count = count};
    return 0;
}

/* The id is ours alone on this machine. The brokers believe otherwise when a commit that librdkafka kept for a
 * coordinator that was away goes out before the member has joined again. */
static int poll_fenced(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret)
{
    if (kafka_lose_all(consumer, ret) == 0)
        return 0;
    if (kafka_rejoin(consumer) != 0) {
        struct timespec pause = {.tv_nsec = (timeout_ms < 100 ? timeout_ms : 100) * 1000000L};
        nanosleep(&pause, NULL);
    }
    return -EAGAIN;
}

int kafka_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error)
{
    size_t headers = 0;
    *ret = (struct bus_event){0};
    if (FAILPOINT("bus.poll.before") == FAILPOINT_ERROR)
        return -EAGAIN;
    if (consumer->dead && consumer->fenced && consumer->slot >= 0)
        return poll_fenced(consumer, timeout_ms, ret);
    if (consumer->dead) {
        *error = consumer->fault;
        return -EIO;
    }
    if (kafka_change_event(consumer, ret) == 0)
        return 0;
    if (consumer->fault.code != 0) {
        *ret = (struct bus_event){.kind = BUS_FAULT, .error = consumer->fault};
        consumer->fault.code = 0;
        return 0;
    }
    kafka_commit_stored(consumer);
    kafka_group_doubt(consumer);
    if (wait_paused(consumer, timeout_ms))
        return -EAGAIN;
    size_t count = collect(consumer, take_woken(consumer) ? 0 : timeout_ms, &headers);
    return count > 0 ? deliver(consumer, count, headers, ret, error) : kafka_change_event(consumer, ret);
}
