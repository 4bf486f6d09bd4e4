/*
 * ledger_breaker.h - breakers of dependencies: failures that are counted over all processes, and the rows of
 * sluice.pause that are open breakers. As in ledger.h.
 */
#ifndef SLUICE_STORE_LEDGER_BREAKER_H
#define SLUICE_STORE_LEDGER_BREAKER_H

#include "store/ledger.h"

struct breaker {
    struct span pipeline, name; /* the pipeline's own group, and the dependency */
    int32_t failures;
    int64_t window_ms, open_ms;
};

/* On its own: so many more calls failed now. The breaker opens, when it is closed, if enough did within its window. */
enum store_result ledger_breaker_failed(struct connection *connection, const struct breaker *breaker, int32_t failures,
                                        struct span reason, struct error *error);
/* Executed: whether the breaker is half-open and nobody else tries it now. Nobody does until this transaction is over,
 * however it ends. */
enum store_result ledger_breaker_try(struct connection *connection, const struct breaker *breaker, bool *ret,
                                     struct error *error);
/* What the try showed, in its transaction: the breaker is closed, or open once more. The latter also on its own. */
enum store_result ledger_breaker_close(struct connection *connection, const struct breaker *breaker,
                                       struct error *error);
enum store_result ledger_breaker_reopen(struct connection *connection, const struct breaker *breaker,
                                        struct span reason, struct error *error);
/* On its own: one PARKED_PAUSED event of one of these topics is due: it is to try what they depend on. */
enum store_result ledger_parked_resume_one(struct connection *connection, int16_t group, const struct span *topics,
                                           size_t count, struct error *error);

#endif
