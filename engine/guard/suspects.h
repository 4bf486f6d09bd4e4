/*
 * suspects.h - which events a crash can be blamed on.
 *
 * A table in memory that master and worker process share, made before the fork. A lane writes down the events of the
 * call it is about to make; when the process dies of a fault in that call, the master makes them suspects. The next
 * worker isolates suspects: a crash of an isolated event is a conviction, and an event with SUSPECT_CONVICTIONS of
 * them is a dead letter. An event that ends is acquitted. kill -9 and the OOM killer leave no fault behind and
 * convict nobody. Threads: each lane writes its own slot; look-ups take no lock while there are no suspects.
 */
#ifndef SLUICE_GUARD_SUSPECTS_H
#define SLUICE_GUARD_SUSPECTS_H

#include "event/event.h"

enum { SUSPECT_LANES_MAX = 128, SUSPECT_CALL_MAX = 10000, SUSPECT_TABLE_MAX = 16384, SUSPECT_CONVICTIONS = 2 };

struct suspects;

/* Made before the fork and kept as long as the process. NULL when there is no memory for it. */
struct suspects *suspects_create(void);

/* The worker process: from now on fault signals are noted before they kill it. Also turns exit() in a handler into a
 * fault. */
void suspects_watch(struct suspects *suspects);
void suspects_clean(struct suspects *suspects); /* the process may exit now */
/* Each lane's thread, once: its stack for signal handlers. */
void suspects_lane(struct suspects *suspects, uint32_t lane);
/* Before a handler's call, on the lane's thread; what is noted stands until suspects_end(), at the start of the next
 * batch: a heap that a handler broke is often found broken only afterwards. */
void suspects_begin(struct suspects *suspects, uint32_t lane, size_t count);
void suspects_add(struct suspects *suspects, uint32_t lane, size_t index, struct event_id id);
void suspects_end(struct suspects *suspects, uint32_t lane);
/* Any thread: that lane's call does not come back. Ends the process as a fault of that call. */
void suspects_hang(struct suspects *suspects, uint32_t lane) __attribute__((noreturn));

/* The master, after the worker died of a fault: the number of new or repeated suspects. *ret_crashed: a lane is to
 * blame; else all lanes' last calls are suspects. */
size_t suspects_judge(struct suspects *suspects, bool *ret_crashed);

enum suspicion { SUSPECT_NONE = 0, SUSPECT_ALONE, SUSPECT_CONVICTED };
enum suspicion suspects_look(struct suspects *suspects, struct event_id id);
void suspects_acquit(struct suspects *suspects, struct event_id id);
bool suspects_any(const struct suspects *suspects);

#endif
