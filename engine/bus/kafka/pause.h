/*
 * pause.h - back-pressure and waking: how a consumer waits without reading.
 *
 * For the first second of a pause nobody polls: what librdkafka has fetched ahead waits, and reading goes on at once.
 * After that the partitions are paused in librdkafka and polling goes on, without records: a member that does not poll
 * for max.poll.interval.ms is removed from its group.
 */
#ifndef SLUICE_BUS_KAFKA_PAUSE_H
#define SLUICE_BUS_KAFKA_PAUSE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bus_consumer;

struct kafka_pause {
    bool wanted;            /* by the engine */
    bool partitions_paused; /* in librdkafka; follows `wanted` at the next poll */
    int64_t since_ms;       /* of `wanted`, or of the last assignment: when the second began */
    pthread_mutex_t lock;   /* for what follows, and consumer->queue against kafka_wake() */
    pthread_cond_t wake;    /* monotonic */
    bool woken;
};

void kafka_pause_init(struct kafka_pause *pause);
void kafka_pause_destroy(struct kafka_pause *pause);

/* Of the contract: bus/bus.h. */
void kafka_wake(struct bus_consumer *consumer);
void kafka_pause(struct bus_consumer *consumer, bool paused);

bool kafka_pause_take_woken(struct bus_consumer *consumer);
/* Before a poll. True: the pause is in its first second, nobody polls; the wait was done here. */
bool kafka_pause_wait(struct bus_consumer *consumer, int timeout_ms);
/* Before partitions come or go: librdkafka keeps one that is paused paused, also when it is assigned again. The next
 * kafka_pause_wait() pauses those that are there then. */
void kafka_pause_resume_partitions(struct bus_consumer *consumer);

#endif
