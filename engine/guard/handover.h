/*
 * handover.h - how a worker process takes the place of another one of its engine.
 *
 * The successor is started beside the worker that runs. It opens everything that it needs and begins nothing; then the
 * master asks the other one to hand over, which finishes what it has begun and reads nothing any more, and lets the
 * successor begin. They and the master tell each other how far they are in memory that they share (guard/table.h).
 *
 * Threads: any. Without a master (NULL) nothing is ever handed over.
 */
#ifndef SLUICE_GUARD_HANDOVER_H
#define SLUICE_GUARD_HANDOVER_H

#include <stdbool.h>

enum { HANDOVER_WHY_MAX = 32 * 1024 };

/* A successor comes to READY, PREPARED and BEGIN, whoever hands over to ASKED, RELEASED and OVER. */
enum handover_stage {
    HANDOVER_NONE = 0,
    HANDOVER_READY,    /* the successor: it could begin, when its turn comes among the processes of its group */
    HANDOVER_PREPARED, /* the successor: and that has come */
    HANDOVER_BEGIN,    /* the master: it may */
    HANDOVER_ASKED,    /* the master: hand over */
    HANDOVER_RELEASED, /* the worker: it reads and begins nothing any more */
    HANDOVER_OVER,     /* the master: the successor runs, or will not: the worker has only to end */
};

struct suspects;

/* ------------------------------------------------------------------------------------------------- the two workers */

bool handover_is_successor(const struct suspects *suspects);
/* The stage of this worker; HANDOVER_NONE without a master. */
enum handover_stage handover_stage(const struct suspects *suspects);
/* Goes on to this stage, unless it is further: a worker may have been told that it is over before it has released. */
void handover_reach(struct suspects *suspects, enum handover_stage stage);
/* A successor that cannot begin says why before it ends: one line after another, cut to HANDOVER_WHY_MAX in all. One
 * thread at a time. */
void handover_refuse(struct suspects *suspects, const char *why);

/* ------------------------------------------------------------------------------------------------------- the master */

void handover_make_successor(struct suspects *suspects, bool successor); /* before its fork */
const char *handover_why(const struct suspects *suspects);               /* after its end; "": it did not say */

#endif
