/*
 * takeover.h - what earlier owners of a group's partitions left in the database, taken over before they are read on.
 */
#ifndef SLUICE_RUN_TAKEOVER_H
#define SLUICE_RUN_TAKEOVER_H

#include "run/group.h"

bool takeover_prepare(struct group_run *group); /* before the group is subscribed to; false: no memory */
/* Makes its session, before there is anything to take over. */
void takeover_warm(struct group_run *group);
/* Partitions were assigned. Waits a while when the database or the bus is down. The reader's thread. */
void takeover_run(struct group_run *group);
void takeover_destroy(struct group_run *group);

#endif
