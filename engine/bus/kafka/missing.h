/*
 * missing.h - topics that are subscribed to and that the brokers do not give: deleted, or not allowed any more.
 *
 * librdkafka says so once, and the group goes on with the topics that are left.
 */
#ifndef SLUICE_BUS_KAFKA_MISSING_H
#define SLUICE_BUS_KAFKA_MISSING_H

#include <librdkafka/rdkafka.h>

#include <stdbool.h>
#include <stdint.h>

struct bus_consumer;

struct kafka_missing_topic {
    bool suspected;          /* librdkafka met an error that says so; brokers that restart bring some, too */
    rd_kafka_resp_err_t err; /* what the brokers say when they are asked; 0: nothing yet */
};

struct kafka_missing {
    struct kafka_missing_topic *topics; /* as many as the subscription has, in its order */
    int64_t look_ms;                    /* when to ask again */
};

void kafka_missing_suspect(struct bus_consumer *consumer, const char *topic);
/* Each topic that is missing, with the reason. Asks the brokers for those that are suspected, now and then. */
void kafka_missing_each(struct bus_consumer *consumer,
                        void (*each)(const char *what, const char *place, const char *why, void *context),
                        void *context);

#endif
