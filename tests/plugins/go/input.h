/*
 * input.h - what tables.c and reverse.go share: the fields of an event, and the functions of the host, which Go cannot
 * call through a pointer.
 */
#ifndef SLUICE_TESTS_GO_INPUT_H
#define SLUICE_TESTS_GO_INPUT_H

#include "sluice/plugin.h"

struct input {
    struct sluice_text text;
};

void handleReverse(void *state, struct sluice_call *call); /* of reverse.go */

static inline void host_outcome(struct sluice_call *call, size_t n, size_t outcome)
{
    call->host->outcome(call, n, outcome);
}

static inline void host_set_text(struct sluice_call *call, size_t n, char *name, char *at, size_t length)
{
    call->host->set_text(call, n, name, (struct sluice_text){at, length});
}

static inline void host_fault(struct sluice_call *call, char *why)
{
    call->host->fault(call, why);
}

#endif
