/*
 * wait.h - why something does not go on: the causes, a sentence each, and the command that moves it.
 *
 * Who finds a cause: timeline_store.c those that have a row in the store, timeline_reading.c those that the bus knows,
 * timeline_waits.c those of the outbox. A further one is a row of `causes` in wait.c, beside a place that calls
 * wait_add().
 */
#ifndef SLUICE_OPERATE_WAIT_H
#define SLUICE_OPERATE_WAIT_H

#include "base/arena.h"
#include "base/buffer.h"

#include <stdint.h>

enum wait_cause {
    WAIT_KEY,         /* behind earlier events of its key */
    WAIT_RETRY,       /* it failed, and is tried again */
    WAIT_UNAVAILABLE, /* what its handler needs does not answer; no try is counted */
    WAIT_HANDLER,     /* its handler has stopped */
    WAIT_PLUGIN,      /* its handler's call ended its process */
    WAIT_DELAYED,     /* until its time: a step of a retry ladder */
    WAIT_TIMER,       /* of a chain: its event is emitted at that time, unless something ends it before */
    WAIT_PAUSED,
    WAIT_BREAKER,     /* of what it depends on is open */
    WAIT_LIMIT,       /* its topic's, which lets it through in its turn */
    WAIT_EARLY,       /* it came before the event that it needs */
    WAIT_STUCK,       /* an undo failed for good */
    WAIT_DEAD_LETTER, /* one is open: an operator decides */
    WAIT_UNKNOWN,     /* the file does not have its topic */
    WAIT_OUTBOX,      /* committed, and refused by the bus or not yet published */
    WAIT_NO_LEADER,
    WAIT_ENGINE,      /* no process of the group runs */
    WAIT_NO_READER,   /* none of them reads its partition */
    WAIT_TAP,         /* a tap has not read it */
    WAIT_TRANSACTION, /* one is open in the server, and readers stop below it */
    WAIT_QUEUE,       /* nothing but its turn: events of its partition come first, or a handler has it now */
    WAIT_CAUSE_COUNT
};

struct wait {
    enum wait_cause cause;
    const char *sentence;
    const char *command;  /* that moves it; NULL: it moves by itself */
    const char *name;     /* of the handler, tap or whatever is paused, or the group; NULL: it needs none */
    int64_t until_ms;     /* since 1970 UTC; 0: not known */
    int64_t count, tries; /* events that come first, or ends of the process; failed tries. 0: none */
    int64_t pid;          /* of a session in the server; 0: none */
};

struct waits {
    struct wait *list;
    size_t count;
};

/* `command` with `name`, which anybody may have chosen: quoted for a shell where it needs that. In the arena. */
const char *wait_command(struct arena *arena, const char *command, const char *name);
/* A copy; its texts live as long as the arena or longer. */
void wait_add(struct waits *waits, struct arena *arena, struct wait wait);
bool waits_have(const struct waits *waits, enum wait_cause cause);
/* [{"cause","text","command","name","until","count","tries","pid"}]: from "name" on only what there is. */
void waits_json(const struct waits *waits, struct buffer *out);

#endif
