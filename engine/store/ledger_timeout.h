/*
 * ledger_timeout.h - the timeouts of chains. See ledger.h for who executes when.
 */
#ifndef SLUICE_STORE_LEDGER_TIMEOUT_H
#define SLUICE_STORE_LEDGER_TIMEOUT_H

#include "store/ledger.h"

/* In a transaction of its own: instances of these chains whose timeout is over, or that an operator wants aborted, at
 * most `limit`; each comes again after hold_ms unless it was aborted by then. Rows: the chain's place in the list int4,
 * correlation text, value bytea: an event that says so, whose data has the correlation in the chain's field of
 * `correlates`, the `generation`, and `timeout` or `asked`. */
enum store_result ledger_chain_timeouts(struct connection *connection, const int16_t *chains,
                                        const struct span *correlates, size_t count, int64_t hold_ms, int32_t limit,
                                        struct rows **ret, struct error *error);
/* In a transaction of its own: when the next of all chains is over, wall time; INT64_MAX: none will be. */
enum store_result ledger_chain_timeout_next(struct connection *connection, int64_t *ret_ms, struct error *error);

#endif
