/*
 * held.h - a lane's view of the keys that are held in the streams of its group (batch/held.h).
 *
 * A lane handles nothing before it knows them: it forgets them all when streams are revoked, and asks the database
 * again after each change of the assignment (group_changed()), page by page. While it has some it looks every second
 * for those that are due, since their time may be changed there, and now and then at a page of all: what it asks
 * between batches is bounded, however many keys are held. The lane's thread.
 */
#ifndef SLUICE_RUN_HELD_H
#define SLUICE_RUN_HELD_H

#include "run/worker.h"

/* For batch_env: names of the streams that are assigned to the group's consumer now. */
size_t held_streams(void *context, struct arena *arena, struct span **ret);
/* Streams were revoked: keys are held for somebody else now, or will be found again. Nothing may be handled until the
 * group says that its assignment is what it is. Entries that were read from the database must be dropped before. */
void held_forget(struct worker *worker);
/* Entries of the lane may not be taken before the next held_update(). */
bool held_is_unknown(const struct worker *worker);
/* When that has something to ask, monotonic; INT64_MAX: it has not. */
int64_t held_due(const struct worker *worker);
/* Asks when it has to, reads what is due, and says whether entries of the lane may be taken. */
bool held_update(struct worker *worker);

#endif
