/*
 * item.h - one event on its way through the engine.
 *
 * Items are made by the thread that brings them (reader, keeper, listener), in blocks that are freed with their last
 * item, and belong to exactly one lane from push to finish.
 */
#ifndef SLUICE_BATCH_ITEM_H
#define SLUICE_BATCH_ITEM_H

#include "event/position.h"
#include "flow/lane.h"
#include "pipeline/pipeline.h"

struct bus_chunk;
struct gateway_request;
struct item_block;
struct rows;

enum item_source { ITEM_BUS = 1, ITEM_PARKED, ITEM_HELD, ITEM_REQUEST, ITEM_TICK };

struct item {
    struct lane_entry entry; /* first: the lane hands entries back as items */
    enum item_source source;
    uint32_t tries; /* failed tries in place so far, those of earlier owners of the partition included */
    /* Its try failed together with its transaction: the next batch counts it, and calls no handler. 0: it did not. */
    enum dead_reason failed;
    bool has_slot;      /* of its topic's limit: its handler may be called */
    bool queued;        /* it has waited for one, in memory */
    bool postponed;     /* suspected of a hang: others have had their turn */
    bool quarantined;   /* suspected of ending the process: in a batch of its own it runs while no other lane does */
    uint32_t suspected; /* of either: sluice.suspect has a row of it, which says that it was so many times; 0: none */
    bool waits;         /* for its time, in the lane, under a key of its own: see item_wait_apart() */
    bool waited;        /* likewise, or it has: it has left its key's order */
    bool isolate;       /* it broke a batch of its own: whenever it comes again, it runs alone */
    /* Since it broke the last batch for its own sake, batches of its own ended by an outage after its handler was
     * called; and how many in a row lost the connection while nobody else's was lost, or only by the crash of the
     * server process: connection_outages() and connection_crashes() as they were at the last one. */
    uint32_t outages, losses;
    uint64_t losses_since, crashes_since;
    const char *refused_sql; /* the statement that was refused for it, see batch/stopped.h; and what had passed then */
    unsigned refused_passed;
    /* Judged by an earlier batch, which was rolled back for it: the next one makes it a dead letter. 0: not. */
    enum dead_reason condemned;
    uint64_t first_span;     /* of its first try that was recorded as a span here; 0: none was */
    bool minimal;            /* condemned again: its dead letter goes without chains and without the source's headers */
    int64_t wait_until_ms;   /* an earlier batch, which was rolled back for it, found that it must wait; 0: not */
    int64_t came_ms;         /* when the group first had it, monotonic; 0: just now. See after.h */
    int64_t uncertain_row;   /* outbox row of its last batch whose COMMIT lost its reply; 0: none */
    char *sentence;          /* why it failed, is condemned, or waits; owned */
    struct header *headers;  /* of a parked or held record; owned. Of one that waited all of its record */
    uint64_t waiting_key;    /* while it waits: its key's hash */
    struct topic *topic;     /* NULL for requests and ticks, and for topics that the pipeline does not know */
    struct binding *binding; /* NULL: no handler here is bound to the topic */
    struct record
        record; /* spans into chunk or rows; of requests and ticks only topic and value, their names and body */
    struct item_block *block;
    const struct chain_watch *timed_out; /* of ITEM_PARKED: the timeout of a chain is over, and no event passed */
    /* Of ITEM_PARKED: a timer of this chain (in sluice.name) is due, and its record is to be emitted; 0: an event is.
     * Its row, whose id is not the event's, ends in batch/timers.c. */
    int16_t timer;
    struct event_id timer_id;
    struct span timer_record; /* as the row had it, in rows */
    /* ITEM_BUS */
    bool other_file; /* as in struct bus_record: other processes of the group have another file, which handles it */
    struct bus_chunk *chunk;
    struct position position;
    uint64_t ticket;
    uint32_t stream, epoch;
    /* ITEM_HELD: its row in sluice.held */
    int64_t held_id, held_offset;
    bool needs; /* its row says that it waits for another event: batch/after.h */
    int32_t held_partition;
    struct span held_stream;
    /* ITEM_REQUEST */
    struct gateway_request *request;
    /* ITEM_TICK */
    const struct schedule *schedule;
    int64_t slot_ms;
};

/* An event passes: it is no timeout or timer of a chain. */
static inline bool item_is_event(const struct item *item)
{
    return item->timed_out == NULL && item->timer == 0;
}
/* What the item is to chains. */
static inline const struct chain_watch *item_watches(const struct item *item, size_t *ret_count)
{
    bool passes = item->topic != NULL && item_is_event(item);
    *ret_count = item->timed_out != NULL ? 1 : passes ? item->topic->watch_count : 0;
    return item->timed_out != NULL ? item->timed_out : passes ? item->topic->watches : NULL;
}

/* `count` zeroed items in one allocation, which takes `rows` (may be NULL) with it when the last is released. NULL: no
 * memory. */
struct item_block *item_block_create(size_t count, struct rows *rows);
struct item *item_block_items(struct item_block *block);
/* This many items of the block are not used any more; any thread. */
void item_block_release(struct item_block *block, size_t items);

/* The one place where a record of a group becomes an item. `topic`: as the pipeline knows it, or NULL. */
void item_of_record(struct item *item, enum item_source source, const struct record *record, uint64_t key_hash,
                    struct topic *topic, const struct group *group);
/* The topic of its record has another name now (`renamed`): from here on it is on the new one. */
void item_rename(struct item *item);
/* An operator cancelled it, unless `why` is empty: the next batch makes it a dead letter, and calls no handler. */
void item_cancel(struct item *item, struct span why);
/* Where a try count that was stored is found in env->attempts. */
uint64_t attempt_key(int16_t handler, struct event_id id);
/* The item gets a list of headers of its own, beside its bytes. 0 or -ENOMEM. */
int item_own_headers(struct item *item);
/* The item as it waits in its lane for longer than those around it live: by itself, with its record's bytes, under a
 * key that no other has. The one that is given is over. NULL: no memory; then it is as it was. */
struct item *item_wait_apart(struct item *item);
void item_wait_over(struct item *item); /* it has its key again; one that does not wait stays as it is */
/* The items are over: what they own, their chunks and their blocks are released. Items of a batch mostly come in runs
 * of one block and one chunk, which costs one atomic each. Any thread. */
void items_free(struct item **items, size_t count);

#endif
