/*
 * metadata.h - what the brokers have: topics, partitions, the members of a group.
 */
#ifndef SLUICE_BUS_KAFKA_METADATA_H
#define SLUICE_BUS_KAFKA_METADATA_H

#include "bus/kafka/error.h"
#include "bus/open.h"

#include <librdkafka/rdkafka.h>

/* Every topic and partition of the brokers, of a client without a subscription; `reason` is what its error callback
 * fills. The caller destroys *ret. 0, or -EAGAIN with the reason. */
int kafka_metadata(rd_kafka_t *rk, const struct kafka_reason *reason, const struct rd_kafka_metadata **ret,
                   struct error *error);
/* NULL: the brokers do not have it. */
const rd_kafka_metadata_topic_t *kafka_metadata_topic(const struct rd_kafka_metadata *metadata, const char *name);
bool kafka_metadata_has_leader(const struct rd_kafka_metadata *metadata, const char *topic, int32_t partition);
/* 0 when the brokers have every topic of the options; -ESTALE when not, -EAGAIN when they do not answer. */
int kafka_metadata_check(rd_kafka_t *rk, const struct bus_options *options, const struct kafka_reason *reason,
                         struct error *error);
/* *ret: the group with its members, or NULL when that is not known within the time. The caller destroys the event that
 * is returned, and *ret with it; NULL: there is none. */
rd_kafka_event_t *kafka_group_describe(rd_kafka_t *rk, const char *group, int wait_ms,
                                       const rd_kafka_ConsumerGroupDescription_t **ret);

#endif
