/*
 * master.h - a process that does nothing but keep another one running, and have its successor take its place.
 */
#ifndef SLUICE_GUARD_MASTER_H
#define SLUICE_GUARD_MASTER_H

#include "base/buffer.h"
#include "base/notify.h"
#include "guard/handover.h"
#include "guard/suspects.h"

/* A worker process, for itself. */
struct master_worker {
    struct suspects *suspects; /* NULL: it runs without a master */
    int leaves;                /* a file in memory: what it leaves to its successor; -1: it has none */
    int finds;                 /* what its predecessor left, or another one that it takes the place of; -1: none */
};

/* How a reload ended. */
struct master_reload {
    bool plan;               /* nothing was to be done: only whether it could be */
    bool accepted;           /* what was read runs now, or with `plan` could run */
    const void *old, *files; /* what ran before; what was read, NULL when it could not be */
    const char *why;         /* not accepted: sentences */
    int64_t duration_ms;
};

/* What the master runs, and whoever it asks. `files` is what the configuration and all that it names said when they
 * were read; the master only keeps it. */
struct master_work {
    /* The worker process; returns its exit status. */
    int (*run)(const struct master_worker *me, void *files);
    /* Reads the files again, for a successor of `old`. NULL with sentences in *ret_why: they cannot run. */
    void *(*read)(void *context, const void *old, struct buffer *ret_why);
    void (*use)(void *context, const void *files); /* before each fork: a worker of these starts */
    void (*forget)(void *context, void *files);    /* nothing runs them any more */
    bool (*hangup)(void *context);                 /* SIGHUP came: false when it asks for the end, else for a reload */
    bool (*asked)(void *context, bool *ret_plan);  /* at each look: whether a worker asks for a reload */
    void (*answer)(void *context, const struct master_reload *reload);
    void *context;
};

/* Forks a worker that runs `files` and exits with what it returns. SIGTERM and SIGINT are the operator's: they go to
 * the worker, and the master leaves with its exit code. Those that the worker or its children send are ignored. A
 * worker that ends otherwise is replaced, with a growing pause when it did not run for long and nobody is to blame; one
 * whose handler does not return within its deadline and 750 ms is ended. A worker ends with its master.
 *
 * SIGHUP, or a worker that asks, reloads: the files are read again, and a successor is started beside the worker
 * (handover.h). When it cannot begin, the worker goes on; when it cannot go on once it has begun, a worker of the old
 * files takes its place. answer() is told either way.
 *
 * The service manager is told what the worker says: that it is ready, that its main loop goes round, that it is
 * reloaded, and that it ends, within stop_ms. Where run() is called without a master (no memory to share), it tells
 * that itself. */
int master_run(const struct master_work *work, void *files, struct notify *notify, int64_t stop_ms);

#endif
