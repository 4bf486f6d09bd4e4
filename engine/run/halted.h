/*
 * halted.h - what a group is assigned and does not read. Its reader asks the bus once a second; /readyz and
 * sluice_partition_halted show it, and the log repeats it once a minute for as long as it lasts.
 */
#ifndef SLUICE_RUN_HALTED_H
#define SLUICE_RUN_HALTED_H

#include "base/buffer.h"
#include "base/metrics.h"

#include <stdint.h>

struct group_run;

struct halted_place { /* a partition that was halted once, and its gauge */
    char *name;
    struct series *series;
};

struct halted {
    int64_t look_ms; /* the reader's own, as places are */
    struct halted_place *places;
    size_t place_count;
    struct buffer text; /* a line for each that is not read now; under the group's lock */
};

void halted_look(struct group_run *group); /* the reader's thread */
/* Appends the lines; false when there are none. Any thread. */
bool halted_print(struct group_run *group, struct buffer *out);
void halted_destroy(struct halted *halted);

#endif
