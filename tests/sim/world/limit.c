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
