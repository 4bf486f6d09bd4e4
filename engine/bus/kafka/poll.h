/*
 * poll.h - reading: messages from librdkafka into chunks that keep them.
 *
 * Messages are taken one by one: the batch calls of librdkafka 2.0.2 skip offsets around rebalances. Payloads are not
 * copied: a chunk owns its messages and destroys them together.
 */
#ifndef SLUICE_BUS_KAFKA_POLL_H
#define SLUICE_BUS_KAFKA_POLL_H

#include "bus/bus.h"

/* Of the contract: bus/bus.h. Records last: before them come changes of the assignment and faults. */
int kafka_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);

#endif
