/*
 * master.h - a process that does nothing but keep another one running.
 */
#ifndef SLUICE_GUARD_MASTER_H
#define SLUICE_GUARD_MASTER_H

#include "base/notify.h"
#include "guard/suspects.h"

/* Forks a worker that runs work(suspects, context) and exits with what it returns. SIGTERM, SIGINT and SIGHUP are the
 * operator's: they go to the worker, and the master leaves with its exit code. Those that the worker or its children
 * send are ignored. A worker that ends otherwise is replaced, with a growing pause when it did not run for long and
 * nobody is to blame; one whose handler does not return within its deadline and 750 ms is ended. A worker ends with its
 * master. The service manager is told what the worker says: that it is ready, that its main loop goes round, and that
 * it ends, within stop_ms. Where work() runs without a master (no memory to share), suspects is NULL, and it tells that
 * itself. */
int master_run(int (*work)(struct suspects *suspects, void *context), void *context, struct notify *notify,
               int64_t stop_ms);

#endif
