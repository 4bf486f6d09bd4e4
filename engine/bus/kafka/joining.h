/*
 * joining.h - how long a member waits until its group assigns partitions to it, perhaps none, and why it is refused.
 *
 * librdkafka asks again for ever, also where the answer cannot change before somebody changes a configuration: a group
 * whose members use another assignor, that is full, or whose broker does not take the session's timeout.
 */
#ifndef SLUICE_BUS_KAFKA_JOINING_H
#define SLUICE_BUS_KAFKA_JOINING_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdint.h>

struct bus_consumer;

struct kafka_joining {
    int64_t since_ms;  /* it waits; 0: partitions were assigned, and not revoked since */
    int64_t report_ms; /* when an operator is told again that it is refused */
    char why[400];     /* the coordinator's last refusal; empty: it said nothing */
};

void kafka_joining_begin(struct kafka_joining *joining);
void kafka_joining_restart(struct kafka_joining *joining); /* where it waits: from now on */
void kafka_joining_done(struct kafka_joining *joining);
/* Something failed that may be why it waits. */
void kafka_joining_note(struct kafka_joining *joining, const char *text);
/* The group refuses the member: health.fault tells an operator, once a minute. */
void kafka_joining_refused(struct bus_consumer *consumer, rd_kafka_resp_err_t err, const char *text);
/* True when it has waited for longer than a rebalance takes. */
bool kafka_joining_late(const struct kafka_joining *joining);

#endif
