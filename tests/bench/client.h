/*
 * client.h - bare clients of librdkafka for the programs of the bench: what one would write without an engine.
 *
 * A client takes `name=value` properties after its own, so that a run may try others.
 */
#ifndef SLUICE_BENCH_CLIENT_H
#define SLUICE_BENCH_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENT_PROPERTIES_MAX 32

struct client_properties {
    const char *list[CLIENT_PROPERTIES_MAX]; /* name=value */
    size_t count;
};

static inline int64_t client_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void client_silent(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    if (level <= 3)
        fprintf(stderr, "%s: %s: %s\n", rk == NULL ? "client" : rd_kafka_name(rk), facility, text);
}

static inline void client_set(rd_kafka_conf_t *conf, const char *property)
{
    char name[128], words[256];
    const char *equals = strchr(property, '=');
    if (equals == NULL || (size_t)(equals - property) >= sizeof name) {
        fprintf(stderr, "not a property: %s\n", property);
        exit(2);
    }
    memcpy(name, property, (size_t)(equals - property));
    name[equals - property] = '\0';
    if (rd_kafka_conf_set(conf, name, equals + 1, words, sizeof words) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "%s: %s\n", property, words);
        exit(2);
    }
}

/* Ends the program when there is no client. `report`: of a producer, called for each record. */
static inline rd_kafka_t *client_new(rd_kafka_type_t type, const char *brokers, const struct client_properties *usual,
                                     const struct client_properties *more,
                                     void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    char words[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, client_silent);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, words, sizeof words) != RD_KAFKA_CONF_OK)
        exit(2);
    for (size_t i = 0; i < usual->count; i++)
        client_set(conf, usual->list[i]);
    for (size_t i = 0; more != NULL && i < more->count; i++)
        client_set(conf, more->list[i]);
    if (report != NULL)
        rd_kafka_conf_set_dr_msg_cb(conf, report);
    rd_kafka_t *rk = rd_kafka_new(type, conf, words, sizeof words);
    if (rk == NULL) {
        fprintf(stderr, "no client: %s\n", words);
        exit(1);
    }
    if (type == RD_KAFKA_CONSUMER)
        rd_kafka_poll_set_consumer(rk);
    return rk;
}

static inline rd_kafka_t *client_producer(const char *brokers, const struct client_properties *more,
                                          void (*report)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    static const struct client_properties usual = {.list = {"enable.idempotence=true", "acks=all", "linger.ms=0",
                                                            "partitioner=murmur2_random",
                                                            "queue.buffering.max.messages=200000"},
                                                   .count = 5};
    return client_new(RD_KAFKA_PRODUCER, brokers, &usual, more, report);
}

/* Of a batch that is on its way: what has no report yet. */
struct client_batch {
    atomic_long open;
    atomic_bool failed;
};

static inline void client_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct client_batch *batch = message->_private;
    (void)rk, (void)opaque;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        atomic_store(&batch->failed, true);
    atomic_fetch_sub(&batch->open, 1);
}

/* Serves the producer until every record of the batch has its report; ends the program when one is bad. */
static inline void client_await(rd_kafka_t *producer, struct client_batch *batch)
{
    while (atomic_load(&batch->open) > 0)
        rd_kafka_poll(producer, 100);
    if (atomic_load(&batch->failed)) {
        fprintf(stderr, "a record was not delivered\n");
        exit(1);
    }
}

/* Copies the record into the producer. Takes `headers` (may be NULL). */
static inline void client_send(rd_kafka_t *producer, rd_kafka_topic_t *topic, const void *key, size_t key_length,
                               const void *value, size_t length, int64_t timestamp_ms, rd_kafka_headers_t *headers,
                               struct client_batch *batch)
{
    atomic_fetch_add(&batch->open, 1);
    for (;;) {
        rd_kafka_resp_err_t err = rd_kafka_producev(
            producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(key, key_length),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)value, length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_TIMESTAMP(timestamp_ms), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(batch), RD_KAFKA_V_END);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return;
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "not produced: %s\n", rd_kafka_err2str(err));
            exit(1);
        }
        rd_kafka_poll(producer, 10);
    }
}

#endif
