/*
 * limit.c - see limit.h.
 */
#include "batch/limit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "batch/bucket.h"
#include "store/ledger_limit.h"

#include <stdlib.h>

enum {
    LIMIT_EARLY_US = 20000,    /* a slot this close is now: batches are not cut smaller than that */
    LIMIT_LOOK_MS = 50,        /* keys that wait are looked after so often, and up to twice as much later by chance, */
    LIMIT_PLACES_LOOK_MS = 20, /* likewise where they wait for a place */
    LIMIT_LOOK_SHARE = 20,     /* for one part of so many of the time at most */
    LIMIT_PARKED_MS = 500,     /* delayed events come again after so long, and up to twice as much later */
    LIMIT_ASK_MAX = 256,       /* buckets in one statement */
    LIMIT_PLACES_MAX = 64,     /* of a batch: the server keeps max_locks_per_transaction for each, 64 by default */
};

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

/* Whether its handler may be called in this batch. */
static bool may_be_called(const struct work *work)
{
    const struct item *item = work->item;
    return work->verdict == VERDICT_NONE && item->binding != NULL && item->binding->limit != NULL &&
           item->failed == 0 && !item->entry.append;
}

/* One whose last COMMIT is not known is judged after its claim: mostly it was handled. */
static bool is_judged(const struct work *work)
{
    return may_be_called(work) && work->item->uncertain_row == 0;
}

/* What comes new does not overtake what waits. */
static bool goes_behind(const struct work *work)
{
    const struct item *item = work->item;
    return item->source == ITEM_BUS && !item->queued && !item->has_slot && item->uncertain_row == 0 &&
           work->bucket->waiting > 0;
}

static void look_at(struct limits *limits, int64_t at_ms)
{
    limits->due_ms = at_ms < limits->due_ms ? at_ms : limits->due_ms;
}

static void wait_for_slot(struct batch *batch, struct work *work, int64_t slot_us)
{
    struct item *item = work->item;
    struct limit_bucket *bucket = work->bucket;
    double chance = random_unit(&batch->env->random);
    work->verdict = VERDICT_DELAY;
    work->why = arena_format(batch->arena, "the limit of topic %s, %s", item->binding->limit->topic,
                             item->binding->limit->text);
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
        look_at(batch->env->limits, batch->now_ms + LIMIT_LOOK_MS);
    }
}

static void give_slot_back(struct work *work, int64_t slot_us)
{
    if (work->bucket != NULL && slot_us != 0)
        bucket_give_back(work->bucket, slot_us);
}

static void judge(struct batch *batch, struct work *work, int64_t at_us)
{
    struct item *item = work->item;
    struct limit_bucket *bucket = work->bucket;
    const struct limit *limit = item->binding->limit;
    bool has_place = limit->places == 0 || (bucket != NULL && bucket->places > 0);
    if (!has_place && bucket != NULL && bucket->places_later) {
        work->verdict = VERDICT_REQUEUE;
    } else if (has_place && item->has_slot) {
        item->has_slot = false;
        work->slot_us = at_us;
    } else if (!has_place || bucket == NULL || goes_behind(work) || (limit->step_ns > 0 && bucket->stock == 0)) {
        give_slot_back(work, item->has_slot ? at_us : 0);
        item->has_slot = false;
        wait_for_slot(batch, work, 0);
    } else if (limit->step_ns > 0) {
        work->slot_us = bucket_take_slot(bucket);
        if (work->slot_us > at_us + LIMIT_EARLY_US)
            wait_for_slot(batch, work, work->slot_us);
    }
}

/* The event has one of its bucket's places, if its handler may be called. */
static void take_place(struct work *work)
{
    work->has_place = may_be_called(work) && work->bucket != NULL && work->bucket->places > 0;
    if (work->has_place)
        work->bucket->places--;
}

static void ask_slots(struct batch *batch)
{
    struct limit_bucket **asking = arena_array(batch->arena, struct limit_bucket *, batch->count);
    size_t asked = 0, wanting = 0;
    int64_t at_us = bucket_now_us();
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        struct limit_bucket *bucket = work->bucket;
        if (bucket == NULL || bucket->limit->step_ns == 0 || !is_judged(work) || work->item->has_slot ||
            goes_behind(work) || !bucket_may_ask(bucket, at_us))
            continue;
        bucket_drop_late(bucket, at_us);
        if (bucket->want++ == 0)
            asking[asked++] = bucket;
    }
    for (size_t i = 0; i < asked; i++) {
        asking[i]->want = asking[i]->want > asking[i]->stock ? asking[i]->want - asking[i]->stock : 0;
        if (asking[i]->want > 0)
            asking[wanting++] = asking[i];
    }
    buckets_ask(batch->env, asking, wanting);
}

/* As many as the events need whose turn it is, and at most so many as a batch may have: in its transaction, which gives
 * them back by its end, however it ends. */
static void ask_places(struct batch *batch)
{
    struct limit_bucket **asking = arena_array(batch->arena, struct limit_bucket *, batch->count);
    struct places *places = arena_array(batch->arena, struct places, batch->count);
    size_t asked = 0;
    int32_t left = LIMIT_PLACES_MAX;
    for (size_t i = 0; i < batch->count; i++) {
        const struct work *work = &batch->works[i];
        struct limit_bucket *bucket = work->bucket;
        if (bucket == NULL || bucket->limit->places == 0 || goes_behind(work) ||
            (bucket->limit->step_ns > 0 && bucket->stock == 0 && !work->item->has_slot))
            continue;
        if (bucket->places_want++ == 0)
            asking[asked++] = bucket;
    }
    for (size_t i = 0; i < asked; i++) {
        struct limit_bucket *bucket = asking[i];
        int32_t want = bucket->places_want < bucket->limit->places ? bucket->places_want : bucket->limit->places;
        places[i] = (struct places){
            .first = (int64_t)(bucket->id >> 2), .most = bucket->limit->places, .want = want < left ? want : left};
        bucket->places_later = places[i].want < want;
        bucket->places_want = 0;
        left -= places[i].want;
    }
    if (asked == 0)
        return;
    if (!batch->transaction) {
        batch->result = connection_begin(batch->connection, batch->deadline_ms, &batch->error);
        batch->transaction = true;
    }
    if (batch->result == STORE_OK)
        batch->result = ledger_limit_places(batch->connection, places, asked, &batch->error);
    for (size_t i = 0; i < asked && batch->result == STORE_OK; i++) {
        asking[i]->places = places[i].given;
        if (places[i].given > 0)
            batch->env->limits->places_since_ms = batch->now_ms;
        if (places[i].given > 0 && asking[i]->waiting > 0)
            look_at(batch->env->limits, batch->now_ms);
    }
}

void batch_limit(struct batch *batch)
{
    struct batch_env *env = batch->env;
    size_t size = 1;
    if (env->config->limit_count == 0 || env->group == NULL || env->group->tap != NULL || env->connection == NULL)
        return;
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (!may_be_called(work) || (work->bucket = bucket_of_work(batch, work)) == NULL)
            continue;
        work->bucket->places = 0;
        work->bucket->places_later = false;
    }
    ask_slots(batch);
    ask_places(batch);
    while (size < 2 * batch->count)
        size *= 2;
    struct blocked blocked = {arena_array(batch->arena, uint64_t, size), size - 1};
    int64_t at_us = bucket_now_us();
    for (size_t i = 0; i < batch->count && batch->result == STORE_OK; i++) {
        struct work *work = &batch->works[i];
        uint64_t key_hash = work->item->entry.key_hash;
        if (is_judged(work) && blocked_add(&blocked, key_hash, false))
            work->verdict = VERDICT_REQUEUE;
        else if (is_judged(work))
            judge(batch, work, at_us);
        take_place(work);
        if (work_row(work)->holds_key)
            (void)blocked_add(&blocked, key_hash, true);
    }
}

void batch_limit_claimed(struct batch *batch)
{
    for (size_t i = 0; batch->env->limits != NULL && i < batch->count; i++) {
        struct work *work = &batch->works[i];
        if (work->verdict == VERDICT_DUPLICATE)
            give_slot_back(work, work->slot_us);
        if (work->item->uncertain_row != 0 && may_be_called(work) && work->item->binding->limit->places > 0 &&
            !work->has_place)
            wait_for_slot(batch, work, 0);
    }
}

/* ----------------------------------------------------------------------------------------------------- between them */

int64_t limit_due_ms(const struct batch_env *env)
{
    return env->limits == NULL ? INT64_MAX : env->limits->due_ms;
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

/* How many places are free at this moment: their events come, and take them in a transaction, or wait again. */
static void find_places(struct batch_env *env, struct limit_bucket **buckets, size_t count)
{
    struct places *places = arena_array(env->arena, struct places, count + 1);
    struct error error = {0};
    for (size_t i = 0; i < count; i++) {
        const struct limit_bucket *bucket = buckets[i];
        size_t most = bucket->limit->places < LIMIT_PLACES_MAX ? (size_t)bucket->limit->places : LIMIT_PLACES_MAX;
        size_t want = bucket->limit->step_ns > 0 ? (size_t)bucket->stock : bucket->waiting;
        want = want < bucket->waiting ? want : bucket->waiting;
        places[i] = (struct places){.first = (int64_t)(bucket->id >> 2),
                                    .most = bucket->limit->places,
                                    .want = (int32_t)(want < most ? want : most)};
    }
    enum store_result result = count == 0 ? STORE_OK : ledger_limit_free(env->connection, places, count, &error);
    if (result != STORE_OK)
        bucket_log_unasked(env, &error);
    for (size_t i = 0; i < count && result == STORE_OK; i++)
        buckets[i]->due = places[i].given;
}

/* As many as there are, a piece at a time, in turn. */
static void ask_for_waiting(struct batch_env *env)
{
    struct limits *limits = env->limits;
    struct limit_bucket *asking[LIMIT_ASK_MAX], *finding[LIMIT_ASK_MAX];
    size_t asked = 0, found = 0;
    int64_t at_us = bucket_now_us();
    for (uint32_t i = 0; i < limits->count && asked < LIMIT_ASK_MAX && found < LIMIT_ASK_MAX; i++) {
        struct limit_bucket *bucket = limits->list[limits->turn++ % limits->count];
        if (bucket == NULL || bucket->waiting == 0)
            continue;
        if (bucket->limit->places > 0)
            finding[found++] = bucket;
        if (bucket->limit->step_ns == 0 || !bucket_may_ask(bucket, at_us))
            continue;
        bucket_drop_late(bucket, at_us);
        int64_t want = (int64_t)bucket->waiting - bucket->stock;
        bucket->want = want > INT32_MAX ? INT32_MAX : (int32_t)want;
        if (want > 0)
            asking[asked++] = bucket;
    }
    buckets_ask(env, asking, asked);
    find_places(env, finding, found);
}

/* A lane that had places lets others look for them first, for a part of the time that it had them. False: not yet. */
static bool others_had_their_turn(struct batch_env *env)
{
    struct limits *limits = env->limits;
    int64_t now_ms = clock_monotonic_ms(), had_ms = now_ms - limits->places_since_ms;
    bool had = limits->places_since_ms != 0;
    limits->places_since_ms = 0;
    had_ms = had_ms < LIMIT_LOOK_MS ? had_ms : LIMIT_LOOK_MS;
    int64_t wait_ms = had ? (int64_t)(2 * (double)had_ms * random_unit(&env->random)) : 0;
    if (wait_ms > 0)
        limits->due_ms = now_ms + wait_ms;
    return wait_ms == 0;
}

void limit_resume(struct batch_env *env)
{
    struct limits *limits = env->limits;
    int64_t began_ms = clock_monotonic_ms(), look_ms = LIMIT_LOOK_MS;
    bool any = false, some = false;
    if (!others_had_their_turn(env))
        return;
    for (uint32_t i = 0; i < limits->count; i++)
        if (limits->list[i] != NULL)
            limits->list[i]->due = 0;
    ask_for_waiting(env);
    for (uint32_t i = 0; i < limits->count; i++) {
        struct limit_bucket *bucket = limits->list[i];
        if (bucket == NULL || bucket->waiting == 0)
            continue;
        if (bucket->limit->places == 0)
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
        if (left > 0 && bucket->limit->places > 0)
            look_ms = LIMIT_PLACES_LOOK_MS;
    }
    int64_t now_ms = clock_monotonic_ms(), share_ms = LIMIT_LOOK_SHARE * (now_ms - began_ms);
    int64_t wait_ms = look_ms + (int64_t)(2 * (double)look_ms * random_unit(&env->random));
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
