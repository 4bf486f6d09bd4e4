/*
 * options.h - the options of the bus as properties of librdkafka, and as lists of topics.
 *
 * Three layers, the later ones win: what is good for most, which the user may change; what the user set; what the
 * engine's promises rest on. The pipeline's loader has refused properties that would be of the third kind.
 */
#ifndef SLUICE_BUS_KAFKA_OPTIONS_H
#define SLUICE_BUS_KAFKA_OPTIONS_H

#include "bus/open.h"

#include <librdkafka/rdkafka.h>

/* What a client is for: a member of a group, a reader without one, a producer. Bits. */
enum kafka_role { KAFKA_CONSUMER = 1, KAFKA_SCANNER = 2, KAFKA_PRODUCER = 4 };

/* Whether clients of every role would take the properties; makes none. -EINVAL with a sentence. */
int kafka_options_check(const struct bus_options *options, struct error *error);
/* Sets what a client of the role gets. -EINVAL with a sentence. */
int kafka_options_apply(const struct bus_options *options, enum kafka_role role, rd_kafka_conf_t *conf,
                        struct error *error);
int kafka_options_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error);
/* Bytes of the largest record that the producer sends; the brokers check each topic's own limit. */
int64_t kafka_options_largest_record(const struct bus_options *options);
/* As the user set it, or NULL. */
const char *kafka_options_property(const struct bus_options *options, const char *name);
/* group.protocol: consumer (KIP-848), where the brokers decide about sessions and assignments. */
bool kafka_options_new_protocol(const struct bus_options *options);
/* The names, and for each pattern those of the options' topics that match; dead letter topics only if wanted, the
 * engine's own never.
 * The caller destroys the list. */
rd_kafka_topic_partition_list_t *kafka_options_topics(const struct bus_options *options, const char *const *topics,
                                                      size_t topic_count, bool dead_letters);

#endif
