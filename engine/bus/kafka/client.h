/*
 * client.h - making and ending clients of librdkafka. A client's callbacks are its maker's: nothing here knows groups
 * or producers.
 */
#ifndef SLUICE_BUS_KAFKA_CLIENT_H
#define SLUICE_BUS_KAFKA_CLIENT_H

#include "bus/kafka/error.h"
#include "bus/kafka/options.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

enum { KAFKA_REQUEST_MS = 5000 }; /* the longest wait for an answer of the brokers, or of the store */

struct kafka_client_config {
    enum kafka_role role;
    const char *group, *instance;                 /* of consumers: group.id, group.instance.id; or NULL */
    const char *transactional;                    /* of a producer: transactional.id; or NULL */
    void (*set_callbacks)(rd_kafka_conf_t *conf); /* NULL: none */
    void *opaque;                                 /* of the callbacks */
};
/* A client with the properties of its role. NULL with a sentence (EINVAL). */
rd_kafka_t *kafka_client_new(const struct bus_options *options, const struct kafka_client_config *config,
                             struct error *error);
/* A reader without a group, whose error callback fills *reason as long as it lives. */
rd_kafka_t *kafka_client_scanner(const struct bus_options *options, struct kafka_reason *reason, struct error *error);
/* The same, to ask about a group and commit for one without members, in which it is no member. */
rd_kafka_t *kafka_client_asking(const struct bus_options *options, const char *group, struct kafka_reason *reason,
                                struct error *error);
/* Ends a consumer or scanner without leaving its group, and waits a second at most: librdkafka before 2.5.0 never ends
 * a client that read a topic until it was deleted. */
void kafka_client_end(rd_kafka_t *rk);

/* A client that lives as long as somebody holds it or a message of it. Any thread. */
struct kafka_client {
    atomic_size_t holders;
    rd_kafka_t *rk;
};
void kafka_client_hold(struct kafka_client *client);
void kafka_client_release(struct kafka_client *client); /* NULL: nothing. The last one ends it */
/* The same on a thread of its own. Ending a client can take ten seconds when brokers do not answer: librdkafka waits
 * for what is in flight, above all a commit. */
void kafka_client_release_detached(struct kafka_client *client);

#endif
