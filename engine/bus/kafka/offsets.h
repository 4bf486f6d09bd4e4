/*
 * offsets.h - what the brokers know of partitions: the group's committed offset, where each begins and ends.
 */
#ifndef SLUICE_BUS_KAFKA_OFFSETS_H
#define SLUICE_BUS_KAFKA_OFFSETS_H

#include "base/error.h"
#include "bus/kafka/start.h"

#include <librdkafka/rdkafka.h>

/* Fills ret[i] for the i-th of `list`, with `recorded` -1. `rk` is a member of the group. Waits wait_ms at most for
 * each of three answers. 0, or negative with a sentence. */
int kafka_offsets_ask(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                      struct kafka_offsets *ret, struct error *error);
/* Asks again for ret[i].high only. `rk` decides what an end is: to a reader of committed records a partition ends where
 * the first open transaction begins. */
int kafka_offsets_ends(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                       struct kafka_offsets *ret, struct error *error);

#endif
