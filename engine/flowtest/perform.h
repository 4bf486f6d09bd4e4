/*
 * perform.h - one test from its first step to its last, told on a stream when it fails.
 */
#ifndef SLUICE_FLOWTEST_PERFORM_H
#define SLUICE_FLOWTEST_PERFORM_H

#include "flowtest/flow.h"
#include "run/engine.h"

#include <stdio.h>

/* Runs it in this process, whose clocks stop for good (drive.h). True when all was as expected; else `out` says at
 * which step not: the place, what was expected, what there is, what is nearest to it, and everything that happened. */
bool flow_perform(const struct flow_file *file, const struct flow *flow, struct engine_parts *parts, FILE *out);

#endif
