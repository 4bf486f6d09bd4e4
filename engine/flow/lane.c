/*
 * lane.c - a queue that lets held keys wait and everything else pass.
 *
 * Ready entries stand in one list in order of arrival. A held key has a list of its own (the retry at its head, later entries behind
 * it) in a table by key and in a heap by due time. When the time has come the whole list goes to the front of the ready
 * list, so the retry runs first and its followers keep their order.
 */
#include "flow/lane.h"

#include "base/heap.h"

#include <stdlib.h>

struct held { /* a key that waits */
    struct lane_entry *head, **tail;
    uint64_t key_hash;
};

struct lane {
    struct lane_entry *ready, **ready_tail;
    struct intmap *held; /* key → struct held */
    struct heap *due;    /* of struct held */
    size_t waiting;      /* ready and held */
    uint32_t arrived;
};

enum { LANE_HELD_MAX = 1 << 20 };

struct lane *lane_create(void)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->ready_tail = &lane->ready;
    lane->held = intmap_create(16);
    lane->due = heap_create(LANE_HELD_MAX);
    if (lane->held == NULL || lane->due == NULL) {
        lane_destroy(lane);
        return NULL;
    }
    return lane;
}

void lane_destroy(struct lane *lane)
{
    if (lane == NULL)
        return;
    size_t cursor = 0;
    uint64_t key;
    void *held;
    while (lane->held != NULL && intmap_next(lane->held, &cursor, &key, &held))
        free(held);
    intmap_destroy(lane->held);
    heap_destroy(lane->due);
    free(lane);
}

static void ready_append(struct lane *lane, struct lane_entry *entry)
{
    entry->next = NULL;
    *lane->ready_tail = entry;
    lane->ready_tail = &entry->next;
}

static void held_append(struct held *held, struct lane_entry *entry)
{
    entry->next = NULL;
    *held->tail = entry;
    held->tail = &entry->next;
}

/* In order of arrival, but never before the retry at the head. */
static void held_insert(struct held *held, struct lane_entry *entry)
{
    struct lane_entry **link = held->head == NULL ? &held->head : &held->head->next;
    while (*link != NULL && (int32_t)((*link)->sequence - entry->sequence) < 0)
        link = &(*link)->next;
    entry->next = *link;
    if (*link == NULL)
        held->tail = &entry->next;
    *link = entry;
}

void lane_offer(struct lane *lane, struct lane_entry *entry)
{
    struct held *held = intmap_count(lane->held) > 0 ? intmap_get(lane->held, entry->key_hash) : NULL;
    entry->solo = false;
    entry->sequence = lane->arrived++;
    lane->waiting++;
    if (held != NULL)
        held_append(held, entry);
    else
        ready_append(lane, entry);
}

/* A list in front of the ready one. */
static void ready_prepend(struct lane *lane, struct lane_entry *head, struct lane_entry **tail)
{
    if (head == NULL)
        return;
    for (struct lane_entry *entry = head; entry != NULL; entry = entry->next)
        *tail = lane->ready;
    if (lane->ready == NULL)
        lane->ready_tail = tail;
    lane->ready = head;
}

static void release_due(struct lane *lane, int64_t now_ms)
{
    for (struct held *held; (held = heap_pop(lane->due, now_ms)) != NULL;) {
        intmap_remove(lane->held, held->key_hash);
        ready_prepend(lane, held->head, held->tail);
        free(held);
    }
}

size_t lane_take(struct lane *lane, int64_t now_ms, size_t max, struct lane_entry **ret)
{
    size_t count = 0;
    release_due(lane, now_ms);
    while (lane->ready != NULL && count < max) {
        struct lane_entry *entry = lane->ready;
        if (entry->solo && count > 0)
            break; /* it runs in the next batch, by itself */
        lane->ready = entry->next;
        if (lane->ready == NULL)
            lane->ready_tail = &lane->ready;
        entry->next = NULL;
        ret[count++] = entry;
        lane->waiting--;
        if (entry->solo)
            break;
    }
    return count;
}

int64_t lane_due(const struct lane *lane, int64_t now_ms)
{
    (void)now_ms;
    return lane->ready != NULL ? 0 : heap_due(lane->due);
}

void lane_done(struct lane *lane, struct lane_entry *entry)
{
    (void)lane;
    entry->next = NULL;
}

/* Entries of the key that arrived meanwhile stand in the ready list: they go behind the retry. */
static void gather_key(struct lane *lane, struct held *held)
{
    struct lane_entry **link = &lane->ready;
    while (*link != NULL) {
        struct lane_entry *entry = *link;
        if (entry->key_hash != held->key_hash) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        held_append(held, entry);
    }
    lane->ready_tail = link;
}

void lane_retry(struct lane *lane, struct lane_entry *entry, int64_t due_ms)
{
    struct held *held = intmap_get(lane->held, entry->key_hash);
    entry->solo = false;
    lane->waiting++;
    if (held != NULL) { /* two of a key in one batch, both to be retried: the second waits behind the first */
        held_insert(held, entry);
        return;
    }
    held = calloc(1, sizeof *held);
    if (held == NULL) { /* no memory for a pause: it runs again at once */
        ready_prepend(lane, entry, &entry->next);
        return;
    }
    held->key_hash = entry->key_hash;
    held->tail = &held->head;
    held_append(held, entry);
    gather_key(lane, held);
    intmap_set(lane->held, held->key_hash, held);
    if (heap_push(lane->due, due_ms, held) != 0) {
        intmap_remove(lane->held, held->key_hash);
        ready_prepend(lane, held->head, held->tail);
        free(held);
    }
}

static void put_back(struct lane *lane, struct lane_entry **entries, size_t count, bool solo)
{
    struct lane_entry *head = NULL, **tail = &head;
    for (size_t i = 0; i < count; i++) {
        struct lane_entry *entry = entries[i];
        struct held *held = intmap_count(lane->held) > 0 ? intmap_get(lane->held, entry->key_hash) : NULL;
        lane->waiting++;
        entry->solo = entry->solo || solo;
        entry->next = NULL;
        if (held != NULL) {
            held_insert(held, entry);
            continue;
        }
        *tail = entry;
        tail = &entry->next;
    }
    ready_prepend(lane, head, tail);
}

void lane_back(struct lane *lane, struct lane_entry **entries, size_t count)
{
    put_back(lane, entries, count, false);
}

void lane_solo(struct lane *lane, struct lane_entry **entries, size_t count)
{
    put_back(lane, entries, count, true);
}

size_t lane_waiting(const struct lane *lane)
{
    return lane->waiting;
}

size_t lane_held_keys(const struct lane *lane)
{
    return intmap_count(lane->held);
}

/* Takes the matching entries out of a list and puts them at the end of another. */
static void list_filter(struct lane_entry **head, struct lane_entry ***tail, bool (*match)(const struct lane_entry *, void *),
                        void *context, struct lane_entry ***out)
{
    struct lane_entry **link = head;
    while (*link != NULL) {
        struct lane_entry *entry = *link;
        if (!match(entry, context)) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        entry->next = NULL;
        **out = entry;
        *out = &entry->next;
    }
    *tail = link;
}

void lane_drop(struct lane *lane, bool (*match)(const struct lane_entry *entry, void *context),
               void (*each)(struct lane_entry *entry, void *context), void *context)
{
    struct lane_entry *dropped = NULL, **out = &dropped;
    size_t cursor = 0;
    uint64_t key;
    void *value;

    while (intmap_next(lane->held, &cursor, &key, &value)) {
        struct held *held = value;
        list_filter(&held->head, &held->tail, match, context, &out); /* an empty one leaves with its due time */
    }
    list_filter(&lane->ready, &lane->ready_tail, match, context, &out);
    while (dropped != NULL) {
        struct lane_entry *entry = dropped;
        dropped = entry->next;
        lane->waiting--;
        each(entry, context);
    }
}
