/*
 * letter_topics.h - the dead letters of a pipeline without a store: the records of its dead letter topics, and one
 * topic of the engine's own, GROUP.dead-letters, that says what became of each.
 *
 * A record of that topic is a note: its key is the id of a dead letter (TOPIC:PARTITION:OFFSET), its headers say the
 * state, who wrote it, when and why, its value is the event as it was edited, or empty. The last note of an id counts;
 * what has none is open. Whoever moves dead letters opens the one writer of that topic (bus_writer), reads the notes,
 * and publishes what is replayed and its notes as a whole: a process that ends in between has done both or neither, and
 * one that another has followed does nothing any more. There is nothing to resume: what is open is what is left.
 *
 * Everything is read from the topics each time: a call costs what they hold. No group is joined for it.
 */
#ifndef SLUICE_OPERATE_LETTER_TOPICS_H
#define SLUICE_OPERATE_LETTER_TOPICS_H

#include "operate/dead_letter.h"

struct map;

struct letter_topics {
    const struct operation *operation;
    struct arena *arena; /* of the notes */
    struct map *notes;
    struct bus_writer *writer; /* NULL: this one only reads */
};

/* Reads the notes; `writes`: as the one who writes them from now on. The operation needs its bus. 0, or negative with a
 * sentence: -EAGAIN: the bus cannot be reached, or be read whole. */
int letter_topics_open(const struct operation *operation, bool writes, struct letter_topics *ret, struct error *error);
void letter_topics_close(struct letter_topics *topics); /* zeroed or half-open is fine */

/* Each that the filter chooses, in the order of its partition, oldest first, whole; until each() returns false. A
 * letter lives during the call. -EINVAL: an id is no place. */
int letter_topics_each(const struct letter_topics *topics, const struct letter_filter *filter,
                       bool (*each)(const struct dead_letter *letter, void *context), void *context,
                       struct error *error);

/* The note that this letter has another state: replayed as an event of that id, or (open) edited. In the arena. */
struct record letter_topics_note(const struct letter_topics *topics, const struct dead_letter *letter,
                                 enum dead_letter_state state, struct span replayed_as, struct arena *arena);
/* Events and notes as a whole. As bus_writer_publish(). */
int letter_topics_publish(const struct letter_topics *topics, const struct record *records, size_t count,
                          size_t *ret_failed, struct error *error);

struct record letter_record_copy(const struct record *record, struct arena *arena);

#endif
