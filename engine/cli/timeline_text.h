/*
 * timeline_text.h - a timeline for people, on standard output.
 */
#ifndef SLUICE_CLI_TIMELINE_TEXT_H
#define SLUICE_CLI_TIMELINE_TEXT_H

#include "operate/timeline.h"

void timeline_print_text(const struct timeline *timeline);
/* Only what it waits for: a line a cause. */
void timeline_print_why(const struct timeline *timeline);

#endif
