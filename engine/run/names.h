/*
 * names.h - what a start asks of the database and the bus before anything is read: whether something waits for names
 * that left the file, and where groups begin that have no position.
 *
 * A pipeline's names are written down at each start (sluice.pipeline_name). The next start compares them with its file,
 * which costs nothing while they are the same. Only for a name that left the file it looks for what waits: parked and
 * held events, events that its group has not read, counted tries, outputs that are not published, chains that are not
 * over. `renamed` in the file carries it over to another name and `retired` makes dead letters of it; without an answer
 * nothing starts. Where there are no names yet, all that is parked or held is looked at.
 *
 * A group without a position would read again what another group of this database has read. It begins where `from` in
 * the file says; without that, only where nothing is repeated.
 *
 * Names are those of a file, by its `pipeline:`. Files that share a group each have their own, and what another one has
 * did not leave.
 *
 * Files: waiting.c counts, begin.c is about positions, renames.c carries over; names.c goes through them.
 */
#ifndef SLUICE_RUN_NAMES_H
#define SLUICE_RUN_NAMES_H

#include "bus/bus.h"
#include "pipeline/pipeline.h"
#include "store/ledger_known.h"

/* A name that the pipeline had when it was started before. */
struct known {
    struct known_name stored; /* as the database has it */
    struct known_name row;    /* a group's `name` and a topic's `group` as they are called now */
    const char *name;         /* as people write it: of a tap's group the tap */
    const struct name_answer *answer;
    bool left;         /* the file does not have it */
    bool carried_over; /* renamed, and nothing of it is left under the old name */
    int64_t parked, timers, held, unread, tries, outputs, chains;
};

struct names {
    const struct pipeline *config;
    struct connection *connection; /* in a transaction; NULL without a store */
    struct bus *bus;
    struct arena *arena;
    bool change; /* what the file says is done; else it is only looked at */
    struct error *error;
    /* One sentence about what the file must say. */
    void (*each)(void *context, struct place place, const char *code, const char *text);
    void *context;
    size_t findings;
    struct known *known;
    size_t known_count;
    struct known_name *elsewhere; /* names of other files that share the group */
    size_t elsewhere_count;
    bool remembered; /* the pipeline's names are known: it was started before */
    /* what is read beside the file's topics, by group index: names of topics that left; NULL-terminated */
    const char ***others;
    /* by answer: the handler that what is retired was recorded under; NULL: none */
    const char **retired_topics, **retired_taps;
};

/* The topics that other files of a group have, by its index; NULL-terminated. */
const char **names_elsewhere(const struct names *names, size_t group);
/* Fills the last three members; the rest is given. 0: nothing is missing (and, with `change`, all is done and
 * committed). -ENOKEY: each() was told what the file must say. -EAGAIN: the database or the bus did not answer. */
int names_check(struct names *names);

#endif
