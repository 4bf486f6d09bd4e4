/*
 * dead_letter.h - the dead letters of a pipeline as an operator sees them: a page of them, or one with its record.
 *
 * They are those of the pipeline's group and of its taps' groups: rows of sluice.dead_letter, or, without a store, the
 * records of the dead letter topics with what is noted of them (letter_topics.h). Everything that is read lives in the
 * arena given with it. replay.h and edit.h move them.
 */
#ifndef SLUICE_OPERATE_DEAD_LETTER_H
#define SLUICE_OPERATE_DEAD_LETTER_H

#include "operate/letter_filter.h"
#include "operate/operation.h"

enum {
    DEAD_LETTER_ROUNDS_MAX = 3, /* replayed so often, it is replayed again only with force */
    DEAD_LETTER_PAGE_MAX = 1000,
};

struct dead_letter {
    const char *id;
    enum dead_letter_state state;
    bool noted; /* chains have noted it */
    int32_t attempts, rounds;
    bool placed; /* partition and offset are known */
    int32_t partition;
    int64_t offset;
    const char *before; /* id of the dead letter whose replay it was; "": none */
    int64_t at_ms, ended_at_ms;
    /* event: its id; "" where none is known, or none is there. Valid UTF-8, which may hold control characters */
    const char *group, *topic, *handler, *reason, *event, *correlation, *message, *ended_by, *replayed_as;
    bool edited;
    struct record record, edited_record; /* only of one that was read whole; edited_record: only when it was edited */
};

struct dead_letter_page {
    struct dead_letter *letters; /* the newest first */
    size_t count;
    const char *next; /* pass it as `below` for those that follow; NULL: there are no more */
};

/* What an operation's pipeline has. Reads on its own, at most `limit`, and no more than DEAD_LETTER_PAGE_MAX; below:
 * empty, or `next` of the page before. 0, or negative with a sentence. */
int dead_letters_read(const struct operation *operation, const struct letter_filter *filter, struct span below,
                      int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error);
/* One, with its record. -ENOENT when the pipeline has none of that id. */
int dead_letter_read(const struct operation *operation, struct span id, struct arena *arena, struct dead_letter *ret,
                     struct error *error);
/* The filter as the store takes it, in the arena; for replay.c. -EINVAL: an id is no number. */
int dead_letter_rows_filter(const struct operation *operation, const struct letter_filter *filter, struct arena *arena,
                            struct dead_letter_filter *ret, struct error *error);

/* {"deadLetters":[…],"next":17} and one of them; the second with its record. Bytes that are no UTF-8 are base64, under
 * a name that says so. */
void dead_letters_json(const struct dead_letter_page *page, struct buffer *out);
void dead_letter_json(const struct dead_letter *letter, bool whole, struct buffer *out);

#endif
