/*
 * lane.c - see lane.h. What may run waits in one queue, `ready`, by arrival. A key that is tried again gets a queue
 * of its own, which is in one of two heaps: `later`, by the time its head is due, or `now`, by its head's arrival.
 * lane_take() merges `ready` with the heads of `now`, so batches are filled oldest first whatever happened before.
 *
 * Entries of a held key that still stand in `ready` are moved behind their key when they come to its front, once each:
 * after every call the front of `ready` may run. An entry costs O(1), one of a held key O(log held keys).
 *
 * A stored key is in a third heap, `stored`, by the time when it is to be fetched, or in none while fetched entries of
 * it are under way; its own queue has what is tried again for a moment. Entries that are to be appended do not wait for
 * that: they stay in `ready`.
 */
#include "flow/lane_parts.h"

#include <assert.h>
#include <stdlib.h>

enum { LANE_ARENA_BLOCK = 4096 };

/* ---------------------------------------------------------------------------------------------------------- keys */

struct lane_key *lane_key(const struct lane *lane, uint64_t key_hash)
{
    return intmap_count(lane->keys) == 0 ? NULL : intmap_get(lane->keys, key_hash);
}

struct lane_key *lane_hold(struct lane *lane, uint64_t key_hash)
{
    struct lane_key *key = lane->unused;
    if (key != NULL)
        lane->unused = key->next;
    else
        key = arena_alloc_raw(lane->arena, sizeof *key);
    *key = (struct lane_key){.key_hash = key_hash};
    (void)intmap_set(lane->keys, key_hash, key);
    return key;
}

/* A key without entries that is not stored is held no more. */
void lane_place(struct lane *lane, struct lane_key *key)
{
    const struct lane_entry *head = key->queue.head;
    heap_leave(key);
    if (head == NULL && key->stored) {
        if (key->fetched == 0)
            heap_add(lane, &lane->stored, key, key->running ? 0 : key->due_ms);
    } else if (head == NULL) {
        (void)intmap_remove(lane->keys, key->key_hash);
        key->next = lane->unused;
        lane->unused = key;
    } else if (head->held) {
        heap_add(lane, &lane->later, key, head->due_ms);
    } else {
        /* The arrival number in full, which the entry has no room for. */
        heap_add(lane, &lane->now, key,
                 (int64_t)(lane->arrivals - (uint32_t)((uint32_t)lane->arrivals - head->sequence)));
    }
}

/* The key behind whose entries this one waits, or NULL. Of a stored key only what was fetched waits, for what was
 * fetched before it. */
static struct lane_key *lane_behind(const struct lane *lane, const struct lane_entry *entry)
{
    struct lane_key *key = lane_key(lane, entry->key_hash);
    bool waits = key != NULL && (!key->stored || (entry->stored && key->running && key->queue.head != NULL));
    return waits ? key : NULL;
}

void key_wait_for(struct lane *lane, struct lane_key *key, uint32_t pause)
{
    lane->paused_keys += (size_t)(pause != 0) - (size_t)(key->pause != 0);
    key->pause = pause;
}

void key_store(struct lane *lane, struct lane_key *key, int64_t due_ms, uint32_t pause)
{
    lane->stored_keys += !key->stored;
    key->stored = true;
    key->running = false;
    key->due_ms = due_ms;
    key_wait_for(lane, key, pause);
    for (struct lane_entry *entry = key->queue.head; entry != NULL; entry = entry->next)
        entry->held = entry->held && entry->unordered; /* what is to be appended waits for nothing */
    lane_place(lane, key);
}

bool lane_may_store(const struct lane *lane, uint64_t key_hash, bool paused)
{
    const struct lane_key *key = lane_key(lane, key_hash);
    bool room = paused ? lane->paused_keys < lane->paused_max
                       : lane->stored_keys - lane->paused_keys < lane->stored_max;
    return (key != NULL && key->stored) || room;
}

/* Too many wait behind a retry: the table can take them, and their head. */
static bool lane_too_many(const struct lane *lane, const struct lane_key *key)
{
    const struct lane_entry *head = key->queue.head;
    return key->length > lane->followers_max && !key->stored && head->held && !head->unordered &&
           lane_may_store(lane, key->key_hash, head->pause != 0);
}

static void key_insert(struct lane *lane, struct lane_key *key, struct lane_entry *entry)
{
    const struct lane_entry *head = key->queue.head;
    queue_insert(&key->queue, entry);
    key->length++;
    if (lane_too_many(lane, key))
        key_store(lane, key, key->queue.head->due_ms, key->queue.head->pause);
    else if (key->queue.head != head)
        lane_place(lane, key);
}

/* Behind its key when that is held, else into `ready`. */
static void lane_insert(struct lane *lane, struct lane_entry *entry)
{
    struct lane_key *key = lane_behind(lane, entry);
    lane->waiting++;
    if (key == NULL)
        queue_insert(&lane->ready, entry);
    else
        key_insert(lane, key, entry);
}

void lane_settle(struct lane *lane)
{
    struct lane_key *key;
    while (lane->ready.head != NULL && (key = lane_behind(lane, lane->ready.head)) != NULL)
        key_insert(lane, key, queue_pop(&lane->ready));
}

/* ---------------------------------------------------------------------------------------------------------- lane */

struct lane *lane_create(void)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->keys = intmap_create(0);
    lane->arena = arena_create(LANE_ARENA_BLOCK, SIZE_MAX);
    if (lane->keys == NULL || lane->arena == NULL) {
        lane_destroy(lane);
        return NULL;
    }
    return lane;
}

void lane_destroy(struct lane *lane)
{
    if (lane == NULL)
        return;
    intmap_destroy(lane->keys);
    arena_destroy(lane->arena);
    free(lane);
}

void lane_use_store(struct lane *lane, size_t followers_max, size_t keys_max, size_t paused_max)
{
    lane->paused_max = paused_max;
    lane->followers_max = followers_max;
    lane->stored_max = keys_max;
}

void lane_arrive(struct lane *lane, struct lane_entry *entry, bool stored)
{
    entry->sequence = (uint32_t)++lane->arrivals;
    entry->isolated = entry->held = entry->append = false;
    entry->stored = stored;
    entry->due_ms = 0;
    entry->pause = 0;
    queue_insert(&lane->ready, entry);
    lane->waiting++;
    if (lane->ready.head == entry)
        lane_settle(lane);
}

void lane_offer(struct lane *lane, struct lane_entry *entry)
{
    lane_arrive(lane, entry, false);
}

/* The oldest that may run, without taking it; *ret_key its key when that is held, else NULL. */
static struct lane_entry *lane_oldest(const struct lane *lane, struct lane_key **ret_key)
{
    struct lane_entry *ready = lane->ready.head;
    struct lane_key *key = lane->now.count > 0 ? lane->now.keys[0] : NULL;
    if (key != NULL && (ready == NULL || lane_older(key->queue.head, ready))) {
        *ret_key = key;
        return key->queue.head;
    }
    *ret_key = NULL;
    return ready;
}

/* Keys whose time has come may run. */
static void lane_wake(struct lane *lane, int64_t now_ms)
{
    while (lane->later.count > 0 && lane->later.keys[0]->rank <= now_ms) {
        struct lane_key *key = lane->later.keys[0];
        key->queue.head->held = false;
        lane_place(lane, key);
    }
}

/* Of the entry about to be taken: whether it goes behind the rows of its key. */
static bool lane_appends(const struct lane *lane, const struct lane_entry *entry)
{
    const struct lane_key *key = lane_key(lane, entry->key_hash);
    return key != NULL && key->stored && !entry->unordered && !(entry->stored && key->running);
}

size_t lane_take(struct lane *lane, int64_t now_ms, size_t max, struct lane_entry **ret)
{
    assert(lane->out == 0);
    size_t count = 0;
    while (count < max) {
        struct lane_key *key;
        lane_wake(lane, now_ms); /* each time: behind the entry just taken may stand one that is due, too */
        struct lane_entry *entry = lane_oldest(lane, &key);
        if (entry == NULL || (entry->isolated && count > 0))
            break;
        entry->append = lane_appends(lane, entry);
        if (key != NULL) {
            (void)queue_pop(&key->queue);
            key->length--;
            lane_place(lane, key);
        } else {
            (void)queue_pop(&lane->ready);
            lane_settle(lane);
        }
        entry->due_ms = 0;
        entry->pause = 0;
        ret[count++] = entry;
        if (entry->isolated)
            break;
    }
    lane->waiting -= count;
    lane->out = count;
    return count;
}

int64_t lane_due(const struct lane *lane, int64_t now_ms)
{
    int64_t due_ms = INT64_MAX;
    if (lane->ready.head != NULL || lane->now.count > 0)
        return 0;
    if (lane->later.count > 0)
        due_ms = lane->later.keys[0]->rank;
    if (lane->stored.count > 0 && lane->stored.keys[0]->rank < due_ms)
        due_ms = lane->stored.keys[0]->rank;
    return due_ms <= now_ms ? 0 : due_ms;
}

static void lane_returned(struct lane *lane, size_t count)
{
    assert(lane->out >= count);
    lane->out -= count;
}

/* A fetched entry is not here any more. With the last one its key is due. */
static void lane_ended(struct lane *lane, const struct lane_entry *entry)
{
    struct lane_key *key = entry->stored ? lane_key(lane, entry->key_hash) : NULL;
    if (key == NULL || key->fetched == 0)
        return; /* the lane has forgotten it */
    if (--key->fetched == 0)
        lane_place(lane, key);
}

void lane_done(struct lane *lane, struct lane_entry *entry)
{
    lane_returned(lane, 1);
    lane_ended(lane, entry);
}

static void retry(struct lane *lane, struct lane_entry *entry, int64_t due_ms, uint32_t pause)
{
    lane_returned(lane, 1);
    entry->isolated = false;
    entry->held = true;
    entry->due_ms = due_ms;
    entry->pause = pause;
    struct lane_key *key = lane_key(lane, entry->key_hash);
    if (key == NULL)
        key = lane_hold(lane, entry->key_hash);
    queue_insert(&key->queue, entry);
    key->length++;
    lane->waiting++;
    if (lane_too_many(lane, key))
        key_store(lane, key, key->queue.head->due_ms, key->queue.head->pause);
    else
        lane_place(lane, key);
    lane_settle(lane);
}

void lane_retry(struct lane *lane, struct lane_entry *entry, int64_t due_ms)
{
    retry(lane, entry, due_ms, 0);
}

void lane_retry_after(struct lane *lane, struct lane_entry *entry, uint32_t pause)
{
    retry(lane, entry, INT64_MAX, pause);
}

/* Whether something of the key is due now. */
static bool key_resume(struct lane *lane, struct lane_key *key, bool (*over)(uint32_t pause, const void *context),
                       const void *context)
{
    bool due = false;
    for (struct lane_entry *entry = key->queue.head; entry != NULL; entry = entry->next)
        if (entry->held && entry->pause != 0 && over(entry->pause, context)) {
            entry->pause = 0;
            entry->held = false;
            due = true;
        }
    if (key->pause != 0 && over(key->pause, context)) {
        key_wait_for(lane, key, 0);
        key->due_ms = 0;
        due = true;
    }
    if (due)
        lane_place(lane, key); /* it has entries or is stored: it stays in the map */
    return due;
}

void lane_resume(struct lane *lane, bool (*over)(uint32_t pause, const void *context), const void *context)
{
    size_t begin = lane->resume_at, next = begin;
    void *value;
    for (size_t cursor = begin; intmap_next(lane->keys, &cursor, NULL, &value);)
        if (key_resume(lane, value, over, context))
            next = cursor;
    for (size_t cursor = 0; intmap_next(lane->keys, &cursor, NULL, &value) && cursor <= begin;)
        if (key_resume(lane, value, over, context))
            next = cursor;
    lane->resume_at = next;
    lane_settle(lane);
}

void lane_requeue(struct lane *lane, struct lane_entry **entries, size_t count)
{
    lane_returned(lane, count);
    for (size_t i = 0; i < count; i++)
        lane_insert(lane, entries[i]);
}

void lane_isolate(struct lane *lane, struct lane_entry **entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        entries[i]->isolated = true;
    lane_requeue(lane, entries, count);
}

size_t lane_waiting(const struct lane *lane)
{
    return lane->waiting;
}

size_t lane_held_keys(const struct lane *lane)
{
    return intmap_count(lane->keys);
}

/* ---------------------------------------------------------------------------------------------------------- drop */

void lane_drop(struct lane *lane, bool (*match)(const struct lane_entry *entry, void *context),
               void (*each)(struct lane_entry *entry, void *context), void *context)
{
    struct lane_entry *dropped = NULL;
    struct lane_key *keys = NULL, *key;
    void *value;
    (void)queue_drop(&lane->ready, match, context, &dropped);
    for (size_t cursor = 0; intmap_next(lane->keys, &cursor, NULL, &value);) {
        key = value;
        key->length = queue_drop(&key->queue, match, context, &dropped);
        key->next = keys;
        keys = key;
    }
    while ((key = keys) != NULL) {
        keys = key->next;
        lane_place(lane, key);
    }
    lane_settle(lane);
    for (struct lane_entry *entry = entries_sort(dropped); entry != NULL;) {
        struct lane_entry *next = entry->next;
        entry->next = NULL;
        lane->waiting--;
        lane_ended(lane, entry);
        each(entry, context);
        entry = next;
    }
}
