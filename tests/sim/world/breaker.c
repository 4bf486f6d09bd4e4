/*
 * breaker.c - store/ledger_breaker.h: nothing depends on anything, so nobody asks.
 */
#include "sim.h"

#include "store/ledger_breaker.h"

enum store_result ledger_breaker_try(struct connection *connection, const struct breaker *breaker, bool *ret,
                                     struct error *error)
{
    (void)breaker, (void)ret, (void)error;
    sim_fail(connection->world, "a breaker is tried");
    return STORE_DEPLOY;
}

enum store_result ledger_breaker_close(struct connection *connection, const struct breaker *breaker,
                                       struct error *error)
{
    return ledger_breaker_try(connection, breaker, NULL, error);
}

enum store_result ledger_breaker_reopen(struct connection *connection, const struct breaker *breaker,
                                        struct span reason, struct error *error)
{
    (void)reason;
    return ledger_breaker_try(connection, breaker, NULL, error);
}
