/*
 * state.h - what the rooms of run/ share: the engine and its groups.
 *
 * Immutable after engine_start() but for what says otherwise.
 */
#ifndef SLUICE_RUN_STATE_H
#define SLUICE_RUN_STATE_H

#include "run/worker.h"

enum {
    RUN_IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024, /* taken from the bus by a group and not finished */
    RUN_REQUEST_WORKERS = 2,
    RUN_REQUESTS_MAX = 1024, /* waiting for an answer */
    RUN_ADDS_MAX = 10000,    /* outputs of one call beyond its events */
};

struct group_run {
    struct engine *engine;
    const struct group *group;
    struct bus_consumer *consumer;
    pthread_t reader;
    bool reader_started;
    struct worker **workers;
    size_t worker_count;
    atomic_size_t in_flight, in_flight_bytes;
    atomic_bool paused;
    atomic_bool stop; /* no new events are taken */
    atomic_llong member;
    /* what earlier owners of our partitions left; NULL: nothing of the group is recorded */
    struct inheritance *inheritance;
    _Atomic(struct intmap *) attempts; /* tries that they counted, by attempt_key(); NULL: none */

    pthread_mutex_t lock;      /* the trackers */
    struct tracker **trackers; /* by stream; NULL: not ours now */
    size_t tracker_count;
    pthread_cond_t released; /* a worker let go of revoked streams */
    /* the reader's own, as long as trackers (lists: as workers) */
    uint32_t *streams, *epochs;
    struct position *positions;
    struct lane_entry **heads, ***tails;

    struct series *metric_waiting, *metric_in_flight, *metric_partitions, *metric_lag, *metric_batches,
        *metric_batch_events, *metric_batch_seconds;
};

struct binding_run {            /* by binding.index */
    int16_t number;             /* in sluice.name */
    bool records;               /* its events are claimed in the inbox */
    atomic_int away;            /* consecutive calls that found something outside away */
    struct series **by_outcome; /* [outcome_count] */
    struct series *dead, *duplicates, *retries, *seconds;
};

struct engine {
    struct engine_parts parts;
    const struct pipeline *pipeline;
    struct bus *bus;
    struct store *store;
    struct metrics *metrics;
    struct map *topics;           /* name → struct topic */
    struct topic_run *topic_runs; /* by topic.index */
    struct binding_run *bindings;
    int16_t *group_numbers, *chain_numbers, *schedule_numbers;
    int64_t incarnation;   /* of this process, never 0: whose rows in the outbox are its lanes' */
    int16_t chain_handler; /* the number under which events are recorded that only a chain watches */
    struct group_run *groups;
    size_t group_count;
    struct worker **requests; /* RUN_REQUEST_WORKERS, when there are requests */
    size_t request_worker_count;
    struct worker *scheduler; /* NULL without schedules */
    atomic_size_t requests_waiting;
    atomic_size_t parked_in_flight; /* taken from the database and not ended */
    atomic_ullong request_count;
    struct keeper *keeper;
    pthread_t opener;
    bool opener_started;
    atomic_bool store_open; /* the database was looked at and is good, or there is none */
    atomic_bool open;       /* names are known, groups are subscribed: it can take work */
    atomic_bool stop;
    atomic_bool draining;
    pthread_rwlock_t quarantine; /* a batch reads; one that may crash writes: it runs while no other lane does */
    pthread_mutex_t fault_lock;
    struct error fault;        /* code 0: none */
    pthread_mutex_t wait_lock; /* interruptible sleeps */
    pthread_cond_t wait_wake;
};

struct topic_run {
    struct series *emitted, *dead;
};

/* inherit.c */
uint64_t attempt_key(int16_t handler, struct event_id id);
bool inherit_prepare(struct group_run *group); /* before the group is subscribed to; false: no memory */
/* Partitions were assigned: takes over what their earlier owners left, before anything of them is read. Waits a
 * while when the database or the bus is away. */
void inherit(struct group_run *group);
void inherit_forget(struct group_run *group);

void engine_set_fault(struct engine *engine, const struct error *error); /* the first one counts */
/* Sleeps, but not past engine_stop(). False when stopping. */
bool engine_sleep(struct engine *engine, int64_t ms);

int reader_start(struct group_run *group, struct error *error); /* reader.c */
/* Hands the group over; joins. What runs may go on until until_ms (monotonic), then its statements are interrupted.
 * False when a handler does not come back even so: then nothing of the engine may be freed. */
bool reader_stop(struct group_run *group, int64_t until_ms);

int keeper_start(struct engine *engine, struct error *error); /* keeper.c */
void keeper_stop(struct engine *engine);                      /* its thread is gone; keeper_due() still works */
void keeper_destroy(struct engine *engine);
void keeper_due(struct engine *engine, int64_t due_wall_ms); /* something was parked until then */

#endif
