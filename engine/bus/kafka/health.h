/*
 * health.h - whether a consumer's client reaches the brokers, whether it has failed for good, and what an operator is
 * to be told of that.
 */
#ifndef SLUICE_BUS_KAFKA_HEALTH_H
#define SLUICE_BUS_KAFKA_HEALTH_H

#include "bus/kafka/error.h"

#include <stdint.h>

struct bus_consumer;

enum kafka_client_state {
    KAFKA_CLIENT_ALIVE = 0,
    KAFKA_CLIENT_FENCED, /* fatal: the brokers have another member with its group.instance.id */
    KAFKA_CLIENT_FAILED, /* any other fatal error */
};

struct kafka_health {
    enum kafka_client_state client;
    struct kafka_reason reason; /* of the last error, also of one that librdkafka repeats by itself */
    int64_t check_ms;           /* after an error: when to ask whether any broker answers; 0: no error since one did */
    bool outage_reported;       /* the operator was told that no broker answers or that authentication failed */
    struct error fault;         /* for the next BUS_FAULT, or why the client failed; code 0: nothing to tell */
};

/* The error callback of a consumer's client; opaque is the consumer. */
void kafka_health_on_error(rd_kafka_t *rk, int code, const char *text, void *opaque);
/* The client has failed for good: asks it why. librdkafka 2.0.2 tells it in place of a message, too. */
void kafka_health_failed(struct bus_consumer *consumer);
/* Some time after an error: when no broker answers at all, an operator is told. librdkafka goes on trying. */
void kafka_health_check(struct bus_consumer *consumer);
/* Whether a broker answers within a second. */
bool kafka_health_reachable(struct bus_consumer *consumer);
/* A new client took the place of the one that failed. */
void kafka_health_reset(struct bus_consumer *consumer);

#endif
