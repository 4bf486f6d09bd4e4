/*
 * master.h - a process that does nothing but keep another one running.
 */
#ifndef SLUICE_GUARD_MASTER_H
#define SLUICE_GUARD_MASTER_H

#include "guard/suspects.h"

/* Forks a worker that runs work(suspects, context) and exits with what it returns; a worker that dies is replaced,
 * with a growing pause when it dies young. SIGTERM, SIGINT and SIGHUP go to the worker; the master leaves with its exit
 * code. A worker dies with its master. */
int master_run(int (*work)(struct suspects *suspects, void *context), void *context);

#endif
