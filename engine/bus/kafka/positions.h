/*
 * positions.h - a group's positions in the store (sluice.bus_position), beside the effects. A consumer without a
 * connection to the store keeps none, and all calls succeed.
 */
#ifndef SLUICE_BUS_KAFKA_POSITIONS_H
#define SLUICE_BUS_KAFKA_POSITIONS_H

#include "base/error.h"
#include "bus/kafka/start.h"

#include <librdkafka/rdkafka.h>

struct bus_consumer;

/* Fills recorded and skipped of offsets[i], which the brokers' answers are in, for the i-th of `list`. -EAGAIN: not
 * known now. */
int kafka_positions_load(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                         struct kafka_offsets *offsets, struct error *error);
/* Writes list's offsets; a position never goes back. -EAGAIN: not written. */
int kafka_positions_save(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                         struct error *error);
/* The topic was deleted or recreated: its positions mean nothing. partition -1: all of the topic. */
int kafka_positions_delete(struct bus_consumer *consumer, const char *topic, int32_t partition, struct error *error);

#endif
