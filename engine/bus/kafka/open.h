/*
 * open.h - transactions of producers that do not end.
 *
 * Who reads committed records comes no further than the first record of a transaction that is open, and the whole
 * partition stands still behind it. Most end soon; the brokers abort those of a producer that died after its
 * transaction.timeout.ms; some hang for ever, and an operator must abort them.
 */
#ifndef SLUICE_BUS_KAFKA_OPEN_H
#define SLUICE_BUS_KAFKA_OPEN_H

#include <stdint.h>

struct bus_consumer;

struct kafka_open {
    int64_t look_ms, report_ms; /* when to look at the partitions, and to log, again */
};

/* Names a partition that has waited for one for long. Between polls, on their thread. */
void kafka_open_check(struct bus_consumer *consumer);

#endif
