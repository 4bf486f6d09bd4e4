/*
 * start.h - from where a partition is read: the decision, as a pure function of the offsets that are known.
 *
 * Two places keep how far a group has come: the offset in Kafka, and the row in the store, written before it and in
 * the same database as the effects. The lower of the two is right: what lies above it is read again and found done
 * where it was. Neither is believed when the partition itself contradicts it: it ends before the position (the topic
 * was recreated), or begins after it (records were deleted unread).
 */
#ifndef SLUICE_BUS_KAFKA_START_H
#define SLUICE_BUS_KAFKA_START_H

#include <stdbool.h>
#include <stdint.h>

struct kafka_offsets {    /* what is known of a partition; -1: nothing */
    int64_t committed;    /* the group's offset in Kafka */
    int64_t recorded;     /* the position in the store: everything below is done */
    int64_t skipped;      /* an operator gave up the records below; 0: none */
    int64_t low, high;    /* first record kept, and one past the last */
    bool topic_recreated; /* the positions are of a topic that was deleted */
};

enum kafka_start {
    KAFKA_START_NEW = 1,      /* the group never read it: from its first record */
    KAFKA_START_CONTINUE,     /* where the group stopped reading */
    KAFKA_START_STORE_ONLY,   /* Kafka has no offset any more; the store has it */
    KAFKA_START_STORE_BEHIND, /* Kafka's offset is ahead of the store: the records between are read again */
    /* the partition ends before the position, or Kafka deleted the offset with its topic: from its first record */
    KAFKA_START_RECREATED,
    KAFKA_START_DELETED, /* records were deleted before they were read: nothing is read until an operator decides */
};

/* *ret_offset: where to read from; of DELETED: where reading would go on. */
enum kafka_start kafka_start_decide(const struct kafka_offsets *offsets, int64_t *ret_offset);

#endif
