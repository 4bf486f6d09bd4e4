/*
 * refused.h - outputs that a bus refuses for good: too large, no such topic, not allowed.
 *
 * The refused outputs of a row stay in it, without the others and with the reason: nothing waits for them, and they
 * are published when the reason is mended. Kafka may reject a whole produce batch because of one record, so each is
 * tried alone.
 */
#ifndef SLUICE_BATCH_REFUSED_H
#define SLUICE_BATCH_REFUSED_H

#include "bus/bus.h"
#include "store/store.h"

/* Whether trying again can never help: publish()'s answers about a record (bus.h). */
bool is_refusal(int code);

/* Publishes each record by itself, each within timeout_ms. 0: `records` now begins with the *ret_refused ones that are
 * refused, in order (what stands behind them is of no use any more), and *ret_reason says why the first of them is.
 * Negative: the bus does not answer, and some may be published. */
int publish_each(struct bus *bus, struct record *records, size_t count, int64_t timeout_ms, size_t *ret_refused,
                 struct error *ret_reason);

/* Keeps these records as all that is left of outbox row `row`, and commits the connection's open transaction. */
enum store_result refused_keep(struct connection *connection, int64_t row, const struct record *records, size_t count,
                               const struct error *reason, struct error *error);

#endif
