/*
 * generation.h - files as they were when they were read, and the worker process that runs them.
 */
#ifndef SLUICE_GUARD_GENERATION_H
#define SLUICE_GUARD_GENERATION_H

#include "guard/master.h"
#include "guard/process.h"

struct generation {
    void *files;               /* NULL: there is none */
    struct suspects *suspects; /* of this worker */
    int leaves;                /* see master_worker */
    struct worker_process worker;
    unsigned short_lives;       /* in a row; nobody was to blame */
    int64_t pause_ms, again_ms; /* the pause before the next worker, and when that is over */
};

/* Owns both from then on. False: there is no memory; it can be ended all the same. */
bool generation_make(struct generation *ret, void *files, struct suspects *suspects);
/* Starts its worker, which has no other one; `finds`: what its predecessor leaves; -1: it has none. A successor waits
 * until it may begin. False, with errno: there is no process for it. */
bool generation_start(const struct master_work *work, struct generation *generation, const sigset_t *unblocked,
                      bool successor, int finds);
/* The same for one whose worker has handed over to a successor that did not begin: it finds what it left. */
bool generation_resume(const struct master_work *work, struct generation *generation, const sigset_t *unblocked);
/* Its worker has ended, and nobody had asked: who is to blame, a line in the log, and when the next one may start. */
void generation_judge(struct generation *generation, struct process_ending *ending);
void generation_end(const struct master_work *work, struct generation *generation); /* none runs; it is none again */

#endif
