/*
 * table.h - the memory that master and worker process share, for the files of guard/.
 */
#ifndef SLUICE_GUARD_TABLE_H
#define SLUICE_GUARD_TABLE_H

#include "guard/handover.h"
#include "guard/suspects.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call_phase { CALL_OVER = 0, CALL_RETURNED, CALL_OPEN };

struct lane_call { /* the call that a lane is in, or was in last */
    atomic_int phase;
    atomic_uint count;
    atomic_uint progress;                /* events up to here have their verdict */
    atomic_llong opened_ms, deadline_ms; /* monotonic */
    atomic_bool quarantined;
    struct event_id ids[SUSPECT_CALL_MAX];
};

/* See handover.h. */
struct handover {
    atomic_bool successor;
    atomic_int stage;           /* enum handover_stage */
    char why[HANDOVER_WHY_MAX]; /* written before the process ends */
};

struct suspect_row {
    struct event_id id;
    bool used;
    bool apart, last, alone;       /* how it is isolated */
    uint32_t faults, kills, hangs; /* while it ran alone */
    uint32_t kills_seen;           /* kills in its call, alone or not */
    uint32_t times;                /* ends of any kind, alone or not */
    uint32_t suspensions;
    int64_t suspended_until_ms; /* monotonic; 0: not suspended */
    int64_t touched_ms;
    struct process_ending ending; /* the latest */
};

/* Of an engine: the worker that takes another one's place knows what that one is suspected of. */
struct suspect_rows {
    atomic_uint count;    /* rows in use */
    atomic_uint end;      /* no row from here on was ever used */
    pthread_mutex_t lock; /* the rows; shared between processes and robust */
    struct suspect_row rows[SUSPECT_TABLE_MAX];
};

/* Of a worker process and those that replace it when it ends. */
struct suspects {
    struct suspect_rows *known;
    pid_t master;
    atomic_uint said;            /* to the worker: counts what the master or a signal changed; a futex */
    atomic_llong rests_until_ms; /* the master; monotonic; 0: it looks soon. See attention.h */
    atomic_int asked;
    atomic_bool decided;                 /* the worker ends because the engine is over */
    atomic_bool ready;                   /* the worker takes work */
    atomic_uint alive;                   /* how often it said that it is alive */
    atomic_int noted_lane;               /* lane + 1 of the call that ended the process; 0: nothing is noted */
    atomic_int noted_kind, noted_number; /* written before noted_lane; kind 0: as waitpid() says */
    struct handover handover;
    struct lane_call calls[SUSPECT_LANES_MAX];
};

/* From a worker: the master looks now. It waits for SIGCHLD anyway, and then finds no child that ended; a descriptor
 * could be closed by a handler. */
static inline void wake_master(pid_t master)
{
    if (master != getpid())
        kill(master, SIGCHLD);
}

/* The worker's main loop goes round now. */
static inline void wake_worker(struct suspects *suspects)
{
    atomic_fetch_add(&suspects->said, 1);
    syscall(SYS_futex, &suspects->said, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
