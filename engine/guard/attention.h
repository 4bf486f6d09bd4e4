/*
 * attention.h - how often the master looks at its workers: ten times a second while something goes on or the deadline
 * of a call is near, else once a second. A worker that begins a call whose deadline the master would see late wakes it.
 * And how the worker's main loop is woken.
 */
#ifndef SLUICE_GUARD_ATTENTION_H
#define SLUICE_GUARD_ATTENTION_H

#include "guard/suspects.h"

struct attention {
    int64_t active_ms; /* when something was seen to go on last */
};

/* The master, before it waits for signals: for how long. `active`: what only the master knows goes on. `most_ms`: the
 * longest wait. */
int64_t attention_rest(struct attention *attention, struct suspects *suspects, bool active, int64_t most_ms);
void attention_over(struct suspects *suspects); /* and after it */

/* The worker's main loop: what was said to it so far, before it looks; then it waits until more is, or for so long. The
 * operator's signals and the stages of a hand-over are; NULL: nothing is. */
unsigned attention_said(const struct suspects *suspects);
void attention_wait(struct suspects *suspects, unsigned said, int64_t ms);
void attention_say(struct suspects *suspects); /* any thread of the worker */

#endif
