/*
 * stream.h - a topic-partition as one consumer sees it, and the table of all that were ever assigned to it.
 *
 *                assigned by the group
 *   UNASSIGNED ------------------------> HALTED <---------+
 *     ^  ^  ^                             |  |            |
 *     |  |  +-- revoked or lost ----------+  | its start  | offset out of range: the engine is told
 *     |  |                                   | is known   | that the stream is lost
 *     |  +----- lost ------------------- READING ---------+
 *     |                                      | revoked: the engine is told and releases it
 *     +-------- kafka_revoked() -------- REVOKED
 *
 * The engine knows of a stream while it is READING or REVOKED. "Lost" is also what a new client after a fence brings.
 * Flags, and in which states they may be set:
 *
 *   no_leader              HALTED
 *   halt_reported          HALTED; kept through a revocation, so that an operator hears of it once; until READING
 *   offset_commit_pending  from the decision that ends HALTED until librdkafka has the assignment
 *   offset_out_of_range    READING, until the engine is told; in other states it is ignored and cleared
 *   topic_recreated        READING (with offset_out_of_range), then HALTED; until READING again
 *   deleted_from, _to      HALTED
 *   behind                 set with each decision, used with the next assignment to librdkafka
 *   at_end, open_…         READING; in other states they are ignored, and cleared where it begins
 *   topic_deleted          all; until READING again
 *   had_committed_offset   all
 *   no_offset_ms           HALTED; until READING, or assigned again
 */
#ifndef SLUICE_BUS_KAFKA_STREAM_H
#define SLUICE_BUS_KAFKA_STREAM_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum kafka_stream_state {
    KAFKA_STREAM_UNASSIGNED = 0,
    /* assigned, not read: where to start is not known yet, it has no leader, or its next record was deleted */
    KAFKA_STREAM_HALTED,
    KAFKA_STREAM_READING, /* assigned and fetched */
    KAFKA_STREAM_REVOKED, /* the engine was told to release it */
};

struct kafka_stream {
    char *topic;
    int32_t partition;
    enum kafka_stream_state state;
    bool no_leader;             /* that is why it is halted */
    bool halt_reported;         /* the operator was told why it is halted */
    bool offset_out_of_range;   /* the broker has no such offset, or the topic was recreated */
    bool offset_commit_pending; /* Kafka has no offset of the group: commit `next` as soon as librdkafka reads it */
    bool behind;                /* its start was decided, and records were there to be read */
    bool at_end;                /* read up to the last record that readers of committed ones see */
    bool topic_deleted;         /* what was read of it is not committed any more */
    bool topic_recreated;       /* as another partition of it shows: read it from its first record as well */
    bool had_committed_offset;  /* as long as the group has members, Kafka deletes that only with the topic */
    int64_t no_offset_ms;       /* since then Kafka says that it has none, although it had one; 0: it does not */
    uint32_t epoch;
    int64_t next;                     /* offset to read next: the log is consumed below it */
    int64_t deleted_from, deleted_to; /* HALTED: records that were deleted unread; 0, 0: none */
    int64_t open_at, open_since_ms;   /* READING: waits at this offset for a transaction since then; 0: does not */
};

struct kafka_streams {
    struct kafka_stream *list; /* an index is for ever: bus/bus.h's stream number */
    size_t count, size;
    pthread_mutex_t lock;         /* while `list` moves, and for lanes, which describe streams */
    bool any_offset_out_of_range; /* of a stream */
    uint32_t last;                /* of the last message: they come in runs */
    const rd_kafka_topic_t *last_topic;
};

void kafka_streams_init(struct kafka_streams *streams);
void kafka_streams_destroy(struct kafka_streams *streams);
struct kafka_stream *kafka_stream_find(const struct kafka_streams *streams, const char *topic, int32_t partition);
/* Finds it, or makes it; NULL: out of memory. Streams move: pointers to others are stale. */
struct kafka_stream *kafka_stream_make(struct kafka_streams *streams, const char *topic, int32_t partition);
/* The stream of the message's partition; NULL: it was never assigned. */
struct kafka_stream *kafka_stream_of_message(struct kafka_streams *streams, const rd_kafka_message_t *message);
static inline uint32_t kafka_stream_number(const struct kafka_streams *streams, const struct kafka_stream *stream)
{
    return (uint32_t)(stream - streams->list);
}

#endif
