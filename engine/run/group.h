/*
 * group.h - a running consumer group: its consumer, its lanes, and what of its streams is in flight.
 */
#ifndef SLUICE_RUN_GROUP_H
#define SLUICE_RUN_GROUP_H

#include "flow/tracker.h"
#include "run/halted.h"
#include "run/worker.h"

enum {
    GROUP_LANE_BYTES = 2 * 1024 * 1024,         /* taken from the bus and not finished: for each lane, */
    GROUP_BYTES_MIN = 8 * 1024 * 1024,          /* in all at least, */
    GROUP_BYTES_MAX = 16 * 1024 * 1024,         /* and at most */
    GROUP_WAITING_MAX = 100000,                 /* events that wait for their time, without a store */
    GROUP_WAITING_BYTES_MAX = 64 * 1024 * 1024, /* values of these */
};

struct takeover;

struct group_run {
    struct engine *engine;
    const struct group *config;
    struct bus_consumer *consumer; /* NULL: not subscribed */
    const char **elsewhere;        /* topics that other files of the group have (names.h); likewise */
    const char **others;           /* topics that left the file and are read, too (names.h); NULL-terminated, or NULL */
    pthread_t reader;
    bool reader_started;
    struct worker **workers;
    size_t worker_count;
    atomic_size_t in_flight, in_flight_bytes;
    atomic_size_t waiting, waiting_bytes; /* not in flight: see batch_env.waits */
    atomic_bool paused;
    atomic_bool stop;    /* no new events are taken */
    atomic_llong member; /* bus_member() of the consumer, since the last change of its assignment */
    /* the means of takeover_run(); NULL: nothing of the group is recorded */
    struct takeover *takeover;
    atomic_uint ready;                 /* counts how often events need not wait any more: batch/after.h */
    atomic_uint assignment;            /* counts group_changed() */
    _Atomic(struct intmap *) attempts; /* tries that they counted, by attempt_key(); NULL: none */

    struct halted halted;
    struct { /* while the engine drains */
        pthread_t thread;
        bool started, left;
        int64_t until_ms;
    } leaving;

    pthread_mutex_t lock;      /* the trackers, and the text of halted */
    struct tracker **trackers; /* by stream; NULL: not assigned now */
    size_t tracker_count;
    pthread_cond_t released; /* a lane released revoked streams */
    /* the reader's own; as many as tracker_count (heads, tails: worker_count) */
    uint32_t *streams, *epochs;
    struct position *positions;
    struct lane_entry **heads, ***tails;

    struct series *metric_waiting, *metric_in_flight, *metric_partitions, *metric_lag;
};

/* Whether what some handler of the group does is recorded in the store. */
bool group_is_recorded(const struct engine *engine, const struct group *config);
/* How many bytes of values may be taken from the bus and not finished. */
size_t group_bytes_max(const struct group *config);
/* Streams were assigned, or revoked and released: lanes ask for the keys that are held there before they handle
 * anything more. Any thread. */
void group_changed(struct group_run *group);
/* Its lanes look again at what others may have changed. Any thread. */
void group_wake(struct group_run *group);
/* Items of the group ended, for good or (not complete) because their streams were lost: completes their positions and
 * frees them. Items of one batch are finished together, so that the group's lock is taken once. Any thread. */
void group_waits(struct group_run *group, const struct item *item); /* see batch_env.waits. Any thread */
void group_finish(struct group_run *group, struct item **items, size_t count, bool complete);

#endif
