/*
 * work.h - an item for the time of one batch: its parsed event, and what becomes of it.
 *
 * Works live in the batch's arena. Giving a verdict is assigning work->verdict; the functions below do it where a
 * sentence or a reason goes with it.
 */
#ifndef SLUICE_BATCH_WORK_H
#define SLUICE_BATCH_WORK_H

#include "batch/item.h"
#include "flow/verdict.h"

struct batch;
struct limit_bucket;

/* Fields laid over the data of what is emitted. */
struct overlays {
    struct overlay *list;
    size_t count, size;
};

struct addition { /* an output beyond the event's own, made by add() */
    size_t outcome;
    struct overlays overlays;
};

/* What its event is to the half-open breaker of its dependency. */
enum work_try { TRY_NONE = 0, TRY_WANTED, TRY_PASSED, TRY_FAILED };

struct work_trace;

struct request_refusal { /* what answers it */
    int status;          /* 400 to 499 */
    const char *word;    /* the answer's "error" */
};

struct work {
    struct item *item;
    struct event event;
    enum verdict verdict;
    bool condemned; /* in this batch */
    bool claimed;
    const struct suspect_story *suspect; /* what the guard knows of it; NULL: it is not suspected */
    bool again;                          /* it was a dead letter, which came again and is handled again */
    size_t claim;                        /* index in batch->claims, when claimed */
    size_t outcome;
    enum dead_reason reason;
    const char *why;
    /* monotonic for RETRY, DELAY, HOLD_* and a request whose answer is pending, wall for PARK and PARK_RETRY */
    int64_t due_ms;
    uint32_t
        pause; /* DELAY and HOLD_DELAY: it waits until this is over (batch/pause.h), not until due_ms; 0: it does not */
    const struct event_id *needs; /* DELAY and HOLD_DELAY: it waits for this (batch/after.h) until due_ms; NULL: not */
    enum work_try try;
    const struct dependency *tried; /* with `try`; outlives the item */
    struct limit_bucket *bucket;    /* of its topic's limit, see limit.h; and the slot that it takes; 0: none */
    int64_t slot_us;
    bool has_place; /* likewise, until the end of the transaction */
    int64_t retry_count, retries_left;
    struct work_trace *trace; /* see traced.h; NULL: its trace is not recorded */
    struct overlays overlays;
    struct addition *additions;
    size_t addition_count, addition_size;
    /* requests */
    int status; /* 0: not answered yet */
    struct span reply;
    bool reply_pending;
    const struct request_refusal *refusal; /* of a dead one: its answer, with `why`; NULL: the one of its reason */
};

static inline const struct verdict_row *work_row(const struct work *work)
{
    return &verdict_rows[work->verdict];
}

/* What the master knows its call by: an event with its binding; a schedule, or the content of a request, for those come
 * again under another id. */
struct event_id work_suspect_id(const struct work *work);
static inline bool work_comes_again(const struct work *work)
{
    return work->item->source == ITEM_TICK || work->item->source == ITEM_REQUEST;
}
/* Whether chains noted the event when it became a dead letter, which is handled again now. */
bool work_noted_before(const struct work *work);
/* VERDICT_DEAD with its reason and a sentence for people. */
void work_dead(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The event is at fault and its transaction must keep nothing of it: the batch is rolled back and run again, and then
 * the item is a dead letter. Condemned twice, its dead letter is a minimal one. */
void work_condemn(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The try of this event alone failed, with its transaction: the next batch counts it, without calling the handler. A
 * request or tick, which is not tried again, is condemned. */
void work_fail(struct batch *batch, struct work *work, enum dead_reason reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A try of this event has failed: due again after its policy's delay, or a dead letter when that is exhausted. */
void work_retry(struct batch *batch, struct work *work, enum dead_reason exhausted, const char *why);
/* Where on the bus the event is, for people; false: that is not known. */
bool work_place(const struct batch *batch, const struct work *work, char *buf, size_t size, int32_t *ret_partition,
                int64_t *ret_offset);
/* In place: valid UTF-8 without bytes below 0x20, as headers, rows and answers need it. Returns `text`. */
char *text_clean(char *text);
/* Sets a field, or replaces the one of that name. `json` is a valid JSON value; both live as long as the batch. */
void overlay_set(struct arena *arena, struct overlays *overlays, struct span name, struct span json);

#endif
