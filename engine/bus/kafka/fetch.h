/*
 * fetch.h - keeping librdkafka fetching while its queue is emptied.
 *
 * librdkafka 2.0.2 stops fetching from a broker when enough messages wait, and looks again when that broker's thread is
 * woken, or after a second. Newer versions have fetch.queue.backoff.ms and need no help.
 */
#ifndef SLUICE_BUS_KAFKA_FETCH_H
#define SLUICE_BUS_KAFKA_FETCH_H

#include <librdkafka/rdkafka.h>

struct kafka_fetch {                /* what was taken from the queue since the threads were woken */
    int64_t count, bytes;           /* messages, bytes of their keys and values */
    int64_t count_step, bytes_step; /* when to wake them; 0: it needs no help */
};
void kafka_fetch_init(struct kafka_fetch *fetch, const rd_kafka_t *rk);
/* This message was taken. Never waits. */
void kafka_fetch_took(struct kafka_fetch *fetch, rd_kafka_t *rk, const rd_kafka_message_t *message);

#endif
