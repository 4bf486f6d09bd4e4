/*
 * operation.h - what every act of an operator starts from: on which pipeline, through which connection, and who acts.
 *
 * This room lists what waits and what failed, and moves it; a command and an HTTP request are two ways into the same
 * function. Each file is one kind of thing: its model, what can be done with it, and its JSON, which both ways print.
 * What changes state writes its audit row in the same transaction. The SQL is in store/ledger/.
 *
 * Threads: an operation belongs to one thread.
 */
#ifndef SLUICE_OPERATE_OPERATION_H
#define SLUICE_OPERATE_OPERATION_H

#include "bus/bus.h"
#include "pipeline/pipeline.h"
#include "store/ledger.h"

struct operation {
    const struct pipeline *pipeline;
    struct bus *bus;               /* NULL: this operation publishes nothing */
    struct connection *connection; /* to the pipeline's store */
    struct span actor;             /* user@host, or "http ADDRESS" */
    struct span reason;            /* why, as the operator said; empty: nothing was said */
};

/* user@host of this process, in `arena`: the name of its effective user, or "uid N" when that has no name. */
struct span operation_actor(struct arena *arena);

/* Queued: the audit row. `act` is the command's words, `object` what it was done to. */
enum store_result operation_audit(const struct operation *operation, const char *act, struct span object,
                                  struct error *error);

#endif
