/*
 * writer.h - publishing as a whole: each call is one transaction of a producer of its own.
 *
 * The brokers keep, for each transactional id, which producer was started last. Starting one ends what the one before
 * has left, and refuses whatever that sends later. A process that dies in a transaction leaves it open; readers of its
 * partitions wait behind it until the writer is opened again, or the brokers abort it (client.c says when).
 */
#ifndef SLUICE_BUS_KAFKA_WRITER_H
#define SLUICE_BUS_KAFKA_WRITER_H

#include "bus/bus.h"

/* Of the contract: bus/bus.h. */
int kafka_writer_open(struct bus *bus, const char *name, int64_t deadline_ms, struct bus_writer **ret,
                      struct error *error);
int kafka_writer_publish(struct bus_writer *writer, const struct record *records, size_t count, int64_t deadline_ms,
                         size_t *ret_failed, struct error *error);
void kafka_writer_close(struct bus_writer *writer);

#endif
