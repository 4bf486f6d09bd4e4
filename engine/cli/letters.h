/*
 * letters.h - `sluice dead-letter`, between its line and its acts.
 */
#ifndef SLUICE_CLI_LETTERS_H
#define SLUICE_CLI_LETTERS_H

#include "cli/parts.h"
#include "operate/replay.h"

struct letters { /* what the line says, then what it is done with */
    const struct action *action;
    const char *config;
    struct parts parts;
    struct arena *arena;
    struct operation operation;
    struct letter_filter filter;
    int64_t limit, rate;               /* 0: not given */
    const char *data, *reason, *below; /* --data, --why, --below; NULL: not given */
    bool all, force, dry_run, json, editor;
    uint32_t given; /* options, a bit for each of their letters */
    int64_t shown_ms;
};

struct action {
    const char *name;
    const char *options;      /* the letters of those it takes */
    bool ids;                 /* it needs one at least */
    bool moves;               /* many: IDs, a filter, or --all */
    enum parts_wanted wanted; /* with a store; without one all need the bus */
    int (*run)(struct letters *letters);
};
#define LETTERS_FILTERS "tmrcs" /* options that choose */

/* dead_letter_line.c: reads and checks the whole line; `actions` end with one without a name. -1: it is good, and
 * ret->arena is the caller's to destroy in any case. Else the exit code; what is wrong was printed. */
int letters_line(int argc, char **argv, const struct action *actions, struct letters *ret);

#endif
