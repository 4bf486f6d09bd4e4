/*
 * refused.h - outputs that a bus refuses for good: too large, no such topic, not allowed.
 *
 * Such an output stays in its row of sluice.outbox, alone, with the reason: nothing waits for it, and it is published
 * when the reason is mended. Kafka may reject a whole produce batch because of one record, so each is tried alone.
 */
#ifndef SLUICE_BATCH_REFUSED_H
#define SLUICE_BATCH_REFUSED_H

#include "bus/bus.h"
#include "store/store.h"

/* Whether trying again can never help: publish()'s answers about a record (bus.h). */
bool is_refusal(int code);

/* Publishes each record by itself, until deadline_ms after its own start. 0: those that are refused were moved to the
 * front, *ret_refused of them, and *ret_reason says why the first is. Negative: the bus is down, some may be out. */
int publish_each(struct bus *bus, struct record *records, size_t count, int64_t timeout_ms, size_t *ret_refused,
                 struct error *ret_reason);

/* Keeps these records as all that is left of outbox row `row`, and commits the connection's open transaction. */
enum store_result refused_keep(struct connection *connection, int64_t row, const struct record *records, size_t count,
                               const struct error *reason, struct error *error);

#endif
