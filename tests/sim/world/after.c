/*
 * after.c - store/ledger_after.h: no event waits for another, so nobody asks.
 */
#include "sim.h"

#include "store/ledger_after.h"

static enum store_result nobody_asks(const struct connection *connection)
{
    sim_fail(connection->world, "what events wait for is asked for");
    return STORE_DEPLOY;
}

enum store_result ledger_after_look(struct connection *connection, int16_t group, struct needed *needed, size_t count,
                                    struct error *error)
{
    (void)group, (void)needed, (void)count, (void)error;
    return nobody_asks(connection);
}

enum store_result ledger_after_note(struct connection *connection, int16_t group, const struct needed *needed,
                                    size_t count, const struct held_need *held, size_t held_count, size_t *ret,
                                    struct error *error)
{
    (void)group, (void)needed, (void)count, (void)held, (void)held_count, (void)ret, (void)error;
    return nobody_asks(connection);
}

enum store_result ledger_after_ready(struct connection *connection, int16_t group, const struct span *streams,
                                     size_t stream_count, int32_t limit, struct rows **ret, struct error *error)
{
    (void)group, (void)streams, (void)stream_count, (void)limit, (void)ret, (void)error;
    return nobody_asks(connection);
}

enum store_result ledger_after_changed(struct connection *connection, int16_t group, const struct span *streams,
                                       size_t stream_count, const struct span *rules, size_t rule_count,
                                       struct error *error)
{
    (void)group, (void)streams, (void)stream_count, (void)rules, (void)rule_count, (void)error;
    return nobody_asks(connection);
}
