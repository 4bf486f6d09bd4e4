/*
 * pace.h - what moves many dead letters is told, how far it is, and when its next batch may begin.
 */
#ifndef SLUICE_OPERATE_PACE_H
#define SLUICE_OPERATE_PACE_H

#include "base/error.h"
#include "operate/letter_filter.h"

#include <signal.h>

struct replay_progress {
    int64_t found;          /* open ones that the filter chose when it began */
    int64_t moved;          /* replayed, or dropped */
    int64_t exhausted;      /* not replayed: they were DEAD_LETTER_ROUNDS_MAX times before */
    int64_t unfit;          /* not replayed for another reason; */
    struct error unfit_why; /* that of the first one */
    bool stopped;           /* before all that were found had their turn */
};

struct replay {
    struct letter_filter filter;
    const char *chosen;                /* the same in words, for the audit */
    int64_t limit;                     /* at most so many; 0: all */
    int64_t rate;                      /* at most so many a second; 0: as fast as it goes */
    int64_t until_ms;                  /* monotonic: no batch begins later; 0: none */
    bool force;                        /* also those that were replayed DEAD_LETTER_ROUNDS_MAX times */
    const volatile sig_atomic_t *stop; /* set by a signal: the batch in progress is the last one; or NULL */
    void (*progress)(const struct replay_progress *progress, void *context); /* after each batch; or NULL */
    void *context;
};

/* Whether a signal or the end of its time has stopped it. */
bool replay_stopped(const struct replay *replay);
/* Sleeps until the rate allows what was moved so far; began_ms: monotonic. */
void replay_keep_rate(const struct replay *replay, int64_t moved, int64_t began_ms);
/* How many the next batch may move: at most `most`, and what limit and rate allow. 0: the limit is reached. */
int64_t replay_batch_size(const struct replay *replay, int64_t moved, int64_t most);
/* This one cannot be replayed; the first of them is kept with its reason. */
void replay_note_unfit(struct replay_progress *progress, const char *id, const struct error *why);

#endif
