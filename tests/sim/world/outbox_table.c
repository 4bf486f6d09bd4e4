/*
 * outbox_table.c - store/ledger_outbox_table.h: no pipeline of this world has an outbox table.
 */
#include "sim.h"

#include "store/ledger_outbox_table.h"

enum store_result ledger_outbox_table_add(struct connection *connection, const char *table,
                                          const struct outbox_table_row *rows, size_t count, struct error *error)
{
    (void)table, (void)rows, (void)count, (void)error;
    sim_fail(connection->world, "an outbox table is written to");
    return STORE_DEPLOY;
}
