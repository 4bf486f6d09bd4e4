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

/* What an answer of the brokers about a group's offset is worth. */
enum kafka_answer {
    KAFKA_ANSWER_TAKEN = 1, /* as it is */
    KAFKA_ANSWER_DOUBTED,   /* there is no offset, and there was one: ask again before anything is done about it */
    KAFKA_ANSWER_CONFIRMED, /* there is none, and none was there a second ago */
};

enum { KAFKA_DOUBT_MS = 1000 };

/* `committed`: the answer; -1: no offset. had_offset: an earlier one had it. *doubted_ms: when an answer was doubted
 * first; 0: none is. now_ms: of the same clock. */
enum kafka_answer kafka_start_weigh(int64_t committed, bool had_offset, int64_t now_ms, int64_t *doubted_ms);
/* *ret_offset: where to read from; of DELETED: where reading would go on. */
enum kafka_start kafka_start_decide(const struct kafka_offsets *offsets, int64_t *ret_offset);

#endif
