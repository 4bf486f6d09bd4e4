/*
 * watchdog.h - handlers that do not come back, and lanes that compute for ever outside of them.
 */
#ifndef SLUICE_RUN_WATCHDOG_H
#define SLUICE_RUN_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

struct engine;

struct watched { /* of a lane that has no call open: since it moved last, see batch_env_at() */
    unsigned moves;
    int64_t cpu_ms, since_ms; /* its thread's CPU time then; monotonic */
    bool ended;               /* the process was to end for it */
};

/* Once a second. Looks at every lane's call and reports one that is far past its deadline; where a master watches, it
 * has ended this process before. A lane that used 30 s of CPU time outside of a call without doing anything else in
 * between is past help, and holds its keys for ever: the process ends, by a fault of that lane's thread, so that its
 * last call is suspected. */
void watchdog_look(struct engine *engine);

#endif
