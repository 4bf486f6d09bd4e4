/*
 * child.h - the process of an isolated plugin, for its files.
 */
#ifndef SLUICE_ISOLATE_CHILD_H
#define SLUICE_ISOLATE_CHILD_H

#include "base/error.h"
#include "isolate/acts.h"
#include "isolate/area.h"

#include <sys/types.h>

struct child_rows;

struct child {
    pid_t pid;
    char *area;
    struct acts acts;
    const struct sluice_plugin *plugin;
    void *state;
    struct child_rows *rows; /* of the call, the last one first */
};

struct child_call {
    struct sluice_call shared; /* first: what the plugin holds a pointer to */
    struct child *child;
    int64_t deadline_ms;
    size_t outcome_count, added;
};

/* limits.c: what this process may not do from now on. 0, or negative with a sentence. */
int child_limit(const struct area_open *open, struct error *error);

/* child_talk.c */
void child_tell(enum message_kind kind, uint64_t value);
bool child_hear(struct message *ret); /* false: the lane has ended */
/* The lane does what is written so far; the answer's place, 0: none. */
uint64_t child_ask(struct child *child);
/* Ends a process that a handler forked: it does not speak for its parent. */
void child_stays(const struct child *child);

/* child_host.c: the host that writes down what it is asked. */
extern const struct sluice_host child_host;
void child_forget(struct child *child); /* the rows of a call that is over */

#endif
