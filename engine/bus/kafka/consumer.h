/*
 * consumer.h - a member of a consumer group: its parts, each with a header of its own. member.h makes and ends it.
 *
 * Threads: those of bus/bus.h. Callbacks of its client run inside the calls that poll it, on the same thread. Shared
 * with other threads are `streams` (its lock: kafka_describe), `pause` (its lock: kafka_wake), and with the bus's lock
 * `next` and `client` (kafka_lag).
 */
#ifndef SLUICE_BUS_KAFKA_CONSUMER_H
#define SLUICE_BUS_KAFKA_CONSUMER_H

#include "bus/kafka/assignment.h"
#include "bus/kafka/client.h"
#include "bus/kafka/commit.h"
#include "bus/kafka/fetch.h"
#include "bus/kafka/health.h"
#include "bus/kafka/instance.h"
#include "bus/kafka/joining.h"
#include "bus/kafka/kafka.h"
#include "bus/kafka/missing.h"
#include "bus/kafka/open.h"
#include "bus/kafka/pause.h"
#include "bus/kafka/stream.h"

/* Where a partition ends now, past the last record that was delivered: what lies between is none. */
struct kafka_end {
    bool pending; /* the engine is to be told */
    uint32_t stream, epoch;
    struct position position;
};

struct bus_consumer {
    struct kafka_bus *bus;
    struct bus_consumer *next; /* of the bus */
    char *group;
    rd_kafka_topic_partition_list_t *subscription; /* exact names of topics */
    struct connection *connection;                 /* for positions in the store; NULL: none are kept */

    struct kafka_client *client;
    rd_kafka_t *rk;          /* client's */
    rd_kafka_queue_t *queue; /* what poll() waits on */
    int64_t rejoined_ms;     /* when a new client took the place of one that was fenced; 0: never */

    struct kafka_instance instance;
    struct kafka_health health;
    struct kafka_joining joining;
    struct kafka_streams streams;
    struct kafka_assignment assignment;
    struct kafka_commits commits;
    struct kafka_pause pause;
    struct kafka_fetch fetch;
    struct kafka_missing missing;
    struct kafka_open open;
    struct kafka_end end;
    bool unknown_group_reported; /* the operator was told that the store does not know the group */

    uint32_t poll_records; /* the most of a poll, and about how many bytes */
    size_t poll_bytes;
    rd_kafka_message_t **messages; /* poll_records of them, of the last poll; and its records */
    struct bus_record *records;
};

#endif
