/*
 * lag.h - how many records a group has not read: ends of partitions minus committed offsets.
 */
#ifndef SLUICE_BUS_KAFKA_LAG_H
#define SLUICE_BUS_KAFKA_LAG_H

#include "bus/bus.h"

/* Of the contract: bus/bus.h. Of a group that this process is a member of; -ENOENT of others, -EAGAIN when the brokers
 * do not answer. */
int64_t kafka_lag(struct bus *bus, const char *group);

#endif
