/*
 * verbs.h - the line of a command with verbs, as `sluice chain list CONFIG`: its verb, and the options that all of them
 * take.
 */
#ifndef SLUICE_CLI_VERBS_H
#define SLUICE_CLI_VERBS_H

#include "cli/cli.h"

#include <stdio.h>

struct verbs {
    const char *command;
    const char *const *names; /* NULL-terminated */
    const char *expected;     /* the names, for people */
    const char *subject;      /* the option that is its own: --topic, --chain */
    void (*usage)(FILE *out);
};

enum condition {
    CONDITION_SUBJECT,
    CONDITION_STATE,
    CONDITION_OLDER,
    CONDITION_LIMIT,
    CONDITION_AFTER,
    CONDITION_COUNT
};

struct verb_line {
    int verb;                          /* its index in verbs.names */
    const char *name[CONDITION_COUNT]; /* of the conditions, as the listing knows them */
    const char *value[CONDITION_COUNT];
    const char *why;
    bool json;
};

/* Reads the options and the verb; optind is at the CONFIG then. -1, or the exit code with which the command ends. */
int verb_line_read(int argc, char **argv, const struct verbs *verbs, struct verb_line *ret);

#endif
