/*
 * lane.h - what a lane does next: order within a key, batches, retries in place. No thread, no clock, no I/O.
 *
 * Entries are offered in arrival order and taken in batches of whatever waits (no linger). All events of a key pass
 * through one lane. A batch may hold several entries of a key, in order. When an entry must be tried again, its key
 * is held: its later entries wait behind it, all other keys go on. A batch that breaks is requeued and its entries
 * then run alone, one a batch.
 *
 * A key that must wait for longer than a moment is stored: its events are rows of a table, in order, and the lane keeps
 * only the key and when it is due. Its entries here, and those that are offered from then on, are taken with `append`
 * set: they are not to be handled, but written behind its rows. When it is due, lane_fetch() names it; what the caller
 * reads from the table comes in through lane_offer_stored(), and is handled in order. Once all of that has ended it is
 * due again, until a fetch finds nothing and the key is free. A lane stores keys by itself, when more than a number of
 * entries wait behind a retry; lane_use_store() allows it.
 *
 * A key may wait for the end of a pause instead of a time, in memory or stored: `pause` is a number of the caller's,
 * and lane_resume() makes due what waits for pauses that are over.
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
    uint32_t pause;          /* the lane's: what it waits for instead of due_ms; 0: nothing */
    bool isolated;           /* the lane's: runs alone */
    bool held;               /* the lane's: at the head of its held key */
    bool stored;             /* the lane's: it has a row in the table, from which it was read */
    bool append;             /* the lane's, when it is taken: its key is stored, and it goes behind its rows */
    bool unordered;          /* the caller's: it has lost its place in its key's order, and does not wait for rows */
};

struct lane_fetch { /* a stored key that is due */
    uint64_t key_hash;
    /* Until its head was due, not for the end of a pause: that may have to wait again, so it is fetched by itself. */
    bool waited;
};

/* The one place where a key's lane is chosen: an index of `lanes`. */
static inline size_t lane_of_key(uint64_t key_hash, size_t lanes)
{
    return (key_hash >> 17) % lanes;
}

struct lane;
struct lane *lane_create(void);       /* NULL when out of memory */
void lane_destroy(struct lane *lane); /* the entries are the caller's */

/* Keys may be stored: at most keys_max, and without being asked those with followers_max entries behind a retry; and
 * those that wait for the end of a pause, with which nothing is done until then, at most paused_max. */
void lane_use_store(struct lane *lane, size_t followers_max, size_t keys_max, size_t paused_max);

void lane_offer(struct lane *lane, struct lane_entry *entry);
/* Up to max entries that may run at now_ms, oldest first, into `ret`; their number. An isolated entry is returned by
 * itself. */
size_t lane_take(struct lane *lane, int64_t now_ms, size_t max, struct lane_entry **ret);
/* When lane_take() or lane_fetch() would have something: 0 now, INT64_MAX never, else the time of the earliest. */
int64_t lane_due(const struct lane *lane, int64_t now_ms);
void lane_done(struct lane *lane, struct lane_entry *entry); /* ended; the lane forgets it */
/* holds its key until then; runs alone no more */
void lane_retry(struct lane *lane, struct lane_entry *entry, int64_t due_ms);
void lane_retry_after(struct lane *lane, struct lane_entry *entry, uint32_t pause); /* the same until its end */
/* Every key that waits for a pause that is over(pause) is due. over() may let a number of keys go: they take turns. */
void lane_resume(struct lane *lane, bool (*over)(uint32_t pause, const void *context), const void *context);
/* as if never taken: to the front, in order */
void lane_requeue(struct lane *lane, struct lane_entry **entries, size_t count);
void lane_isolate(struct lane *lane, struct lane_entry **entries, size_t count); /* requeued, and each runs alone */
size_t lane_waiting(const struct lane *lane); /* entries inside, held ones included */
/* keys with a retry to come, or with entries that waited behind one, and stored ones */
size_t lane_held_keys(const struct lane *lane);

/* Whether this key may be stored: it is, or there is room for one more. */
bool lane_may_store(const struct lane *lane, uint64_t key_hash, bool paused);
/* From now on the key's events are in the table, and its head there is due then. What was fetched of them and has not
 * been handled is taken with `append`, too: its rows stand. */
void lane_store(struct lane *lane, uint64_t key_hash, int64_t due_ms);
void lane_store_after(struct lane *lane, uint64_t key_hash, uint32_t pause); /* the same until the end of a pause */
/* Likewise, of one that waits for something else, and so long at most: it has the room of those that a pause holds. */
void lane_store_until(struct lane *lane, uint64_t key_hash, int64_t due_ms);
#define LANE_UNTIL UINT32_MAX /* what lane_found() calls it */
/* The same of a key that was found in the table. One that is stored already only gets the time, while it waits.
 * pause 0: there is none. */
void lane_found(struct lane *lane, uint64_t key_hash, int64_t due_ms, uint32_t pause);
/* Up to max stored keys that are due; their number. Each must be answered by lane_offer_stored() for what was found, in
 * order, or by lane_free() when nothing was, or by lane_store() when nobody knows. */
size_t lane_fetch(struct lane *lane, int64_t now_ms, size_t max, struct lane_fetch *ret);
void lane_offer_stored(struct lane *lane, struct lane_entry *entry);
bool lane_waits_for_pause(const struct lane *lane, uint64_t key_hash);
void lane_free(struct lane *lane, uint64_t key_hash); /* no event of the key is in the table */
void lane_forget_stored(struct lane *lane);           /* keys are stored for somebody else now */
size_t lane_stored_keys(const struct lane *lane);

/* Takes everything out, in arrival order, whatever its state (revocation, shutdown): each(entry) for those that
 * `match`. */
void lane_drop(struct lane *lane, bool (*match)(const struct lane_entry *entry, void *context),
               void (*each)(struct lane_entry *entry, void *context), void *context);

#endif
