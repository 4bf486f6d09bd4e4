/*
 * worker.h - the threads that carry events, and what they carry.
 *
 * A worker is one thread with one lane, one connection and one state of each plugin. Workers of a group take the
 * group's events, chosen by the key's hash; request workers take HTTP requests; the schedule worker takes ticks. All
 * of them run the same batches (batch.h). Items are made by the thread that brings them (reader, keeper, listener),
 * live in blocks that are freed with their last item, and belong to exactly one worker from push to finish.
 */
#ifndef SLUICE_RUN_WORKER_H
#define SLUICE_RUN_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "flow/lane.h"
#include "flow/tracker.h"
#include "plugin/plugin.h"
#include "run/engine.h"

enum item_source { ITEM_BUS = 1, ITEM_PARKED, ITEM_REQUEST, ITEM_TICK };

struct item_block;

struct item {
    struct lane_entry entry; /* first: the lane hands entries back as items */
    enum item_source source;
    uint32_t tries;             /* failed tries in place so far */
    uint32_t stalls;            /* batches of its own that ran into their deadline */
    enum dead_reason condemned; /* not 0: judged by an earlier batch that was rolled back for it */
    bool bare;               /* condemned again: its dead letter goes without chains and without the source's headers */
    char *sentence;          /* why; owned */
    struct header *headers;  /* of a parked record; owned */
    struct topic *topic;     /* NULL for requests and ticks */
    struct binding *binding; /* NULL: only a chain watches the topic */
    struct record record;    /* spans into chunk or rows; empty for requests and ticks */
    struct item_block *block;
    /* ITEM_BUS */
    struct bus_chunk *chunk;
    struct position position;
    uint64_t ticket;
    uint32_t stream, epoch;
    /* ITEM_REQUEST */
    struct gateway_request *request;
    /* ITEM_TICK */
    const struct schedule *schedule;
    int64_t slot_ms;
};

/* `count` zeroed items in one allocation, which takes `rows` (may be NULL) with it when the last is released. */
struct item_block *item_block_create(size_t count, struct rows *rows);
struct item *item_block_items(struct item_block *block);
/* room for a list of headers that the item owns; NULL: no memory */
struct header *item_headers(struct item *item, size_t count);
void item_block_release(struct item_block *block, size_t items);

enum worker_kind { WORKER_GROUP = 1, WORKER_REQUEST, WORKER_SCHEDULE };

struct group_run;

struct worker {
    struct engine *engine;
    struct group_run *group; /* NULL but for WORKER_GROUP */
    enum worker_kind kind;
    uint32_t number; /* of the lane, over the whole engine: the `lane` of plugin_open() */
    pthread_t thread;
    bool started;

    /* the inbox: other threads push, the worker takes all of it at once */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lane_entry *inbox_head, **inbox_tail;
    bool stop;                       /* finish the batch, then leave */
    const struct drop_request *drop; /* a revocation: let go of these streams */
    bool idle;                       /* nothing in the inbox, the lane or a batch */

    /* the thread's own */
    struct lane *lane;
    struct connection *connection; /* NULL without a store */
    struct plugin_state *plugins;  /* by plugin_ref.index */
    struct arena *arena;           /* of the batch */
    struct buffer bytes;           /* composed outputs of the batch */
    struct buffer packed;          /* the outbox row */
    int64_t *outbox_ids;           /* published, to be deleted by the next transaction */
    size_t outbox_id_count, outbox_id_size;
    int64_t *doubted; /* rows of commits whose answer was lost: there, and then to be published, or not */
    size_t doubted_count, doubted_size;
    /* of requests and ticks: until then their rows are the sweeper's; 0: the bus is there */
    int64_t bus_away_ms;
    int64_t forget_ms;                /* then by itself */
    uint64_t random;                  /* state of a small generator: jitter */
    size_t held_keys;                 /* as the gauge has it */
    int32_t trouble;                  /* consecutive batches that the store refused */
    int64_t batch_since_ms;           /* taps: when the oldest waiting item came; 0: none waits */
    _Atomic int64_t call_deadline_ms; /* of the handler call in progress; 0: none */
    _Atomic(const char *) call_handler;
};

/* Streams that must be let go. The worker removes their items and counts down `left`. */
struct drop_request {
    const uint32_t *streams; /* whatever the epoch: items of an older one are nobody's already */
    size_t count;
    pthread_mutex_t *lock;
    pthread_cond_t *done;
    size_t *left;
};

struct worker *worker_create(struct engine *engine, struct group_run *group, enum worker_kind kind, uint32_t number);
int worker_start(struct worker *worker, struct error *error);
/* Hands over a list of items linked by entry.next. Any thread. */
void worker_push(struct worker *worker, struct lane_entry *head, struct lane_entry **tail);
void worker_drop(struct worker *worker, const struct drop_request *drop);
bool worker_idle(struct worker *worker);
void worker_stop(struct worker *worker);     /* asks; worker_destroy waits */
void worker_destroy(struct worker *worker);  /* NULL and half-built ones are fine */
double worker_random(struct worker *worker); /* [0, 1) */

/* An item ended, for good or because its stream was lost: tells the tracker (when `complete`) and frees it. Items of
 * one batch are finished together, so that the group's lock is taken once. */
void items_finish(struct worker *worker, struct item **items, size_t count, bool complete);

#endif
