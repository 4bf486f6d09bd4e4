/*
 * manager.h - what the master tells the service manager of its worker.
 */
#ifndef SLUICE_GUARD_MANAGER_H
#define SLUICE_GUARD_MANAGER_H

#include "base/notify.h"
#include "guard/suspects.h"

struct manager {
    struct notify *notify;
    int64_t stop_ms; /* how long ending takes at most */
    unsigned lives;  /* of the worker, when that was told last */
};

/* Passes on what the worker says of itself. A worker that stands still is not alive. */
void manager_tell(struct manager *manager, const struct suspects *suspects, bool reloads, bool plan);
/* A plan changes nothing, and whoever asks the manager for a reload is answered when it is over. 0, -errno. */
int manager_tell_reloading(struct manager *manager, bool plan);

#endif
