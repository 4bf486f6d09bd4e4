/*
 * bucket.h - the buckets of a lane: a limit, or one value of its `per:`, with the slots of its rate that the lane has,
 * and how many keys wait for one.
 *
 * Made when the first event of a bucket comes, forgotten when none has come for a moment. All on the lane's thread.
 */
#ifndef SLUICE_BATCH_BUCKET_H
#define SLUICE_BATCH_BUCKET_H

#include "batch/batch.h"

enum { BUCKET_RUNS_MAX = 8 };

struct slot_run {
    int64_t next_us; /* monotonic; then one each step */
    int32_t count;
};

struct limit_bucket {
    uint64_t id;
    const struct limit *limit;
    uint32_t number;                       /* of what its keys wait for, as flow/lane keeps it */
    int32_t stock;                         /* slots that the lane has: */
    struct slot_run runs[BUCKET_RUNS_MAX]; /* the oldest first */
    size_t run_count;
    bool asked;                  /* for slots, ever */
    int64_t ask_us;              /* before that there are none */
    int64_t used_us;             /* the last time that an event of it came */
    size_t waiting, left;        /* keys, as last seen; and while they are looked through */
    size_t shown;                /* of them, in the gauge */
    int32_t want;                /* slots, of one batch */
    int32_t places_want, places; /* of one batch: that its events need; that its transaction has */
    bool places_later;           /* a batch has so many at most: some of these come with the next one */
    int32_t due;                 /* keys that are made due */
    struct series *series;       /* METRIC_LIMIT_WAITING */
};

struct limits {
    struct intmap *by_id;
    struct limit_bucket **list;      /* by number; NULL: it is free */
    uint32_t count, size, next;      /* below `next` none is free */
    int64_t due_ms, places_since_ms; /* see limit_due_ms(); the last batch with places began then; 0: it had none */
    size_t turn;                     /* bucket that is asked for next */
};

/* Of this limit and value; NULL: there is no room for one more now. */
struct limit_bucket *bucket_of(struct batch_env *env, const struct limit *limit, struct span value);
struct limit_bucket *bucket_of_work(struct batch *batch, const struct work *work);
struct limit_bucket *bucket_numbered(const struct batch_env *env, uint32_t pause); /* NULL: it is of something else */

/* When the slot is that an event takes now; there is one. */
int64_t bucket_take_slot(struct limit_bucket *bucket);
/* Whoever took it does not need it: another event may have it. */
void bucket_give_back(struct limit_bucket *bucket, int64_t slot_us);
void bucket_drop_late(struct limit_bucket *bucket, int64_t at_us);
/* Whether it is of use to ask for slots now. */
bool bucket_may_ask(const struct limit_bucket *bucket, int64_t at_us);
/* Asks for bucket->want slots of each: one statement. */
void buckets_ask(struct batch_env *env, struct limit_bucket **buckets, size_t count);
/* The store has not answered for slots or places. */
void bucket_log_unasked(const struct batch_env *env, const struct error *error);

int64_t bucket_now_us(void);

#endif
