/*
 * limit.c - store/ledger_limit.h: nothing is limited, so nobody asks.
 */
#include "sim.h"

#include "store/ledger_limit.h"

enum store_result ledger_limit_take(struct connection *connection, int16_t group, struct slots *slots, size_t count,
                                    int64_t ahead_ms, struct error *error)
{
    (void)group, (void)slots, (void)count, (void)ahead_ms, (void)error;
    sim_fail(connection->world, "slots are asked for");
    return STORE_DEPLOY;
}

enum store_result ledger_limit_places(struct connection *connection, struct places *places, size_t count,
                                      struct error *error)
{
    (void)places, (void)count, (void)error;
    sim_fail(connection->world, "places are asked for");
    return STORE_DEPLOY;
}

enum store_result ledger_limit_free(struct connection *connection, struct places *places, size_t count,
                                    struct error *error)
{
    return ledger_limit_places(connection, places, count, error);
}
