/*
 * letter_filter.h - which dead letters an operator means: by id, or by conditions.
 *
 * The id of one that is a row of the store is a number. Without a store it is the place of its record on its dead
 * letter topic, "TOPIC:PARTITION:OFFSET".
 */
#ifndef SLUICE_OPERATE_LETTER_FILTER_H
#define SLUICE_OPERATE_LETTER_FILTER_H

#include "base/arena.h"
#include "store/ledger.h"

/* An empty span is any. */
struct letter_filter {
    struct span topic, handler, reason, correlation; /* a topic may end in '*' */
    int64_t since_ms;                                /* since 1970 UTC; 0: any */
    const struct span *ids;                          /* then nothing else is looked at but the state */
    size_t id_count;                                 /* 0: any */
    enum dead_letter_state state, state_to;          /* from one to the other */
};

struct letter_place { /* of a record on a dead letter topic */
    struct span topic;
    int32_t partition;
    int64_t offset;
};

const char *dead_letter_state_word(enum dead_letter_state state);
/* Whether it is 1 to 19 digits and nothing else, and a number of 1 or more. */
bool letter_number_of(struct span text, int64_t *ret);
/* Whether it is "TOPIC:PARTITION:OFFSET"; the topic is a part of the text. */
bool letter_place_of(struct span id, struct letter_place *ret);
bool letter_id_valid(struct span text); /* one of the two */

/* One condition: "topic", "handler", "reason", "correlation", "since" (a duration or a time) or "state", as options and
 * query parameters call them. 0, or -EINVAL with what was expected. */
int letter_filter_set(struct letter_filter *filter, struct span name, struct span value, struct arena *arena,
                      struct error *error);
/* The filter in words, for the audit. */
const char *letter_filter_words(const struct letter_filter *filter, struct arena *arena);

#endif
