/*
 * suspects.h - which events the end of a worker process can be blamed on.
 *
 * A table in memory that master and worker process share, made before the fork. A lane writes down the events of the
 * call that it makes and the call's deadline; when the process ends and nobody asked it to, the master makes the events
 * of open calls suspects. The next worker process isolates them: an end of the process in the call of one event that
 * ran alone is a conviction, and a convicted event is a dead letter. An event that ends well is acquitted.
 *
 * Threads: each lane writes its own call; look-ups take no lock while there are no suspects.
 */
#ifndef SLUICE_GUARD_SUSPECTS_H
#define SLUICE_GUARD_SUSPECTS_H

#include "event/event.h"
#include "guard/ending.h"

enum {
    SUSPECT_LANES_MAX = 512,
    SUSPECT_CALL_MAX = 10000,
    SUSPECT_TABLE_MAX = 16384,
    SUSPECT_TEXT = 400,
    SUSPECT_NEAR_MS = 2000, /* so long before a deadline the master looks often: it must see when the machine stalls */
    /* How often the process must end in the call of one event alone: by a fault, which is any end but the next two; by
     * SIGKILL, which may have come from outside; by the master, because the call ran past its deadline. */
    SUSPECT_FAULTS = 2,
    SUSPECT_KILLS = 5,
    SUSPECT_HANGS = 1,
};

struct suspects;

/* Made before the fork and kept as long as there are such workers. NULL when there is no memory for it. */
struct suspects *suspects_create(void);
/* For another worker of the same engine, which runs at the same time: with calls of its own, and the same suspects. */
struct suspects *suspects_beside(const struct suspects *other);
void suspects_end(struct suspects *suspects); /* its worker has ended; what is suspected stays known. NULL is fine */

/* ---------------------------------------------------------------------------------------------- the worker's lanes */

/* What a call's event is known by: another handler of the same event is innocent. `handler`: the name under which its
 * outcomes are recorded, so that a worker with other files knows it too. */
struct event_id suspects_id(struct event_id id, struct span handler);
/* Before a handler's call: the id of each event, then the call. deadline_ms: monotonic. quarantined: no other lane
 * runs. */
void suspects_add(struct suspects *suspects, uint32_t lane, size_t index, struct event_id id);
void suspects_open(struct suspects *suspects, uint32_t lane, size_t count, int64_t deadline_ms, bool quarantined);
void suspects_progress(struct suspects *suspects, uint32_t lane, size_t index); /* this event has its verdict */
void suspects_returned(struct suspects *suspects, uint32_t lane);               /* the call did; its batch goes on */
/* The batch is over. What is noted stands for faults of this lane's own thread: a heap that a handler broke is often
 * found broken only afterwards. */
void suspects_over(struct suspects *suspects, uint32_t lane);

enum suspicion {
    SUSPECT_NONE = 0,
    SUSPECT_APART, /* in a batch of its own */
    SUSPECT_LAST,  /* in a batch of its own, when others have had their turn: its call hangs, most likely */
    SUSPECT_ALONE, /* in a batch of its own, while no other lane runs */
    SUSPECT_CONVICTED,
};
/* What is known of one that is suspected: for people. */
struct suspect_story {
    uint32_t times;         /* the process ended in its call */
    char why[SUSPECT_TEXT]; /* what it did how often, and what comes next */
};
/* The process of an isolated plugin ended in the event's call, and the lane goes on: counts it against the event.
 * alone: the batch had no other. False: there is no room to remember it. */
bool suspects_blame(struct suspects *suspects, struct event_id id, const struct process_ending *ending, bool alone);
/* *ret (may be NULL) is filled unless it is SUSPECT_NONE. */
enum suspicion suspects_look(struct suspects *suspects, struct event_id id, struct suspect_story *ret);
void suspects_acquit(struct suspects *suspects, struct event_id id);
/* A convicted event has ended: it is remembered, for its position may be lost with the next worker, and then it comes
 * again. A call that comes again by itself, a schedule's or a request's, is skipped for a time that doubles with each
 * conviction, and then tried again, alone. */
void suspects_convicted(struct suspects *suspects, struct event_id id, bool comes_again);
bool suspects_any(const struct suspects *suspects);

/* ----------------------------------------------------------------------------------------------- the worker process */

/* How many times the operator asked the engine to stop; only the master counts. */
int suspects_asked(const struct suspects *suspects);
/* The process ends because the engine is over: stopped as asked, or with an error that a restart would not help.
 * Nothing else ends the engine. */
void suspects_decide(struct suspects *suspects);
/* From the process's main loop, twice a second or more: it goes round; ready: it takes work. */
void suspects_alive(struct suspects *suspects, bool ready);

/* ------------------------------------------------------------------------------------------------------- the master */

void suspects_ask(struct suspects *suspects);
void suspects_reset(struct suspects *suspects);         /* before each fork */
bool suspects_decided(const struct suspects *suspects); /* the worker called suspects_decide() */
bool suspects_ready(const struct suspects *suspects);   /* as the worker said last */
/* How often the worker called suspects_alive(): while that does not change, its main loop stands still. */
unsigned suspects_lives(const struct suspects *suspects);
/* Whether a call is open past its deadline and grace_ms more: then *ret is that ending. */
bool suspects_overdue(const struct suspects *suspects, int64_t now_ms, int64_t grace_ms, struct process_ending *ret);
/* A call is open whose deadline is near then. */
bool suspects_near(const struct suspects *suspects, int64_t until_ms);
bool suspects_one_alone(const struct suspects *suspects); /* a quarantined call is open */
/* After the worker ended: completes *ending by what the worker noted, and counts it against the calls that it can be
 * blamed on. Returns their number of events; 0: nobody is to blame. */
size_t suspects_judge(struct suspects *suspects, struct process_ending *ending);
/* Now and then: forgets events that this process saw the last of long ago, since another process handles them now. */
void suspects_forget(struct suspects *suspects);

#endif
