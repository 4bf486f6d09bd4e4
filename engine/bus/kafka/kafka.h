/*
 * kafka.h - the bus on Apache Kafka, through librdkafka 2.0.2 or newer: what all of bus/kafka/ rests on.
 *
 * Reading. One client for each consumer group, in the classic protocol with static membership: the group knows this
 * process by host and slot (instance.h), so a process that was killed and started again is the same member and gets
 * its partitions back at once, while one that stops leaves the group and its peers take over. A stream is a
 * topic-partition (stream.h). Positions are {offset, 0}. librdkafka commits nothing on its own account (commit.h).
 *
 * Where a partition is read from is decided here (start.h), never by a default of the client: when the next record of
 * a partition was deleted, the partition stops and an operator is told; nothing is skipped. Beside the offset in Kafka
 * there is a row in the store (positions.h), written first: it tells when one of the two was restored or moved without
 * the other.
 *
 * Back-pressure. A consumer that is paused does not poll; what librdkafka has fetched ahead waits, bounded. Only when
 * that lasts a second are the partitions paused in librdkafka and polling goes on, so that the member stays in its
 * group (pause.h).
 *
 * Writing. One idempotent producer, acks=all. publish() returns when every record has its delivery report. A fatal
 * error of the producer, or a deadline, retires it: its unacknowledged records are purged and sent again by a new one,
 * in order. So a record may be there twice, but for the first time always in its key's order (producer.h). What is to
 * be there as a whole or not at all goes through transactions of a producer of its own (writer.h).
 *
 * Threads: as bus/bus.h says. Each client has librdkafka's own threads; each producer has one of ours that serves its
 * reports. All clients are made after fork(): their threads would not survive it.
 *
 * Files, lower ones first; each calls only those above it:
 *
 *   start record error fetch stream durability decisions, conversions and tables: no client is made
 *   options client metadata offsets            clients, and what the brokers are asked
 *   positions instance health joining pause    parts of a consumer; consumer.h puts them together
 *   commit resume assignment                   what a member does with its partitions
 *   producer member poll                       publishing; joining and leaving; reading
 *   writer                                     publishing as a whole
 *   scan topics lag standing kafka             the other calls of the contract, and the table of them all
 */
#ifndef SLUICE_BUS_KAFKA_KAFKA_H
#define SLUICE_BUS_KAFKA_KAFKA_H

#include "bus/open.h"

#include <pthread.h>
#include <stdatomic.h>

struct kafka_producer; /* producer.c */

/* A consumer's number on this machine, as the process before had it. */
struct kafka_slot {
    struct kafka_slot *next;
    int slot;
    char group[];
};

struct kafka_bus {
    struct bus bus; /* first */
    struct bus_options options;
    char host[64];                   /* of this machine, as in instance ids */
    pthread_mutex_t lock;            /* for what follows, but the atomics */
    struct bus_consumer *consumers;  /* of this process, linked by `next` */
    struct bus_consumer *prepared;   /* that have not subscribed yet; likewise */
    struct kafka_producer *producer; /* the one in use, or NULL */
    size_t producer_count;           /* with those that are being retired */
    pthread_cond_t producer_ended;   /* producer_count has become smaller */
    atomic_bool publishes_aborted;
    atomic_bool succeeded;    /* consumers that end do not leave their groups */
    struct kafka_slot *slots; /* of this process's consumers, or of the process before; linked by `next` */
    atomic_uint last_epoch;   /* each assignment of a partition has its own */
};

#endif
