/*
 * commit.h - committing offsets: the store first (positions.h), then Kafka.
 *
 * librdkafka commits nothing on its own account. kafka_commit() stores offsets in the client for partitions that are
 * assigned, and commits what is stored with one request in flight: so a stale owner never overwrites the offset of a
 * new one. Offsets that come while a request is in flight go with the next.
 */
#ifndef SLUICE_BUS_KAFKA_COMMIT_H
#define SLUICE_BUS_KAFKA_COMMIT_H

#include "bus/bus.h"

#include <librdkafka/rdkafka.h>

struct kafka_commits {
    bool in_flight;
    bool wanted;                   /* offsets are stored in the client and not committed; also while one is in flight */
    int64_t next_ms;               /* no earlier */
    rd_kafka_resp_err_t overwrite; /* the answer to kafka_commit_overwrite() */
};

/* Of the contract: bus/bus.h. */
int kafka_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                 const struct position *positions, struct error *error);

/* The commit callback of a consumer's client; opaque is the consumer. */
void kafka_commit_on_answer(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                            void *opaque);
/* Sends a request if one is wanted and none is in flight. Does not wait. */
void kafka_commit_stored(struct bus_consumer *consumer);
/* The same, and waits for the answer, three seconds at most: before partitions or the client go. */
void kafka_commit_wait(struct bus_consumer *consumer);
/* Commits `next` of the streams that are READING and have offset_commit_pending: where only the store knew a position,
 * and where nobody did. Else what comes and is deleted before the first commit would look as if the group had never
 * been there to read it. */
void kafka_commit_pending(struct bus_consumer *consumer);
/* Commits list's offsets also where they are lower than before, and waits: of a topic that was recreated. librdkafka
 * remembers what this process committed of the old one, and would not commit what is stored below that. */
int kafka_commit_overwrite(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                           struct error *error);

#endif
