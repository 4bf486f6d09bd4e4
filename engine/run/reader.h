/*
 * reader.h - a group's thread: takes records from the bus, hands each to the lane of its key, commits what is complete.
 */
#ifndef SLUICE_RUN_READER_H
#define SLUICE_RUN_READER_H

#include "run/group.h"

/* Whether there is anything to subscribe to. */
bool reader_has_topics(const struct group_run *group);
/* Opens what reader_start() will need and what takes nothing from whoever reads now. What fails is done there again. */
void reader_prepare(struct group_run *group);
/* Subscribes, and starts the thread unless the engine is stepped. -EINVAL, -ESTALE, -EPROTO: the bus is not as the
 * configuration says, so another try cannot succeed; any other error may pass. */
int reader_start(struct group_run *group, struct error *error);
/* Instead of the thread, see engine_step(): takes what the bus has now, or commits. False when there was nothing. */
bool reader_step(struct group_run *group);
/* Leaves the group and joins the thread: lanes finish what runs, everything complete is committed. What runs may go
 * on until until_ms (monotonic), then its statements are interrupted. False when a handler does not come back even
 * so: then nothing of the engine may be freed. */
bool reader_stop(struct group_run *group, int64_t until_ms);

#endif
