/*
 * bucket.c - see bucket.h.
 */
#include "batch/bucket.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/ledger_limit.h"

#include <stdlib.h>

enum {
    BUCKET_AHEAD_MS = 200,    /* slots are given out so long ahead */
    BUCKET_LATE_US = 1000000, /* one that was due so long ago is over */
    BUCKET_AGAIN_MS = 200,    /* when the store did not answer */
    BUCKET_ASK_US = 1000000,  /* when there is none for longer, it is asked again: an operator may have changed that */
    BUCKET_KEEP_US = 2 * BUCKET_LATE_US, /* then it has no slot that is of use */
    BUCKET_VALUE_MAX = 64 * 1024,
    BUCKETS_MAX = 100000,
};

int64_t bucket_now_us(void)
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

/* Those that nothing waits for and nobody asked for lately make room; their number. */
static uint32_t forget_idle(struct limits *limits)
{
    int64_t over_us = bucket_now_us() - BUCKET_KEEP_US;
    uint32_t forgotten = 0;
    for (uint32_t i = 0; i < limits->count; i++) {
        struct limit_bucket *bucket = limits->list[i];
        if (bucket == NULL || bucket->waiting > 0 || bucket->used_us > over_us)
            continue;
        (void)intmap_remove(limits->by_id, bucket->id);
        free(bucket);
        limits->list[i] = NULL;
        forgotten++;
    }
    limits->next = 0;
    return forgotten;
}

static bool grow(struct limits *limits)
{
    uint32_t size = limits->size == 0 ? 64 : limits->size * 2;
    struct limit_bucket **grown = size > BUCKETS_MAX ? NULL : realloc(limits->list, size * sizeof(void *));
    if (grown == NULL)
        return false;
    limits->list = grown;
    limits->size = size;
    return true;
}

/* A free place in the list, or its end; UINT32_MAX: there is none. All are looked through only when that pays. */
static uint32_t place_for_one(struct limits *limits)
{
    for (; limits->next < limits->count; limits->next++)
        if (limits->list[limits->next] == NULL)
            return limits->next;
    if (limits->count == limits->size && forget_idle(limits) <= limits->size / 4 && grow(limits))
        limits->next = limits->count;
    if (limits->count < limits->size && limits->next == limits->count)
        return limits->count++;
    for (; limits->next < limits->count; limits->next++)
        if (limits->list[limits->next] == NULL)
            return limits->next;
    return UINT32_MAX;
}

/* The bucket of this limit and value; NULL: there is no room for it now. */
struct limit_bucket *bucket_of(struct batch_env *env, const struct limit *limit, struct span value)
{
    struct limits *limits = limits_of(env);
    char *name = arena_format(env->arena, "%d %s %.*s", env->numbers->groups[env->group->index], limit->topic,
                              (int)value.length, value.length == 0 ? "" : value.at); /* a topic's name has no space */
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
        bucket->used_us = bucket_now_us();
    return bucket;
}

struct limit_bucket *bucket_of_work(struct batch *batch, const struct work *work)
{
    const struct limit *limit = work->item->binding->limit;
    struct buffer value;
    struct error error = {0};
    if (limit->per == NULL)
        return bucket_of(batch->env, limit, (struct span){NULL, 0});
    buffer_init(&value, BUCKET_VALUE_MAX);
    bool good = key_template_apply(limit->per, &work->event.data, NULL, 0, batch->arena, &value, &error) == 0;
    struct span kept = arena_span(batch->arena, buffer_view(&value));
    buffer_free(&value);
    return bucket_of(batch->env, limit, good ? kept : (struct span){NULL, 0}); /* without the field: one for those */
}

/* ------------------------------------------------------------------------------------------------------------ slots */

/* When the slot is that an event takes now. */
int64_t bucket_take_slot(struct limit_bucket *bucket)
{
    struct slot_run *run = &bucket->runs[0];
    int64_t slot_us = run->next_us;
    run->next_us += bucket->limit->step_ns / 1000;
    bucket->stock--;
    if (--run->count == 0)
        memmove(run, run + 1, --bucket->run_count * sizeof *run);
    return slot_us;
}

void bucket_drop_late(struct limit_bucket *bucket, int64_t at_us)
{
    while (bucket->stock > 0 && bucket->runs[0].next_us < at_us - BUCKET_LATE_US)
        (void)bucket_take_slot(bucket);
}

/* An event that has taken it was handled before: another one may have it. */
void bucket_give_back(struct limit_bucket *bucket, int64_t slot_us)
{
    if (bucket->run_count == BUCKET_RUNS_MAX)
        return;
    memmove(&bucket->runs[1], &bucket->runs[0], bucket->run_count++ * sizeof bucket->runs[0]);
    bucket->runs[0] = (struct slot_run){slot_us, 1};
    bucket->stock++;
}

static void add_slots(struct limit_bucket *bucket, const struct slots *slots, int64_t at_us)
{
    int64_t step_us = bucket->limit->step_ns / 1000, first_us = at_us + slots->in_us;
    if (slots->given > 0) {
        bucket->runs[bucket->run_count++] = (struct slot_run){first_us, slots->given};
        bucket->stock += slots->given;
    }
    int64_t none_us = slots->in_us + slots->given * step_us - (int64_t)BUCKET_AHEAD_MS * 1000;
    bucket->ask_us = slots->given == bucket->want ? 0 : at_us + (none_us < BUCKET_ASK_US ? none_us : BUCKET_ASK_US);
}

/* Whether it is of use to ask for slots now. */
bool bucket_may_ask(const struct limit_bucket *bucket, int64_t at_us)
{
    return bucket->ask_us <= at_us && bucket->run_count < BUCKET_RUNS_MAX;
}

void bucket_log_unasked(const struct batch_env *env, const struct error *error)
{
    log_rarely(5000, connection_log_level(env->connection), "lane", "the database gives no slots of limits: %s",
               error->text);
}

/* `count` buckets want some: one statement. */
void buckets_ask(struct batch_env *env, struct limit_bucket **buckets, size_t count)
{
    struct slots *slots = arena_array(env->arena, struct slots, count + 1);
    struct error error = {0};
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        slots[i] = (struct slots){.asker = i,
                                  .is_new = !buckets[i]->asked,
                                  .bucket = (int64_t)buckets[i]->id,
                                  .step_ns = buckets[i]->limit->step_ns,
                                  .want = buckets[i]->want};
    enum store_result result = ledger_limit_take(env->connection, env->numbers->groups[env->group->index], slots, count,
                                                 BUCKET_AHEAD_MS, &error);
    int64_t at_us = bucket_now_us();
    if (result != STORE_OK)
        bucket_log_unasked(env, &error);
    for (size_t i = 0; i < count; i++) {
        struct limit_bucket *bucket = buckets[slots[i].asker];
        bucket->asked = bucket->asked || result == STORE_OK;
        if (result == STORE_OK)
            add_slots(bucket, &slots[i], at_us);
        else
            bucket->ask_us = at_us + (int64_t)BUCKET_AGAIN_MS * 1000;
        bucket->want = 0;
    }
}

/* ------------------------------------------------------------------------------------------------------------- list */

struct limit_bucket *bucket_numbered(const struct batch_env *env, uint32_t pause)
{
    uint32_t first = (uint32_t)env->config->topic_count + 1;
    return pause < first || pause - first >= env->limits->count ? NULL : env->limits->list[pause - first];
}
