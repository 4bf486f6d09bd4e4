/*
 * signals.h - what the operator's signals mean to `sluice run`: in the worker process a thread of their own waits for
 * them, so that a second SIGINT counts even while the engine drains.
 */
#ifndef SLUICE_CLI_SIGNALS_H
#define SLUICE_CLI_SIGNALS_H

#include "guard/suspects.h"

#include <signal.h>
#include <stdatomic.h>

struct signals {
    sigset_t set;
    struct suspects *suspects; /* NULL: there is no master */
    atomic_int asked;          /* how many SIGINT and SIGTERM of the operator so far */
    atomic_bool starting;      /* nothing was taken yet: there is nothing to drain */
};

/* Before the files are read: SIGHUP waits until master or worker waits for it, and the terminal is remembered. */
void signals_prepare(void);
/* The worker process, before its threads. `suspects` is set. */
void signals_start(struct signals *signals);
/* SIGHUP came: false when the terminal has closed that the engine was started from, so that it is to drain. */
bool signals_reload(void);

#endif
