/*
 * dead_letter.h - the dead letters of a pipeline as an operator sees them: a page of them, or one with its record.
 *
 * They are the rows of sluice.dead_letter of the pipeline's group and of its taps' groups. Everything that is read
 * lives in the arena given with it. replay.h and edit.h move them.
 */
#ifndef SLUICE_OPERATE_DEAD_LETTER_H
#define SLUICE_OPERATE_DEAD_LETTER_H

#include "operate/operation.h"

enum {
    DEAD_LETTER_ROUNDS_MAX = 3, /* replayed so often, it is replayed again only with force */
    DEAD_LETTER_PAGE_MAX = 1000,
};

struct dead_letter {
    int64_t id;
    enum dead_letter_state state;
    bool noted; /* chains have noted it */
    int32_t attempts, rounds;
    bool placed; /* partition and offset are known */
    int32_t partition;
    int64_t offset;
    int64_t before; /* the dead letter whose replay it was; 0: none */
    int64_t at_ms, ended_at_ms;
    /* event: its id; "" where none is known, or none is there. Valid UTF-8, which may hold control characters */
    const char *group, *topic, *handler, *reason, *event, *correlation, *message, *ended_by, *replayed_as;
    bool edited;
    struct record record, edited_record; /* only of one that was read whole; edited_record: only when it was edited */
};

struct dead_letter_page {
    struct dead_letter *letters; /* the newest first */
    size_t count;
    int64_t next; /* pass it as `below` for those that follow; 0: there are no more */
};

const char *dead_letter_state_word(enum dead_letter_state state);
/* Whether it is 1 to 19 digits and nothing else, and a number that a dead letter may have. */
bool dead_letter_id_of(struct span text, int64_t *ret);

/* One condition: "topic", "handler", "reason", "correlation", "since" (a duration or a time) or "state", as options and
 * query parameters call them. 0, or -EINVAL with what was expected. */
int dead_letter_filter_set(struct dead_letter_filter *filter, struct span name, struct span value, struct arena *arena,
                           struct error *error);
/* The filter in words, for the audit. */
const char *dead_letter_filter_words(const struct dead_letter_filter *filter, struct arena *arena);

/* What an operation's pipeline has; the caller's filter, whose group is filled in. Reads on its own, at most `limit`,
 * and no more than DEAD_LETTER_PAGE_MAX; below: 0, or `next` of the page before. 0, or negative with a sentence. */
int dead_letters_read(const struct operation *operation, const struct dead_letter_filter *filter, int64_t below,
                      int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error);
/* One, with its record. -ENOENT when the pipeline has none of that number. */
int dead_letter_read(const struct operation *operation, int64_t id, struct arena *arena, struct dead_letter *ret,
                     struct error *error);
/* The filter with the pipeline's group; for replay.c. */
struct dead_letter_filter dead_letter_filter_of(const struct operation *operation,
                                                const struct dead_letter_filter *filter);

/* {"deadLetters":[…],"next":17} and one of them; the second with its record. Bytes that are no UTF-8 are base64, under
 * a name that says so. */
void dead_letters_json(const struct dead_letter_page *page, struct buffer *out);
void dead_letter_json(const struct dead_letter *letter, bool whole, struct buffer *out);

#endif
