/*
 * waiting.h - what waits for names that left the file: counted, and said. Part of names.h.
 */
#ifndef SLUICE_RUN_WAITING_H
#define SLUICE_RUN_WAITING_H

#include "run/names.h"

/* Marks what left, with its answer. */
void waiting_mark(struct names *names);
/* Counts what waits for names that left. 0, -EAGAIN or -EPROTO with a sentence. */
int waiting_count(struct names *names);
/* Says each name that something waits for and that has no answer. */
void waiting_say(struct names *names);
static inline bool waiting_any(const struct known *known)
{
    return known->parked + known->timers + known->held + known->unread + known->tries + known->outputs + known->chains >
           0;
}

/* What names.h's files have in common: a result of the store as their code. */
int names_code(enum store_result result);
struct known *names_known_add(struct names *names, char kind, struct span group, struct span name, struct span handler);
char names_kind(const struct known *known);
/* Whether an answer says that the file, or its group, had another name. */
static inline bool names_renames_file(const struct pipeline *config, const struct name_answer *answer)
{
    return answer->new_name != NULL &&
           (strcmp(answer->new_name, config->name) == 0 || strcmp(answer->new_name, config->engine.group) == 0);
}

#endif
