/*
 * ledger_limit.h - slots and places of topics with a limit, given out over all processes. As in ledger.h.
 */
#ifndef SLUICE_STORE_LEDGER_LIMIT_H
#define SLUICE_STORE_LEDGER_LIMIT_H

#include "store/ledger.h"

struct slots {    /* of one bucket */
    size_t asker; /* the caller's */
    bool is_new;  /* the caller has not asked for it before: mostly nobody has */
    int64_t bucket, step_ns;
    int32_t want;  /* so many */
    int32_t given; /* got these, one each step */
    int64_t in_us; /* the first is in so long, or would be; below 0: it was due so long ago */
};

/* On its own: those up to `ahead_ms` from now that nobody has. Each bucket once; they may come back in another order,
 * with `want` 0 where there was an answer. */
enum store_result ledger_limit_take(struct connection *connection, int16_t group, struct slots *slots, size_t count,
                                    int64_t ahead_ms, struct error *error);
/* On its own: buckets that nobody asked for in the last minute are forgotten. */
enum store_result ledger_limit_prune(struct connection *connection, struct error *error);

struct places {    /* of one bucket */
    int64_t first; /* the number of the first one: a hash, with room above it */
    int32_t most;  /* so many there are, in all processes */
    int32_t want, given;
};

/* In the transaction: places that nobody has, until its end. Each bucket once, and one call a transaction. */
enum store_result ledger_limit_places(struct connection *connection, struct places *places, size_t count,
                                      struct error *error);
/* On its own: how many of `want` are free at this moment. */
enum store_result ledger_limit_free(struct connection *connection, struct places *places, size_t count,
                                    struct error *error);

#endif
