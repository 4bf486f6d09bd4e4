/*
 * producer.h - publishing: records are sent together, and kafka_publish() returns when each has its delivery report.
 *
 * The bus has one producer at a time. One of librdkafka 2.0.2 can fail for good when a broker restarts at the wrong
 * moment. Such a producer is retired, and so is one that does not get its records out by a deadline:
 *
 *   1. it is taken out of the bus, and the next publish makes another;
 *   2. what it holds is purged, which brings a report with an error for each record;
 *   3. its publishes go on with the next producer, in order, from their first record without an acknowledgement;
 *   4. when none uses it any more, its thread ends it.
 */
#ifndef SLUICE_BUS_KAFKA_PRODUCER_H
#define SLUICE_BUS_KAFKA_PRODUCER_H

#include "bus/kafka/kafka.h"
#include "bus/kafka/offsets.h"

/* Of the contract: bus/bus.h. */
int kafka_publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                  struct error *error);
void kafka_abort_publishes(struct bus *bus);

/* Makes the producer now, if there is none: it needs a moment to get its id from the brokers, which the first record
 * would wait for. -EINVAL with a sentence. */
int kafka_producer_start(struct kafka_bus *bus, struct error *error);
/* kafka_offsets_ends(), with what is behind open transactions: what readers do not see is there. */
int kafka_producer_ends(struct kafka_bus *bus, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                        struct kafka_offsets *ret, struct error *error);
/* Retires it, and waits for all that are being retired. Nobody publishes any more. */
void kafka_producer_close(struct kafka_bus *bus);

#endif
