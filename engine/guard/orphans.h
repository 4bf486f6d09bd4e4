/*
 * orphans.h - processes that handlers left behind: whatever session or group they made for themselves, they are
 * children of the master once the process that started them has ended (PR_SET_CHILD_SUBREAPER), and end with the
 * worker.
 *
 * The master's own children from before, of a shell that became it, are not touched. One thread.
 */
#ifndef SLUICE_GUARD_ORPHANS_H
#define SLUICE_GUARD_ORPHANS_H

#include <stddef.h>
#include <sys/types.h>

enum { ORPHANS_OTHERS_MAX = 64 };

struct orphans {
    pid_t others[ORPHANS_OTHERS_MAX]; /* children of this process before it adopted any, and those that it spares */
    size_t other_count;
};

/* From now on this process is the parent of what its descendants leave. */
void orphans_adopt(struct orphans *ret);
/* A child of this process that is none of them, until it was waited for. */
void orphans_spare(struct orphans *orphans, pid_t pid);
void orphans_waited_for(struct orphans *orphans, pid_t pid);
/* Ends all that there are, and theirs, after the worker was waited for; but for `worker`, the other one that runs (0:
 * none). Gives up after two seconds, with a line in the log: a process that a device holds does not end. */
void orphans_end(const struct orphans *orphans, pid_t worker);

#endif
