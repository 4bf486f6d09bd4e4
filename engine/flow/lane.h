/*
 * lane.h - what a lane does next: order within a key, batches, retries in place. No thread, no clock, no I/O.
 *
 * Entries are offered in arrival order and taken in batches of whatever waits (no linger). All events of a key pass
 * through one lane. A batch may hold several entries of a key, in order. When an entry must be tried again, its key
 * is held: its later entries wait behind it, all other keys go on. A batch that breaks is requeued and its entries
 * then run alone, one a batch.
 *
 * Every entry taken comes back through exactly one of done, retry, requeue or isolate, in any order, before the next
 * lane_take() (asserted): one batch at a time. Entries are the caller's memory; the lane links them. Nothing is
 * allocated on the way but a slot for each held key, which is kept for the next one.
 */
#ifndef SLUICE_FLOW_LANE_H
#define SLUICE_FLOW_LANE_H

#include "base/arena.h"
#include "base/map.h"

struct lane_entry {
    uint64_t key_hash;
    struct lane_entry *next; /* the lane's */
    int64_t due_ms;          /* the lane's */
    uint32_t sequence;       /* the lane's: arrival number, for order */
    bool isolated;           /* the lane's: runs alone */
    bool held;               /* the lane's: at the head of its held key */
};

struct lane;
struct lane *lane_create(void);       /* NULL when out of memory */
void lane_destroy(struct lane *lane); /* the entries are the caller's */

void lane_offer(struct lane *lane, struct lane_entry *entry);
/* Up to max entries that may run at now_ms, oldest first, into `ret`; their number. An isolated entry is returned by
 * itself. */
size_t lane_take(struct lane *lane, int64_t now_ms, size_t max, struct lane_entry **ret);
/* When lane_take() would have something: 0 now, INT64_MAX never, else the time of the earliest retry. */
int64_t lane_due(const struct lane *lane, int64_t now_ms);
void lane_done(struct lane *lane, struct lane_entry *entry); /* ended; the lane forgets it */
/* holds its key until then; runs alone no more */
void lane_retry(struct lane *lane, struct lane_entry *entry, int64_t due_ms);
/* as if never taken: to the front, in order */
void lane_requeue(struct lane *lane, struct lane_entry **entries, size_t count);
void lane_isolate(struct lane *lane, struct lane_entry **entries, size_t count); /* requeued, and each runs alone */
size_t lane_waiting(const struct lane *lane);   /* entries inside, held ones included */
size_t lane_held_keys(const struct lane *lane); /* keys with a retry to come, or with entries that waited behind one */
/* Takes everything out, in arrival order, whatever its state (revocation, shutdown): each(entry) for those that
 * `match`. */
void lane_drop(struct lane *lane, bool (*match)(const struct lane_entry *entry, void *context),
               void (*each)(struct lane_entry *entry, void *context), void *context);

#endif
