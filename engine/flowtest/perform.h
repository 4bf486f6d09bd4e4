/*
 * perform.h - one test from its first step to its last, told on a stream when it fails.
 */
#ifndef SLUICE_FLOWTEST_PERFORM_H
#define SLUICE_FLOWTEST_PERFORM_H

#include "flowtest/drive.h"
#include "flowtest/flow.h"

#include <stdio.h>

struct repetition {
    const struct crash_place *place; /* it dies there, and only the test's end is compared; NULL: it does not */
    /* Where lines go: "place FAILPOINT REACH" for each place where a test with `crash: everywhere` might die, those of
     * clock_users.h, and, when `coverage` is asked for, those of coverage.h; or NULL. */
    FILE *notes;
    bool coverage;
};

/* Runs it in this process, whose clocks stop for good (drive.h). True when all was as expected; else `out` says at
 * which step not: the place, what was expected, what there is, what is nearest to it, and everything that happened. */
bool flow_perform(const struct flow_file *file, const struct flow *flow, struct drive_parts *parts,
                  const struct repetition *repetition, FILE *out);

#endif
