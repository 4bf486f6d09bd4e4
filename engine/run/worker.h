/*
 * worker.h - a lane's thread.
 *
 * A worker is one thread with one lane, one connection and one state of each plugin. Workers of a group take the
 * group's events, chosen by the key's hash; request workers take HTTP requests; the schedule worker takes ticks. All of
 * them run the same batches (batch/batch.h).
 */
#ifndef SLUICE_RUN_WORKER_H
#define SLUICE_RUN_WORKER_H

#include "batch/held.h"
#include "run/mailbox.h"
#include "run/watchdog.h"

struct engine;
struct group_run;

struct worker {
    struct engine *engine;
    struct group_run *group; /* NULL for requests and ticks */
    pthread_t thread;
    bool started;
    struct watched watched; /* the watchdog's */
    struct mailbox mailbox;
    struct batch_env env;
    /* the thread's own */
    int64_t delete_published_ms; /* when published outbox rows are deleted without waiting for another batch */
    size_t held_keys;            /* as the gauge has it */
    bool holds;                  /* its group's keys may be held in the database: run/held.h */
    unsigned held_assignment;    /* the group's, when they were asked for */
    bool held_unknown;           /* they were forgotten since, and nothing may be handled */
    int64_t held_again_ms;       /* the database did not answer: asked again then */
    int64_t held_look_ms;        /* while there are some, asked then: their time may have been changed */
    int64_t held_page_ms;        /* the same, for the next page of all of them */
    struct held_page held_page;
    unsigned after_told;           /* the group's `ready`, when the lane last looked */
    unsigned held_page_assignment; /* the group's, when the walk began that was to learn them */
    unsigned pause_changes;        /* the engine's, when the lane last looked */
    int64_t batch_since_ms;        /* taps: since when this lane fills a batch; 0: it does not */
    struct lane_entry **taken;     /* room for a batch; NULL: the lane has not begun */
    bool opened;                   /* the plugins are: it may handle events */
};

/* `group`: NULL for requests and ticks. `number`: of the lane, over the whole engine. NULL: no memory. */
struct worker *worker_create(struct engine *engine, struct group_run *group, uint32_t number);
int worker_start(struct worker *worker, struct error *error);
/* Instead of a thread, see engine_step(): opens the plugins; what it cannot open is the engine's fault. */
void worker_prepare(struct worker *worker);
/* Instead of a thread, too: takes what is in the mailbox and runs what is due now. False when there was
 * nothing. */
bool worker_step(struct worker *worker);
/* When there is something to do that nobody will tell the worker of (monotonic); INT64_MAX: never. */
int64_t worker_due_ms(struct worker *worker);
void worker_stop(struct worker *worker); /* asks; worker_destroy() waits */
/* Its lane's wait, for the database or for the process of an isolated plugin, fails. Any thread. */
void worker_interrupt(struct worker *worker);
void worker_destroy(struct worker *worker); /* NULL and half-built ones are fine */

#endif
