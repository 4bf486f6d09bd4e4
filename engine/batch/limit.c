/*
 * limit.c - see limit.h.
 */
#include "batch/limit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "store/ledger_limit.h"

#include <stdlib.h>

enum {
    LIMIT_AHEAD_MS = 200,    /* slots are given out so long ahead */
    LIMIT_EARLY_US = 20000,  /* a slot this close is now: batches are not cut smaller than that */
    LIMIT_LATE_US = 1000000, /* one that was due so long ago is over */
    LIMIT_LOOK_MS = 50,      /* keys that wait are looked after so often, and up to twice as much later by chance, */
    LIMIT_LOOK_SHARE = 20,   /* for one part of so many of the time at most */
    LIMIT_AGAIN_MS = 200,    /* when the store did not answer */
    LIMIT_ASK_US = 1000000,  /* when there is none for longer, it is asked again: an operator may have changed that */
    LIMIT_PARKED_MS = 500,   /* delayed events come again after so long, and up to twice as much later */
    LIMIT_ASK_MAX = 256,     /* buckets in one statement */
    LIMIT_KEEP_US = 60000000,
    LIMIT_BUCKETS_MAX = 100000,
    LIMIT_VALUE_MAX = 64 * 1024,
    LIMIT_RUNS_MAX = 8,
};

struct run_of_slots {
    int64_t next_us; /* monotonic; then one each step */
    int32_t count;
};

struct limit_bucket {
    uint64_t id;
    const struct limit *limit;
    uint32_t number;                          /* of what its keys wait for, as flow/lane keeps it */
    int32_t stock;                            /* slots that the lane has: */
    struct run_of_slots runs[LIMIT_RUNS_MAX]; /* the oldest first */
    size_t run_count;
    int64_t ask_us;        /* before that there are none */
    int64_t used_us;       /* the last time that an event of it came */
    size_t waiting, left;  /* keys, as last seen; and while they are looked through */
    size_t shown;          /* of them, in the gauge */
    int32_t want, due;     /* of one batch; keys that are made due */
    struct series *series; /* METRIC_LIMIT_WAITING */
};

struct limits {
    struct intmap *by_id;
    struct limit_bucket **list; /* by number, from 1 on; NULL: it is free */
    uint32_t count, size;
    int64_t due_ms;
    size_t turn; /* bucket that is asked for next */
};

static int64_t now_us(void)
{
    return clock_monotonic_ns() / 1000;
}

/* ---------------------------------------------------------------------------------------------------------- buckets */

static struct limits *limits_of(struct batch_env *env)
{
    if (env->limits == NULL) {
        env->limits = calloc(1, sizeof *env->limits);
        if (env->limits != NULL && (env->limits->by_id = intmap_create(16)) == NULL) {
            free(env->limits);
            env->limits = NULL;
        }
        if (env->limits != NULL)
            env->limits->due_ms = INT64_MAX;
    }
    return env->limits;
}

/* Those that nothing waits for and nobody asked for lately make room. */
static void forget_idle(struct limits *limits)
{
    int64_t over_us = now_us() - LIMIT_KEEP_US;
    for (uint32_t i = 0; i < limits->count; i++) {
        struct limit_bucket *bucket = limits->list[i];
        if (bucket == NULL || bucket->waiting > 0 || bucket->used_us > over_us)
            continue;
        (void)intmap_remove(limits->by_id, bucket->id);
        free(bucket);
        limits->list[i] = NULL;
    }
}

/* A free place in the list, or its end; UINT32_MAX: there is none. */
static uint32_t place_for_one(struct limits *limits)
{
    if (limits->count < limits->size)
        return limits->count++;
    forget_idle(limits);
    for (uint32_t i = 0; i < limits->count; i++)
        if (limits->list[i] == NULL)
            return i;
    uint32_t size = limits->size == 0 ? 64 : limits->size * 2;
    struct limit_bucket **grown = size > LIMIT_BUCKETS_MAX ? NULL : realloc(limits->list, size * sizeof(void *));
    if (grown == NULL)
        return UINT32_MAX;
    limits->list = grown;
    limits->size = size;
    return limits->count++;
}

/* The bucket of this limit and value; NULL: there is no room for it now. */
static struct limit_bucket *bucket_of(struct batch_env *env, const struct limit *limit, struct span value)
{
    struct limits *limits = limits_of(env);
    char *name = arena_format(env->arena, "%s %.*s", limit->topic, (int)value.length,
                              value.length == 0 ? "" : value.at); /* a topic's name has no space */
    struct event_id hash = event_id_of(span_of(name));
    uint64_t id;
    memcpy(&id, hash.bytes, sizeof id);
    struct limit_bucket *bucket = limits == NULL ? NULL : intmap_get(limits->by_id, id);
    if (bucket == NULL && limits != NULL) {
        uint32_t place = place_for_one(limits);
        bucket = place == UINT32_MAX ? NULL : calloc(1, sizeof *bucket);
        if (place != UINT32_MAX)
            limits->list[place] = bucket;
        if (bucket == NULL)
            return NULL;
        const struct topic *topic = map_get(env->topic_names, span_of(limit->topic));
        *bucket = (struct limit_bucket){.id = id,
                                        .limit = limit,
                                        .number = (uint32_t)env->config->topic_count + 1 + place,
                                        .series = topic == NULL ? NULL : env->topics[topic->index].limited};
        (void)intmap_set(limits->by_id, id, bucket);
    }
    if (bucket != NULL)
        bucket->used_us = now_us();
    return bucket;
}

static struct limit_bucket *bucket_of_work(struct batch *batch, const struct work *work)
{
    const struct limit *limit = work->item->binding->limit;
    struct buffer value;
    struct error error = {0};
    if (limit->per == NULL)
        return bucket_of(batch->env, limit, (struct span){NULL, 0});
    buffer_init(&value, LIMIT_VALUE_MAX);
    bool good = key_template_apply(limit->per, &work->event.data, NULL, 0, batch->arena, &value, &error) == 0;
    struct span kept = arena_span(batch->arena, buffer_view(&value));
    buffer_free(&value);
    return bucket_of(batch->env, limit, good ? kept : (struct span){NULL, 0}); /* without the field: one for those */
}

/* ------------------------------------------------------------------------------------------------------------ slots */

/* When the slot is that an event takes now. */
static int64_t take_slot(struct limit_bucket *bucket)
{
    struct run_of_slots *run = &bucket->runs[0];
    int64_t slot_us = run->next_us;
    run->next_us += bucket->limit->step_ns / 1000;
    bucket->stock--;
    if (--run->count == 0)
        memmove(run, run + 1, --bucket->run_count * sizeof *run);
    return slot_us;
}

static void drop_late(struct limit_bucket *bucket, int64_t at_us)
{
    while (bucket->stock > 0 && bucket->runs[0].next_us < at_us - LIMIT_LATE_US)
        (void)take_slot(bucket);
}

/* An event that has taken it was handled before: another one may have it. */
static void give_back(struct limit_bucket *bucket, int64_t slot_us)
{
    if (bucket->run_count == LIMIT_RUNS_MAX)
        return;
    memmove(&bucket->runs[1], &bucket->runs[0], bucket->run_count++ * sizeof bucket->runs[0]);
    bucket->runs[0] = (struct run_of_slots){slot_us, 1};
    bucket->stock++;
}

static void add_slots(struct limit_bucket *bucket, const struct slots *slots, int64_t at_us)
{
    int64_t step_us = bucket->limit->step_ns / 1000, first_us = at_us + slots->in_us;
    if (slots->given > 0) {
        bucket->runs[bucket->run_count++] = (struct run_of_slots){first_us, slots->given};
        bucket->stock += slots->given;
    }
    int64_t none_us = slots->in_us + slots->given * step_us - (int64_t)LIMIT_AHEAD_MS * 1000;
    bucket->ask_us = slots->given == bucket->want ? 0 : at_us + (none_us < LIMIT_ASK_US ? none_us : LIMIT_ASK_US);
}

/* Whether it is of use to ask for slots now. */
static bool may_ask(const struct limit_bucket *bucket, int64_t at_us)
{
    return bucket->ask_us <= at_us && bucket->run_count < LIMIT_RUNS_MAX;
}

/* `count` buckets want some: one statement. */
static void ask(struct batch_env *env, struct limit_bucket **buckets, size_t count)
{
    struct slots *slots = arena_array(env->arena, struct slots, count + 1);
    struct error error = {0};
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        slots[i] = (struct slots){.asker = i,
                                  .bucket = (int64_t)buckets[i]->id,
                                  .step_ns = buckets[i]->limit->step_ns,
                                  .want = buckets[i]->want};
    enum store_result result = ledger_limit_take(env->connection, env->numbers->groups[env->group->index], slots, count,
                                                 LIMIT_AHEAD_MS, &error);
    int64_t at_us = now_us();
    if (result != STORE_OK)
        log_rarely(5000, connection_log_level(env->connection), "lane", "limits cannot be asked for now: %s",
                   error.text);
    for (size_t i = 0; i < count; i++) {
        struct limit_bucket *bucket = buckets[slots[i].asker];
        if (result == STORE_OK)
            add_slots(bucket, &slots[i], at_us);
        else
            bucket->ask_us = at_us + (int64_t)LIMIT_AGAIN_MS * 1000;
        bucket->want = 0;
    }
}

/* ------------------------------------------------------------------------------------------------------------ batch */

/* Of its key an earlier event of this batch does not end now. A set of hashes, twice as large as it needs to be. */
struct blocked {
    uint64_t *hashes;
    size_t mask;
};

static bool blocked_add(struct blocked *blocked, uint64_t hash, bool add)
{
    hash = hash == 0 ? 1 : hash;
    for (size_t at = hash & blocked->mask;; at = (at + 1) & blocked->mask) {
        if (blocked->hashes[at] == hash)
            return true;
        if (blocked->hashes[at] != 0)
            continue;
        if (add)
            blocked->hashes[at] = hash;
        return false;
    }
}

static bool is_limited(const struct work *work)
{
    const struct item *item = work->item;
    return work->verdict == VERDICT_NONE && item->binding != NULL && item->binding->limit != NULL &&
           item->failed == 0 && item->uncertain_row == 0 && !item->entry.append;
}

/* What comes new does not overtake what waits. */
static bool is_new(const struct item *item)
{
    return item->source == ITEM_BUS && !item->queued;
}

static void wait_for_slot(struct batch *batch, struct work *work, struct limit_bucket *bucket, int64_t slot_us)
{
    struct item *item = work->item;
    const struct limit *limit = bucket == NULL ? item->binding->limit : bucket->limit;
    double chance = random_unit(&batch->env->random);
    work->verdict = VERDICT_DELAY;
    work->why = arena_format(batch->arena, "the limit of topic %s, %s%s%s", limit->topic, limit->rate_text,
                             limit->per == NULL ? "" : " for each ", limit->per == NULL ? "" : limit->per_text);
    if (slot_us != 0) {
        item->has_slot = true;
        work->due_ms = slot_us / 1000;
    } else if (item->source == ITEM_PARKED || bucket == NULL) {
        work->due_ms = batch->now_ms + LIMIT_PARKED_MS + (int64_t)(2 * LIMIT_PARKED_MS * chance);
    } else {
        item->queued = true;
        work->due_ms = INT64_MAX;
        work->pause = bucket->number;
        bucket->waiting++;
        struct limits *limits = batch->env->limits;
        int64_t look_ms = batch->now_ms + LIMIT_LOOK_MS;
        limits->due_ms = look_ms < limits->due_ms ? look_ms : limits->due_ms;
    }
}

static void judge(struct batch *batch, struct work *work, struct limit_bucket *bucket, int64_t at_us)
{
    struct item *item = work->item;
    work->bucket = bucket;
    if (item->has_slot) {
        item->has_slot = false;
        work->slot_us = at_us;
    } else if (bucket == NULL || bucket->stock == 0 || (is_new(item) && bucket->waiting > 0)) {
        wait_for_slot(batch, work, bucket, 0);
    } else {
        work->slot_us = take_slot(bucket);
        if (work->slot_us > at_us + LIMIT_EARLY_US)
            wait_for_slot(batch, work, bucket, work->slot_us);
    }
}

void batch_limit(struct batch *batch)
{
    struct batch_env *env = batch->env;
    size_t size = 1, asked = 0;
    if (env->config->limit_count == 0 || env->group == NULL || env->group->tap != NULL || env->connection == NULL)
        return;
    struct limit_bucket **buckets = arena_array(batch->arena, struct limit_bucket *, batch->count),
                        **asking = arena_array(batch->arena, struct limit_bucket *, batch->count);
    int64_t at_us = now_us();
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        struct limit_bucket *bucket = buckets[i] = is_limited(work) ? bucket_of_work(batch, work) : NULL;
        if (bucket == NULL || work->item->has_slot || !may_ask(bucket, at_us) ||
            (is_new(work->item) && bucket->waiting > 0))
            continue;
        drop_late(bucket, at_us);
        if (bucket->want++ == 0)
            asking[asked++] = bucket;
    }
    size_t wanting = 0;
    for (size_t i = 0; i < asked; i++) {
        asking[i]->want = asking[i]->want > asking[i]->stock ? asking[i]->want - asking[i]->stock : 0;
        if (asking[i]->want > 0)
            asking[wanting++] = asking[i];
    }
    ask(env, asking, wanting);
    while (size < 2 * batch->count)
        size *= 2;
    struct blocked blocked = {arena_array(batch->arena, uint64_t, size), size - 1};
    at_us = now_us();
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        uint64_t key_hash = work->item->entry.key_hash;
        if (is_limited(work) && blocked_add(&blocked, key_hash, false))
            work->verdict = VERDICT_REQUEUE;
        else if (is_limited(work))
            judge(batch, work, buckets[i], at_us);
        if (work_row(work)->holds_key)
            (void)blocked_add(&blocked, key_hash, true);
    }
}

void batch_limit_unused(struct batch *batch)
{
    for (size_t i = 0; batch->env->limits != NULL && i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        if (work->bucket != NULL && work->slot_us != 0 && work->verdict == VERDICT_DUPLICATE)
            give_back(work->bucket, work->slot_us);
    }
}

/* ----------------------------------------------------------------------------------------------------- between them */

int64_t limit_due_ms(const struct batch_env *env)
{
    return env->limits == NULL ? INT64_MAX : env->limits->due_ms;
}

static struct limit_bucket *bucket_numbered(const struct batch_env *env, uint32_t pause)
{
    uint32_t first = (uint32_t)env->config->topic_count + 1;
    return pause < first || pause - first >= env->limits->count ? NULL : env->limits->list[pause - first];
}

static bool gets_slot(uint32_t pause, const void *context)
{
    struct limit_bucket *bucket = bucket_numbered(context, pause);
    if (bucket == NULL)
        return false;
    if (bucket->due > 0) {
        bucket->due--;
        return true;
    }
    bucket->left++;
    return false;
}

/* As many as there are, a piece at a time, in turn. */
static void ask_for_waiting(struct batch_env *env)
{
    struct limits *limits = env->limits;
    struct limit_bucket *asking[LIMIT_ASK_MAX];
    size_t count = 0;
    int64_t at_us = now_us();
    for (uint32_t i = 0; i < limits->count && count < LIMIT_ASK_MAX; i++) {
        struct limit_bucket *bucket = limits->list[limits->turn++ % limits->count];
        if (bucket == NULL || bucket->waiting == 0 || !may_ask(bucket, at_us))
            continue;
        drop_late(bucket, at_us);
        int64_t want = (int64_t)bucket->waiting - bucket->stock;
        bucket->want = want > INT32_MAX ? INT32_MAX : (int32_t)want;
        if (want > 0)
            asking[count++] = bucket;
    }
    ask(env, asking, count);
}

void limit_resume(struct batch_env *env)
{
    struct limits *limits = env->limits;
    int64_t began_ms = clock_monotonic_ms();
    bool any = false, some = false;
    ask_for_waiting(env);
    for (uint32_t i = 0; i < limits->count; i++) {
        struct limit_bucket *bucket = limits->list[i];
        if (bucket == NULL || bucket->waiting == 0)
            continue;
        bucket->due = bucket->stock;
        bucket->left = 0;
        some = some || bucket->due > 0;
    }
    if (some)
        lane_resume(env->lane, gets_slot, env);
    for (uint32_t i = 0; i < limits->count; i++) {
        struct limit_bucket *bucket = limits->list[i];
        if (bucket == NULL || bucket->waiting == 0)
            continue;
        size_t left = some ? bucket->left : bucket->waiting;
        if (bucket->series != NULL)
            series_add(bucket->series, (int64_t)left - (int64_t)bucket->shown);
        bucket->waiting = bucket->shown = left;
        any = any || left > 0;
    }
    int64_t now_ms = clock_monotonic_ms(), share_ms = LIMIT_LOOK_SHARE * (now_ms - began_ms);
    int64_t wait_ms = LIMIT_LOOK_MS + (int64_t)(2 * LIMIT_LOOK_MS * random_unit(&env->random));
    limits->due_ms = any ? now_ms + (share_ms > wait_ms ? share_ms : wait_ms) : INT64_MAX;
}

bool limit_of_found(struct batch_env *env, const struct topic *topic, uint64_t key_hash, uint32_t *ret_pause)
{
    const struct limit *limit = topic->binding == NULL ? NULL : topic->binding->limit;
    *ret_pause = 0;
    if (limit == NULL)
        return true;
    if (lane_waits_for_pause(env->lane, key_hash))
        return false;
    struct limit_bucket *bucket = limit->per != NULL ? NULL : bucket_of(env, limit, (struct span){NULL, 0});
    if (bucket != NULL) {
        *ret_pause = bucket->number;
        bucket->waiting++;
        env->limits->due_ms = clock_monotonic_ms();
    }
    return true;
}

void limits_free(struct batch_env *env)
{
    if (env->limits == NULL)
        return;
    for (uint32_t i = 0; i < env->limits->count; i++)
        free(env->limits->list[i]);
    free(env->limits->list);
    intmap_destroy(env->limits->by_id);
    free(env->limits);
}
