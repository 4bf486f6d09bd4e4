/*
 * operator.h - what the commands of operators start from: the pipeline's store, a connection to it, and who acts.
 */
#ifndef SLUICE_CLI_OPERATOR_H
#define SLUICE_CLI_OPERATOR_H

#include "cli/parts.h"
#include "operate/operation.h"

struct operator
{
    struct parts parts;
    struct operation operation; /* `reason` is the caller's to set */
};

/* CLI_OK, or the exit code when it has said what is wrong. */
int operator_open(const char *config, const struct buses *buses, struct operator* ret);
void operator_close(struct operator* operator);
/* Says on stderr why an operation failed: CLI_FAILED, or CLI_USAGE when what was asked for makes no sense. */
int operator_failed(const char *command, const struct error *error);

/* "12s", "3m", "5h" or "8d" ago; in buf. */
const char *age_text(int64_t then_ms, char buf[32]);
/* "1 chain", "2 chains", "2 entries": a line. */
void print_count(size_t count, const char *noun);

#endif
