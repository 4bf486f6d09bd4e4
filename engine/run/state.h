/*
 * state.h - the running engine, as the files of run/ share it. Immutable once it is open but for what is atomic or
 * says otherwise; until then the opener fills in numbers and subscribes groups.
 */
#ifndef SLUICE_RUN_STATE_H
#define SLUICE_RUN_STATE_H

#include "run/engine.h"
#include "run/group.h"
#include "run/life.h"
#include "run/pauses.h"
#include "run/timer.h"

enum {
    ENGINE_INTERRUPTED_MS = 5000, /* how long what was interrupted may take to end */
    ENGINE_REQUEST_WORKERS =
        2, /* one for GET, one for what writes: who polls for an answer holds up nobody who posts */
    ENGINE_REQUESTS_MAX = 1024, /* waiting for an answer */
};

struct keeper;

struct engine {
    struct engine_parts parts;
    const struct pipeline *config;
    struct bus *bus;
    struct store *store;
    struct metrics *metrics;
    struct map *topics;                  /* name → struct topic */
    struct topic_run *topic_runs;        /* by topic.index */
    struct binding_run *bindings;        /* by binding.index */
    struct dependency_run *dependencies; /* by dependency.index */
    struct batch_numbers numbers;        /* filled before `open` */
    struct arena *names;                 /* what groups[].others point into; NULL: not looked at yet */
    int64_t incarnation;                 /* of this process, never 0: whose rows in the outbox are its lanes' */
    struct group_run *groups;
    size_t group_count;
    struct worker **requests; /* ENGINE_REQUEST_WORKERS, when there are requests */
    size_t request_worker_count;
    struct worker *scheduler;     /* NULL without schedules */
    atomic_bool *ticks_in_flight; /* by schedule */
    atomic_size_t requests_waiting;
    atomic_size_t parked_in_flight; /* taken from the database and not ended */
    atomic_ullong request_count;
    struct timer parked_timer; /* the keeper's */
    struct pauses pauses;
    atomic_bool keys_held; /* some are held in the database, of whatever group: lanes look for theirs */
    struct keeper *keeper;
    struct connection *opening; /* the opener's, until `open`; NULL: there is no store */
    bool checked;               /* the opener's: the database was, a moment ago */
    pthread_t opener;
    bool opener_started;
    atomic_bool begun;        /* it does not wait (any more) for engine_begin() */
    atomic_bool looked;       /* while it waited, nothing was found against it */
    atomic_bool has_turn;     /* see engine_has_turn() */
    atomic_size_t lanes_open; /* they have opened their plugins */
    atomic_bool store_open;   /* the database was looked at and is good, or there is none */
    atomic_bool open;         /* names are known, groups are subscribed: it can take work */
    struct life life;
    struct surroundings surroundings;
    pthread_rwlock_t quarantine; /* see batch_env */
};

#endif
