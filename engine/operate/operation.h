/*
 * operation.h - what every act of an operator starts from: on which pipeline, through which connection, and who acts.
 *
 * This room lists what waits and what failed, and moves it; a command and an HTTP request are two ways into the same
 * function. Each file is one kind of thing: its model, what can be done with it, and its JSON, which both ways print.
 * What changes state writes its audit row in the same transaction. The SQL is in store/ledger/.
 *
 * A function returns 0 or a negative errno with a sentence, which both ways turn into their own answer: -EINVAL what
 * was asked for makes no sense, -ENOENT there is no such thing, -EBUSY it is not in a state for that, -ENOTSUP this
 * pipeline's bus or store cannot; everything else is the database's fault.
 *
 * Threads: an operation belongs to one thread.
 */
#ifndef SLUICE_OPERATE_OPERATION_H
#define SLUICE_OPERATE_OPERATION_H

#include "bus/bus.h"
#include "pipeline/pipeline.h"
#include "store/ledger.h"

enum { OPERATION_REASON_MAX = 500 /* bytes */ };

struct operation {
    const struct pipeline *pipeline;
    struct bus *bus;               /* NULL: this operation publishes nothing */
    struct connection *connection; /* to the pipeline's store; NULL: it has none */
    struct arena *arena;           /* what is found lives there */
    struct span actor;             /* user@host, or "http ADDRESS" */
    struct span reason;            /* why, as the operator said; empty: nothing was said */
    int64_t deadline_ms;           /* monotonic: it is over by then; 0: 30 s from now, each time */
};

/* user@host of this process, in `arena`: the name of its effective user, or "uid N" when that has no name. */
struct span operation_actor(struct arena *arena);

/* Names of the pipeline's groups, in the arena. */
struct span *operation_groups(const struct operation *operation, size_t *ret_count);

/* Keeps why: a line of text, which goes into rows, log lines and a page; empty: nothing was said. -EINVAL: it is none,
 * or longer than OPERATION_REASON_MAX. */
int operation_because(struct operation *operation, struct span reason, struct error *error);
/* "BY: why", or "BY" when nothing was said; in the arena. */
struct span operation_words(const struct operation *operation);

/* Queued: the audit row. `act` is the command's words, `object` what it was done to. */
enum store_result operation_audit(const struct operation *operation, const char *act, struct span object,
                                  struct error *error);

/* -ENOTSUP without a store; `what` is kept in it: "chains are". */
int operation_needs_store(const struct operation *operation, const char *what, struct error *error);
/* For statements outside of transactions. */
int64_t operation_timeout_ms(const struct operation *operation);
/* A result of the store as a negative errno: -EAGAIN another transaction was in the way. */
int operation_result(enum store_result result, struct error *error);
/* One transaction: begins, calls act(), commits when that returned 0, else rolls back. act() is called again, a few
 * times, when another transaction was in the way. */
int operation_transact(const struct operation *operation,
                       int (*act)(const struct operation *operation, void *context, struct error *error), void *context,
                       struct error *error);

#endif
