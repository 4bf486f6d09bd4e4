/*
 * lane_parts.h - what the files of a lane share: its queues, heaps and keys. Nobody else includes it.
 *
 *   lane_queue.c   entries in the order of their arrival
 *   lane_heap.c    keys by when they are due, or by the arrival of their head
 *   lane.c         the lane: what may run, batches, retries
 *   lane_stored.c  keys whose events are rows of a table
 */
#ifndef SLUICE_FLOW_LANE_PARTS_H
#define SLUICE_FLOW_LANE_PARTS_H

#include "flow/lane.h"

struct lane_queue { /* sorted by arrival */
    struct lane_entry *head, *tail;
    /* the last one put in between; what comes back comes in order, so the next goes just behind it */
    struct lane_entry *hint;
};

struct lane_key {
    uint64_t key_hash;
    struct lane_queue queue; /* empty between calls only when the key is stored */
    size_t length;           /* of it */
    bool stored;
    bool running;           /* what was fetched of it may run; else its head waits until due_ms */
    size_t fetched;         /* entries that were, and have not ended */
    int64_t due_ms;         /* of its head; 0: a pause was over */
    uint32_t pause;         /* what its head waits for instead; 0: nothing */
    struct lane_heap *heap; /* the one it is in */
    size_t at;              /* its index there */
    int64_t rank;           /* what that heap is ordered by */
    struct lane_key *next;  /* while unused, or on lane_drop()'s list */
};

struct lane_heap {
    struct lane_key **keys;
    size_t count, size;
};

struct lane {
    struct lane_queue ready;
    struct intmap *keys; /* key_hash → struct lane_key */
    struct lane_heap now, later, stored;
    struct lane_key *unused;
    struct arena *arena; /* of the keys and the heaps' arrays */
    size_t waiting, out;
    size_t stored_keys, stored_max, followers_max; /* stored_max 0: keys are not stored */
    size_t paused_keys, paused_max;                /* of stored_keys those that wait for the end of a pause */
    uint64_t arrivals;
    size_t resume_at; /* in `keys`: where lane_resume() begins */
};

static inline bool lane_older(const struct lane_entry *a, const struct lane_entry *b)
{
    return (int32_t)(a->sequence - b->sequence) < 0; /* right across the wrap of the counter */
}

void queue_insert(struct lane_queue *queue, struct lane_entry *entry);
struct lane_entry *queue_pop(struct lane_queue *queue); /* of one that is not empty */
/* Moves what matches out of the queue into `dropped`, a list in no order; the others keep theirs. Their number. */
size_t queue_drop(struct lane_queue *queue, bool (*match)(const struct lane_entry *entry, void *context), void *context,
                  struct lane_entry **dropped);
struct lane_entry *entries_sort(struct lane_entry *list); /* by arrival */

void heap_add(struct lane *lane, struct lane_heap *heap, struct lane_key *key, int64_t rank);
void heap_leave(struct lane_key *key); /* the heap it is in; none is fine */

/* lane.c */
struct lane_key *lane_key(const struct lane *lane, uint64_t key_hash); /* NULL: not held */
struct lane_key *lane_hold(struct lane *lane, uint64_t key_hash);      /* a new one */
void lane_place(struct lane *lane, struct lane_key *key); /* puts the key where its head belongs, or ends it */
void lane_settle(struct lane *lane);                      /* makes the front of `ready` one that may run */
void lane_arrive(struct lane *lane, struct lane_entry *entry, bool stored);
/* lane_store(), lane_store_after(), without settling */
void key_wait_for(struct lane *lane, struct lane_key *key, uint32_t pause); /* 0: for none */
void key_store(struct lane *lane, struct lane_key *key, int64_t due_ms, uint32_t pause);

#endif
