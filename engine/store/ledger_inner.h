/*
 * ledger_inner.h - what the files of the ledger share.
 *
 *   ledger.c         names, inbox, attempts
 *   ledger_wait.c    outbox, parked events, schedules, pruning, health
 *   ledger_chain.c   chains
 */
#ifndef SLUICE_STORE_LEDGER_INNER_H
#define SLUICE_STORE_LEDGER_INNER_H

#include <stdlib.h>

#include "store/inner.h"
#include "store/ledger.h"

/* In the caller's transaction when there is one, else on its own. */
enum store_result ledger_run(struct connection *connection, const struct statement *statement, size_t param_count,
                             const struct store_param *params, struct rows **ret, struct error *error);
/* What a failpoint armed with "error" does to a transaction: the connection is gone. */
enum store_result ledger_failpoint(struct connection *connection, struct error *error);

/* Seconds since 2020-01-01 UTC on the server's clock, computed once a statement. */
#define LEDGER_NOW "(SELECT extract(epoch FROM now())::int8 - 1577836800)::int4"

#endif
