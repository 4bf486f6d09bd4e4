/*
 * env.h - what a lane hands to its batches: everything that batch/ knows of the rest of the engine.
 *
 * One a lane, made before its thread starts and used on that thread; other threads only read the call in progress and
 * interrupt it, or the connection. What it points to outlives it. batch/ sees neither the engine nor the threads
 * around it, so that a test or a simulation can stand in for them: it brings a fake store, a fake bus and the three
 * functions below.
 */
#ifndef SLUICE_BATCH_ENV_H
#define SLUICE_BATCH_ENV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/surroundings.h"
#include "batch/item.h"
#include "bus/bus.h"
#include "guard/suspects.h"
#include "plugin/plugin.h"
#include "store/store.h"

enum { STOP_SENTENCE_MAX = 600 };

struct handler_stop {                /* see stopped.h */
    _Atomic(const char *) statement; /* refused, and not passed since; NULL: none */
    atomic_ullong event;             /* the last one that it was refused for, hashed */
    atomic_uint passed;              /* how often such a statement passed after all */
    atomic_llong until_ms;           /* the handler's events wait until then, monotonic; 0: they do not */
    pthread_mutex_t lock;            /* of the sentence: why it is stopped, or was last */
    char sentence[STOP_SENTENCE_MAX];
    struct series *series; /* METRIC_HANDLER_STOPPED */
};

struct binding_run {        /* by binding.index */
    int16_t number;         /* in sluice.name */
    bool records;           /* its events are claimed in the inbox */
    atomic_int unavailable; /* consecutive calls that found something outside unavailable */
    struct handler_stop stop;
    atomic_bool paused;              /* by operators: of a tap, schedule or request; a topic's is in topic_run */
    atomic_llong paused_until_ms;    /* since 1970 UTC: when it will not be; INT64_MAX: when somebody resumes it */
    atomic_bool changes_session;     /* it did once: named in the log */
    struct series **by_outcome;      /* [outcome_count] */
    struct series *dead;             /* dead letters, of events; others have none: NULL, like what follows for events */
    struct series *refused, *failed; /* requests that were the client's fault; requests and ticks that were not */
    struct series *duplicates, *again, *retries, *seconds;
};

struct topic_run {         /* by topic.index */
    atomic_bool paused;    /* its events, or its handler, by operators; or what it depends on, by its breaker too */
    atomic_bool half_open; /* then: nothing but its half-open breaker says so, and one event may try it */
    struct series *emitted, *dead;
    struct series *limited; /* METRIC_LIMIT_WAITING; NULL: it has no limit of its own */
};

enum { DEPENDENCY_WORDS_MAX = 300 };

struct dependency_run {   /* by dependency.index */
    atomic_int failures;  /* calls that failed and are not counted in the store yet */
    atomic_bool trying;   /* a lane of this process tries the half-open breaker */
    pthread_mutex_t lock; /* of the words: what the last call that failed said */
    char words[DEPENDENCY_WORDS_MAX];
    struct series *state; /* METRIC_DEPENDENCY */
};

/* The numbers of names in sluice.name, filled when the database was opened, before any event comes. */
struct batch_numbers {
    int16_t *groups, *chains, *schedules; /* by their index in the pipeline */
    int32_t *definitions;                 /* of chains, likewise: sluice.chain_definition */
    /* by the answer's index in the pipeline: the handler under which events of a retired topic or tap are recorded, so
     * that one that it had handled is a duplicate; 0: chain_handler */
    int16_t *retired_topics, *retired_taps;
    int16_t chain_handler; /* the handler under which events are recorded that only a chain watches */
};

/* An outbox row that is to be published before the lane goes on, if it is there: its COMMIT lost its reply, or it is of
 * another process, whose events came again. */
struct uncertain_row {
    int64_t id;
    bool over;     /* its transaction is: the row is there by now, or never will be */
    bool dropped;  /* its events are not this lane's any more, or some are not: it is to be released */
    bool released; /* any process may publish it, and may have done so */
};

/* Outbox rows of this lane, see outbox.h. */
struct outbox_lane {
    int64_t owner;      /* who publishes the lane's rows: this process, or 0: the sweeper */
    int64_t *published; /* ids of rows that are published, to be deleted by the next transaction */
    size_t published_count, published_size;
    struct uncertain_row *uncertain;
    size_t uncertain_count, uncertain_size;
    int64_t bus_down_ms; /* of requests and ticks: until then their rows are left to the sweeper; 0: they are not */
};

struct tracer;

struct batch_env {
    /* the pipeline and its tables */
    const struct pipeline *config;
    struct binding_run *bindings;
    struct topic_run *topics;
    struct dependency_run *dependencies;
    const struct map *topic_names; /* name → struct topic */
    const struct batch_numbers *numbers;

    /* this lane's own */
    uint32_t lane_number;
    size_t lane_index, lane_count; /* in its group */
    struct lane *lane;
    struct connection *connection; /* NULL without a store */
    struct plugin_state *plugins;  /* by plugin_ref.index */
    struct arena *arena;           /* of the batch; whoever runs the batch resets it afterwards */
    struct buffer bytes;           /* composed outputs of the batch */
    struct buffer packed;          /* its outbox row */
    struct outbox_lane outbox;
    struct limits *limits;                 /* batch/limit.c; NULL: none yet */
    struct intmap *held_pasts;             /* batch/held.c; NULL: none */
    bool some_wait;                        /* for another event: batch/after.c; whose turn it is is looked for */
    int64_t after_look_ms;                 /* then, monotonic */
    struct chain_definitions *definitions; /* of before that chains in this database began with; see definitions.h */
    uint64_t random;                       /* state of random_unit() */
    int32_t store_failures;                /* consecutive batches that the store refused */
    _Atomic int64_t call_deadline_ms;      /* of the handler call in progress, monotonic; 0: none. Read by any thread */
    _Atomic(const char *) call_handler;    /* of that call, or of the last one */
    atomic_bool interrupted;               /* by any thread: a call in another process is waited for no longer */
    /* What the lane does, and a number that changes whenever it begins something else: batch_env_at(). Read by any
     * thread */
    _Atomic(const char *) at;
    atomic_uint moves;

    /* its group; all NULL for requests and ticks */
    const struct group *group;
    struct bus_consumer *const *consumer;
    const atomic_llong *member;               /* see bus_member() */
    _Atomic(struct intmap *) const *attempts; /* tries that earlier owners counted, by attempt_key(); NULL map: none */
    struct series *batches, *batch_events, *batch_seconds;

    /* the process's */
    const atomic_uint *pauses; /* how many are in effect: mostly none, and nothing else is looked at; NULL: none ever */
    struct bus *bus;
    const struct surroundings *surroundings; /* put back after each call of a handler; NULL: not */
    struct tracer *tracer;                   /* NULL: no traces are recorded */
    struct suspects *suspects;               /* NULL: nobody watches for crashes */
    pthread_rwlock_t *quarantine; /* a batch reads; one that may crash writes: it runs while no other lane does */
    const atomic_bool *draining;

    void *context; /* of these: */
    /* Sleeps, but not past the engine's stop. False when it stops. */
    bool (*sleep)(void *context, int64_t ms);
    /* These items ended, for good or (not complete) because their streams were lost. Takes them. */
    void (*finish)(void *context, struct item **items, size_t count, bool complete);
    /* This item waits in its lane for its time, by itself, and is not in flight any more until it ends. */
    void (*waits)(void *context, const struct item *item);
    /* Something was parked until then, wall time. */
    void (*parked)(void *context, int64_t due_wall_ms);
    /* Events that waited for another one need not: some lane of the group may have them. */
    void (*ready)(void *context);
    /* Names of the streams that are assigned to this process now (bus_stream_name()); their number. */
    size_t (*streams)(void *context, struct arena *arena, struct span **ret);
};

/* On the lane's thread: it begins `what`, a literal. */
static inline void batch_env_at(struct batch_env *env, const char *what)
{
    unsigned moves = atomic_load_explicit(&env->moves, memory_order_relaxed);
    atomic_store_explicit(&env->at, what, memory_order_relaxed);
    atomic_store_explicit(&env->moves, moves + 1, memory_order_relaxed);
}

#endif
