/*
 * told.h - what happened in a test, for people: its steps, its events, and what became of each.
 */
#ifndef SLUICE_FLOWTEST_TOLD_H
#define SLUICE_FLOWTEST_TOLD_H

#include "flowtest/drive.h"

#include <stdio.h>

/* What a step did. */
struct told {
    int64_t at_ms;
    size_t events; /* on the topics when it began */
    const char *text;
};

/* Steps and events in the order in which they came; of an event in how its handlers ended, and what it waits for, as
 * far as the store knows. */
void told_print(struct drive *drive, const struct told *steps, size_t count, FILE *out);

#endif
