/*
 * scan.h - reading topics from their first record in no group, for people and tools.
 *
 * Partitions have no common order but their records' time. Until each partition was read up to where it ends, records
 * are merged by time, ten thousand at once; after that, when following, they are delivered as they come.
 */
#ifndef SLUICE_BUS_KAFKA_SCAN_H
#define SLUICE_BUS_KAFKA_SCAN_H

#include "bus/bus.h"

/* Of the contract: bus/bus.h. -ENOENT: the brokers do not have a topic; -EAGAIN: they do not answer, or nothing comes
 * of a partition any more. */
int kafka_scan(struct bus *bus, const struct bus_scan *wanted, struct error *error);

#endif
