/*
 * trial.h - a process that reads the files of a reload before the master does, so that the master never waits for a
 * disk that does not answer.
 *
 * Threads: the master's only one.
 */
#ifndef SLUICE_GUARD_TRIAL_H
#define SLUICE_GUARD_TRIAL_H

#include "guard/master.h"
#include "guard/orphans.h"

#include <signal.h>
#include <sys/types.h>

struct trial {
    pid_t pid;         /* 0: none runs */
    int from;          /* what it says, a pipe */
    struct buffer why; /* as far as it said */
};

/* Forks it; it reads with work->read() and keeps nothing. It is none of the orphans. False, with errno: no process. */
bool trial_start(const struct master_work *work, const void *old, const sigset_t *unblocked, struct orphans *orphans,
                 struct trial *ret);
void trial_look(struct trial *trial); /* now and then: takes what it says, so that it does not wait */
/* It has ended, with that status. True: it could read them. Else trial->why has the sentences. */
bool trial_ended(struct trial *trial, int status);
/* Ends it when it runs. One that a disk holds ends later, and is waited for like any child. */
void trial_end(struct trial *trial);

#endif
