/*
 * durability.h - whether a topic keeps what was acknowledged: leaders, replicas in sync, elections.
 */
#ifndef SLUICE_BUS_KAFKA_DURABILITY_H
#define SLUICE_BUS_KAFKA_DURABILITY_H

#include "bus/bus.h"

#include <librdkafka/rdkafka.h>

/* A value of a topic's or broker's configuration; NULL: there is none. */
const char *kafka_config_value(const rd_kafka_ConfigResource_t *resource, const char *name);

/* What is wrong with the topic, as findings. `resource`: its configuration. */
void kafka_durability(const rd_kafka_metadata_topic_t *topic, const rd_kafka_ConfigResource_t *resource,
                      void (*each)(const struct bus_finding *finding, void *context), void *context);

#endif
