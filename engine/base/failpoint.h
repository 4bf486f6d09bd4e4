/*
 * failpoint.h - named places where a test can make the engine crash, fail, wait or freeze.
 *
 * SLUICE_FAILPOINTS="commit.after=crash@3,claim.before=delay:50%10" arms them: `@n` fires once, at the n-th hit;
 * `%p` with p percent odds from SLUICE_SEED; neither, always. Actions: crash (SIGKILL to itself), exit, error (the
 * site returns its error), delay:MS, freeze (SIGSTOP to itself), spin (computes for ever). Off, a site costs one load
 * and one predicted branch. `sluice version --failpoints` lists them all.
 *
 * No site is under a lock that is there longer than what would die: a watcher may leave it for good, by longjmp().
 */
#ifndef SLUICE_BASE_FAILPOINT_H
#define SLUICE_BASE_FAILPOINT_H

#include "base/error.h"

enum failpoint_action { FAILPOINT_NONE, FAILPOINT_ERROR };

struct failpoint { /* one a site, static; linked into a list by the linker section "failpoints" */
    const char *name;
    int armed;
};

extern int failpoints_armed; /* 0: none is, nobody watches, and sites skip the look-up */
int failpoints_arm(const char *spec, unsigned seed, struct error *error); /* NULL or "": nothing */
/* Every site that is reached, armed or not, calls `reached` before it acts, in the thread that reaches it; NULL: none
 * does. For a process of one thread. */
void failpoints_watch(void (*reached)(const char *name, void *context), void *context);
enum failpoint_action failpoint_fire(struct failpoint *point);
void failpoints_list(void (*each)(const char *name, void *context), void *context);

/* FAILPOINT("lane.commit.before"): crashes, exits, waits or freezes here when it is armed to; otherwise the value is
 * what the site must do. */
#define FAILPOINT(point_name)                                                                                          \
    __extension__({                                                                                                    \
        static struct failpoint failpoint_ __attribute__((section("failpoints"), used)) = {point_name, 0};             \
        __builtin_expect(failpoints_armed, 0) ? failpoint_fire(&failpoint_) : FAILPOINT_NONE;                          \
    })

#endif
