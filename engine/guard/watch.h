/*
 * watch.h - the worker process notes which lane's call ends it, and finds what a call did to the process.
 */
#ifndef SLUICE_GUARD_WATCH_H
#define SLUICE_GUARD_WATCH_H

#include "guard/suspects.h"

/* The worker process, once, before its threads: from now on faults and exit() are noted before they end it. lifeline: a
 * descriptor that stays open as long as nobody closes what is not theirs; the master sees its other end. */
void watch_process(struct suspects *suspects, int lifeline);
/* Each lane's thread, once: its stack for signal handlers, and what happens when the thread ends in a call. */
void watch_lane(struct suspects *suspects, uint32_t lane);
/* After each call, on the lane's thread. A child process that a handler forked does not come back from here; nor does
 * a process whose descriptors the call closed: it ends, as the call's doing. */
void watch_returned(struct suspects *suspects, uint32_t lane);
/* Ends a child process that a handler forked and that came back into the engine. */
void watch_child(void);

#endif
