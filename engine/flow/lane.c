/*
 * lane.c - see lane.h. What may run waits in one queue, `ready`, by arrival. A key that is tried again gets a queue
 * of its own, which is in one of two heaps: `later`, by the time its head is due, or `now`, by its head's arrival.
 * lane_take() merges `ready` with the heads of `now`, so batches are filled oldest first whatever happened before.
 *
 * Entries of a held key that still stand in `ready` are moved behind their key when they come to its front, once each:
 * after every call the front of `ready` may run. An entry costs O(1), one of a held key O(log held keys).
 */
#include "flow/lane.h"

#include <assert.h>
#include <stdlib.h>

enum { LANE_ARENA_BLOCK = 4096, LANE_HEAP_MIN = 16 };

struct lane_queue { /* sorted by arrival */
    struct lane_entry *head, *tail;
    /* the last one put in between; what comes back comes in order, so the next goes just behind it */
    struct lane_entry *hint;
};

struct lane_key {
    uint64_t key_hash;
    struct lane_queue queue; /* never empty between calls */
    struct lane_heap *heap;  /* the one it is in */
    size_t at;               /* its index there */
    int64_t rank;            /* what that heap is ordered by */
    struct lane_key *next;   /* while unused, or on lane_drop()'s list */
};

struct lane_heap {
    struct lane_key **keys;
    size_t count, size;
};

struct lane {
    struct lane_queue ready;
    struct intmap *keys; /* key_hash → struct lane_key */
    struct lane_heap now, later;
    struct lane_key *unused;
    struct arena *arena; /* of the keys and the heaps' arrays */
    size_t waiting, out;
    uint64_t arrivals;
};

/* --------------------------------------------------------------------------------------------------------- queue */

static bool lane_older(const struct lane_entry *a, const struct lane_entry *b)
{
    return (int32_t)(a->sequence - b->sequence) < 0; /* right across the wrap of the counter */
}

static void queue_insert(struct lane_queue *queue, struct lane_entry *entry)
{
    if (queue->tail == NULL || lane_older(queue->tail, entry)) {
        entry->next = NULL;
        if (queue->tail == NULL)
            queue->head = entry;
        else
            queue->tail->next = entry;
        queue->tail = entry;
        return;
    }
    struct lane_entry *ahead = queue->hint != NULL && lane_older(queue->hint, entry) ? queue->hint : NULL;
    struct lane_entry *behind = ahead == NULL ? queue->head : ahead->next;
    while (lane_older(behind, entry)) { /* ends: the tail is not older */
        ahead = behind;
        behind = behind->next;
    }
    entry->next = behind;
    if (ahead == NULL)
        queue->head = entry;
    else
        ahead->next = entry;
    queue->hint = entry;
}

static struct lane_entry *queue_pop(struct lane_queue *queue)
{
    struct lane_entry *entry = queue->head;
    queue->head = entry->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    if (queue->hint == entry)
        queue->hint = NULL;
    entry->next = NULL;
    return entry;
}

/* ---------------------------------------------------------------------------------------------------------- heap */

static void heap_set(struct lane_heap *heap, size_t at, struct lane_key *key)
{
    heap->keys[at] = key;
    key->at = at;
}

static void heap_up(struct lane_heap *heap, struct lane_key *key)
{
    size_t at = key->at;
    for (; at > 0 && key->rank < heap->keys[(at - 1) / 2]->rank; at = (at - 1) / 2)
        heap_set(heap, at, heap->keys[(at - 1) / 2]);
    heap_set(heap, at, key);
}

static void heap_down(struct lane_heap *heap, struct lane_key *key)
{
    size_t at = key->at;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child + 1 < heap->count && heap->keys[child + 1]->rank < heap->keys[child]->rank)
            child++;
        if (child >= heap->count || key->rank <= heap->keys[child]->rank)
            break;
        heap_set(heap, at, heap->keys[child]);
        at = child;
    }
    heap_set(heap, at, key);
}

static void heap_add(struct lane *lane, struct lane_heap *heap, struct lane_key *key, int64_t rank)
{
    if (heap->count == heap->size) {
        size_t size = heap->size == 0 ? LANE_HEAP_MIN : heap->size * 2;
        struct lane_key **keys = arena_alloc_raw(lane->arena, size * sizeof *keys);
        if (heap->count > 0)
            memcpy(keys, heap->keys, heap->count * sizeof *keys);
        heap->keys = keys;
        heap->size = size;
    }
    key->heap = heap;
    key->rank = rank;
    heap_set(heap, heap->count++, key);
    heap_up(heap, key);
}

static void heap_leave(struct lane_key *key)
{
    struct lane_heap *heap = key->heap;
    key->heap = NULL;
    if (heap == NULL)
        return;
    struct lane_key *last = heap->keys[--heap->count];
    if (last == key)
        return;
    heap_set(heap, key->at, last);
    heap_up(heap, last);
    heap_down(heap, last);
}

/* ---------------------------------------------------------------------------------------------------------- keys */

static struct lane_key *lane_key(const struct lane *lane, const struct lane_entry *entry)
{
    return intmap_count(lane->keys) == 0 ? NULL : intmap_get(lane->keys, entry->key_hash);
}

static struct lane_key *lane_hold(struct lane *lane, uint64_t key_hash)
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

/* Puts the key where its head belongs; a key without entries is held no more. */
static void lane_place(struct lane *lane, struct lane_key *key)
{
    const struct lane_entry *head = key->queue.head;
    heap_leave(key);
    if (head == NULL) {
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

/* Behind its key when that is held, else into `ready`. */
static void lane_insert(struct lane *lane, struct lane_entry *entry)
{
    struct lane_key *key = lane_key(lane, entry);
    lane->waiting++;
    if (key == NULL) {
        queue_insert(&lane->ready, entry);
        return;
    }
    struct lane_entry *head = key->queue.head;
    queue_insert(&key->queue, entry);
    if (key->queue.head != head)
        lane_place(lane, key);
}

/* Makes the front of `ready` one that may run. */
static void lane_settle(struct lane *lane)
{
    struct lane_key *key;
    while (lane->ready.head != NULL && (key = lane_key(lane, lane->ready.head)) != NULL) {
        struct lane_entry *head = key->queue.head;
        queue_insert(&key->queue, queue_pop(&lane->ready));
        if (key->queue.head != head)
            lane_place(lane, key);
    }
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

void lane_offer(struct lane *lane, struct lane_entry *entry)
{
    entry->sequence = (uint32_t)++lane->arrivals;
    entry->isolated = entry->held = false;
    entry->due_ms = 0;
    queue_insert(&lane->ready, entry);
    lane->waiting++;
    if (lane->ready.head == entry)
        lane_settle(lane);
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
        if (key != NULL) {
            (void)queue_pop(&key->queue);
            lane_place(lane, key);
        } else {
            (void)queue_pop(&lane->ready);
            lane_settle(lane);
        }
        entry->due_ms = 0;
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
    if (lane->ready.head != NULL || lane->now.count > 0)
        return 0;
    if (lane->later.count == 0)
        return INT64_MAX;
    int64_t due_ms = lane->later.keys[0]->rank;
    return due_ms <= now_ms ? 0 : due_ms;
}

static void lane_returned(struct lane *lane, size_t count)
{
    assert(lane->out >= count);
    lane->out -= count;
}

void lane_done(struct lane *lane, struct lane_entry *entry)
{
    (void)entry;
    lane_returned(lane, 1);
}

void lane_retry(struct lane *lane, struct lane_entry *entry, int64_t due_ms)
{
    lane_returned(lane, 1);
    entry->isolated = false;
    entry->held = true;
    entry->due_ms = due_ms;
    struct lane_key *key = lane_key(lane, entry);
    if (key == NULL)
        key = lane_hold(lane, entry->key_hash);
    queue_insert(&key->queue, entry);
    lane->waiting++;
    lane_place(lane, key);
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

typedef bool lane_match(const struct lane_entry *entry, void *context);

/* Moves what matches out of the queue into `dropped`, a list in no order; the others keep theirs. */
static void queue_drop(struct lane_queue *queue, lane_match *match, void *context, struct lane_entry **dropped)
{
    struct lane_entry *entry = queue->head;
    *queue = (struct lane_queue){0};
    while (entry != NULL) {
        struct lane_entry *next = entry->next;
        if (match(entry, context)) {
            entry->next = *dropped;
            *dropped = entry;
        } else {
            queue_insert(queue, entry);
        }
        entry = next;
    }
}

static struct lane_entry *lane_merge(struct lane_entry *a, struct lane_entry *b)
{
    struct lane_entry *head = NULL, **tail = &head;
    while (a != NULL && b != NULL) {
        struct lane_entry **older = lane_older(a, b) ? &a : &b;
        *tail = *older;
        tail = &(*older)->next;
        *older = (*older)->next;
    }
    *tail = a != NULL ? a : b;
    return head;
}

/* By arrival: a merge sort whose bins hold sorted lists of 1, 2, 4 … entries. */
static struct lane_entry *lane_sort(struct lane_entry *list)
{
    struct lane_entry *bins[64] = {0};
    while (list != NULL) {
        struct lane_entry *run = list;
        list = list->next;
        run->next = NULL;
        size_t bin = 0;
        for (; bins[bin] != NULL; bin++) {
            run = lane_merge(bins[bin], run);
            bins[bin] = NULL;
        }
        bins[bin] = run;
    }
    struct lane_entry *sorted = NULL;
    for (size_t bin = 0; bin < 64; bin++)
        sorted = lane_merge(bins[bin], sorted);
    return sorted;
}

void lane_drop(struct lane *lane, bool (*match)(const struct lane_entry *entry, void *context),
               void (*each)(struct lane_entry *entry, void *context), void *context)
{
    struct lane_entry *dropped = NULL;
    struct lane_key *keys = NULL, *key;
    void *value;
    queue_drop(&lane->ready, match, context, &dropped);
    for (size_t cursor = 0; intmap_next(lane->keys, &cursor, NULL, &value);) {
        key = value;
        queue_drop(&key->queue, match, context, &dropped);
        key->next = keys;
        keys = key;
    }
    while ((key = keys) != NULL) {
        keys = key->next;
        lane_place(lane, key);
    }
    lane_settle(lane);
    for (struct lane_entry *entry = lane_sort(dropped); entry != NULL;) {
        struct lane_entry *next = entry->next;
        entry->next = NULL;
        lane->waiting--;
        each(entry, context);
        entry = next;
    }
}
