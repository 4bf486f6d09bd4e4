/*
 * tracker.h - which position of a stream may be committed.
 *
 * Records of a stream are delivered in order and completed in any order. The tracker remembers what was delivered
 * and not yet completed; its watermark is the last position up to which the log was consumed: everything delivered up
 * to it is complete. It never counts the integers between positions (compaction and transactions leave gaps); the bus
 * says what of the log holds nothing to deliver. One tracker lives for one assignment: its epoch is compared with that
 * of every completion, and a late completion of an older assignment is ignored. Pure: no lock, no clock. Memory: 32
 * bytes a record in flight, however far apart they are; grows to `max`.
 */
#ifndef SLUICE_FLOW_TRACKER_H
#define SLUICE_FLOW_TRACKER_H

#include "event/position.h"

#include <stdbool.h>
#include <stddef.h>

struct tracker;

struct tracker *tracker_create(uint32_t epoch, size_t max); /* NULL when out of memory */
void tracker_destroy(struct tracker *tracker);              /* NULL is fine */
uint32_t tracker_epoch(const struct tracker *tracker);
/* A record was delivered. *ret_ticket names it. 0; -EEXIST when the position is not above the last one delivered (a
 * bus may repeat itself within an assignment: drop the record); -ENOSPC when `max` are in flight, -ENOMEM: not
 * taken, offer it again later. Until then whatever lies above it is refused, too (-ENOSPC): the watermark can never
 * pass a record that found no room. */
int tracker_add(struct tracker *tracker, struct position position, uint64_t *ret_ticket);
/* Up to and including this position the log holds nothing more to deliver: what was not delivered is no record of this
 * group's (control records, aborted transactions, what compaction removed). */
void tracker_consume(struct tracker *tracker, struct position position);
/* It is complete. Ignored when the epoch is another one's. Completing twice is a bug of ours (asserted). */
void tracker_complete(struct tracker *tracker, uint32_t epoch, uint64_t ticket);
size_t tracker_in_flight(const struct tracker *tracker);
/* True, and the position, when the watermark has moved since the last call that returned true. */
bool tracker_watermark(struct tracker *tracker, struct position *ret);

/* The position that was told last was not committed: tell it again. */
void tracker_remind(struct tracker *tracker);

#endif
