/*
 * suspect.c - store/ledger_suspect.h: no process of this world ends in the call of a handler.
 */
#include "sim.h"

#include "store/ledger_suspect.h"

enum store_result ledger_suspects_note(struct connection *connection, const struct noted_suspect *suspects,
                                       size_t count, struct error *error)
{
    (void)suspects, (void)count, (void)error;
    sim_fail(connection->world, "a suspect is written down");
    return STORE_DEPLOY;
}

enum store_result ledger_suspects_clear(struct connection *connection, const struct noted_suspect *suspects,
                                        size_t count, struct error *error)
{
    (void)suspects, (void)count, (void)error;
    sim_fail(connection->world, "a suspect is over");
    return STORE_DEPLOY;
}
