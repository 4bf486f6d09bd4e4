/*
 * isolated.h - a call whose handler runs in a process of its own.
 *
 * What the handler asked of its host comes as acts (isolate/acts.h) and is done here, in that order, with the host
 * functions that every other handler calls directly: they alone check, judge and say what is wrong.
 */
#ifndef SLUICE_BATCH_ISOLATED_H
#define SLUICE_BATCH_ISOLATED_H

#include "batch/host.h"
#include "isolate/acts.h"

/* The handler's call. When its process ends in it, the batch fails with plugin_ended set, and its events are suspects
 * (guard/suspects.h), unless the engine interrupted it; one that ran alone and cannot be remembered as such is
 * condemned. */
void call_isolated(struct call *call, int64_t deadline_ms);

/* The answers of the call's statements so far. */
struct replay {
    struct call *call;
    const struct sluice_rows **answers;
    size_t answer_count;
    const struct sluice_rows *last; /* of the query that was the last act; NULL: none, or it failed */
};
/* Does what the acts say; they are not written to any more. False: they are broken. */
bool replay_acts(struct replay *replay, struct span acts);

#endif
