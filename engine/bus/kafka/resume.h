/*
 * resume.h - from where the partitions of an assignment are read: asks the brokers and the store, decides (start.h),
 * and tells an operator what is remarkable.
 */
#ifndef SLUICE_BUS_KAFKA_RESUME_H
#define SLUICE_BUS_KAFKA_RESUME_H

#include "base/error.h"

#include <librdkafka/rdkafka.h>

struct bus_consumer;

/* Sets the offset of each partition in `list`, whose streams are HALTED. RD_KAFKA_OFFSET_INVALID: it stays so; it has
 * no leader, its next record was deleted, or the brokers' answer is doubted. Warnings go to the log, what needs an
 * operator to health.fault. 0, or negative: not known now. */
int kafka_resume(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct error *error);

#endif
