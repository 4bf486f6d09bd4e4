/*
 * coverage.h - which of a pipeline's topics, outcomes, requests, schedules and taps flow tests have reached.
 */
#ifndef SLUICE_FLOWTEST_COVERAGE_H
#define SLUICE_FLOWTEST_COVERAGE_H

#include "flowtest/drive.h"

#include <stdio.h>

/* In a test's process, while its engine is there: a line for each that the test has reached, for coverage_read(). */
void coverage_note(struct drive *drive, FILE *notes);

struct coverage;
struct coverage *coverage_create(void);
void coverage_destroy(struct coverage *coverage); /* NULL is fine */
/* A line of the notes; others are ignored. */
void coverage_read(struct coverage *coverage, const char *line);
/* How many of this pipeline were reached, of how many, and where in the file each is that was not. */
void coverage_print(const struct coverage *coverage, const struct pipeline *pipeline, FILE *out);

#endif
