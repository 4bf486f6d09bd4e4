/*
 * crash.h - where the process of an engine dies, in a test, and what its death leaves.
 *
 * A place is a failpoint and which time it is reached. The engine of a flow test runs in the caller's thread: there it
 * is left in the middle of what it does, and everything that only it knew is lost. Its connections are cut, as the
 * kernel would, so that the server rolls back what was open. One test a process.
 */
#ifndef SLUICE_FLOWTEST_CRASH_H
#define SLUICE_FLOWTEST_CRASH_H

#include "flowtest/flow.h"
#include "pipeline/pipeline.h"
#include "store/store.h"

#include <setjmp.h>

enum { CRASH_DESCRIPTORS_MAX = 1024 };

struct crash_place {
    const char *failpoint;
    size_t reach; /* 1: the first time */
};

struct crash { /* of the one engine that runs */
    struct arena *arena;
    struct armed *armed;
    struct crash_place *names; /* how often each failpoint was reached since `notes` */
    size_t name_count;
    /* Of those reaches, in order, each that may leave something else than the ones before it: the first one of a
     * failpoint, and each first one after something outside of the process has changed. */
    struct crash_place *places;
    size_t place_count;
    bool notes, changed;
    struct connection *looks;         /* of its own, to see whether the database has changed; NULL: there is none */
    int64_t ended;                    /* what it saw the last time */
    bool inside;                      /* crash_run() */
    const char *died;                 /* where, the last time, for people: "at lane.commit.after" */
    bool kept[CRASH_DESCRIPTORS_MAX]; /* sockets that were open before */
    jmp_buf out;
};

/* From now on failpoints are looked at. Sockets that are open now are none of this process's. */
void crash_begin(struct crash *crash, struct arena *arena);
/* Notes places from now on. `looks`: a connection that nobody else uses, or NULL without a database. */
void crash_note(struct crash *crash, struct connection *looks);
/* Dies there, the next time. -EINVAL with a sentence: nothing of `pipeline` is called so. */
int crash_arm(struct crash *crash, const struct pipeline *pipeline, const struct step *step, struct error *error);
void crash_arm_place(struct crash *crash, struct crash_place place);
/* What is armed and was not reached, as crash.died; NULL: none. */
const char *crash_missed(const struct crash *crash);

/* What run() returns, or -EOWNERDEAD: the process died in it. */
int crash_run(struct crash *crash, int (*run)(void *context), void *context);
/* Cuts every connection that was opened since crash_begin(), the test's own as well. */
void crash_cut(struct crash *crash);
/* Waits until the server has ended their sessions. `connection`: a new one. */
int crash_await(struct connection *connection, struct error *error);

#endif
