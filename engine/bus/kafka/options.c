/*
 * options.c - see options.h.
 */
#include "bus/kafka/options.h"

#include "bus/chunk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is too large to be handled came over Kafka, and leaves as a dead letter: no limit of ours may be below a
 * topic's. */
enum { LARGEST_RECORD = 64 * 1024 * 1024 };

enum { ANY = KAFKA_CONSUMER | KAFKA_SCANNER | KAFKA_PRODUCER, READERS = KAFKA_CONSUMER | KAFKA_SCANNER };

struct client_property {
    const char *name, *value;
    unsigned roles;
};

static const struct client_property default_properties[] = {
    {"socket.keepalive.enable", "true", ANY},
    {"socket.nagle.disable", "true", ANY},
    /* A connection that answers nothing for so long is closed; also an answer over a slow network must come in time. */
    {"socket.timeout.ms", "15000", ANY},
    {"fetch.max.bytes", "4194304", READERS},
    {"reconnect.backoff.ms", "50", ANY},
    {"reconnect.backoff.max.ms", "1000", ANY},
    {"topic.metadata.refresh.interval.ms", "5000", ANY}, /* partitions added, topics recreated */
    {"session.timeout.ms", "10000", KAFKA_CONSUMER},
    {"heartbeat.interval.ms", "300", KAFKA_CONSUMER},           /* so soon does a member hear of a rebalance */
    {"partition.assignment.strategy", "range", KAFKA_CONSUMER}, /* a key's topics stay together */
    {"fetch.wait.max.ms", "200", READERS},
    {"fetch.error.backoff.ms", "100", READERS},
    /* A consumer that holds so much stops fetching: see fetch.h. */
    {"queued.min.messages", "100000", READERS},
    {"queued.max.messages.kbytes", "4096", READERS},
    {"linger.ms", "0", KAFKA_PRODUCER}, /* records that come while a request is in flight go out together after it */
    {"retry.backoff.ms", "50", KAFKA_PRODUCER},
    {"message.timeout.ms", "120000", KAFKA_PRODUCER},
    /* a topic that is unknown for so long does not exist */
    {"topic.metadata.propagation.max.ms", "5000", KAFKA_PRODUCER},
    {"queue.buffering.max.messages", "200000", KAFKA_PRODUCER},
    {"queue.buffering.max.kbytes", "131072", KAFKA_PRODUCER},
};

static const struct client_property engine_properties[] = {
    {"enable.auto.commit", "false", READERS},
    {"enable.auto.offset.store", "false", READERS},
    {"auto.offset.reset", "error", KAFKA_CONSUMER}, /* an offset out of range comes to resume.h */
    {"auto.offset.reset", "earliest", KAFKA_SCANNER},
    {"isolation.level", "read_committed", READERS},
    {"check.crcs", "true", READERS},
    {"enable.partition.eof", "true", READERS}, /* an end behind the last record counts as consumed: poll.c */
    {"allow.auto.create.topics", "false", ANY},
    {"isolation.level", "read_uncommitted", KAFKA_PRODUCER}, /* for kafka_producer_ends(); it reads no records */
    {"enable.idempotence", "true", KAFKA_PRODUCER},
    {"acks", "all", KAFKA_PRODUCER},
    /* no request overtakes one that has to be repeated */
    {"max.in.flight.requests.per.connection", "1", KAFKA_PRODUCER},
    {"partitioner", "murmur2_random", KAFKA_PRODUCER}, /* a key's partition is the one that Java's clients choose */
};

/* Properties that only some clients understand; the others are for all. A name that ends in '*' is a prefix. */
static const struct {
    const char *name;
    unsigned roles;
} property_roles[] = {
    {"group.*", KAFKA_CONSUMER},
    {"partition.assignment.strategy", KAFKA_CONSUMER},
    {"session.timeout.ms", KAFKA_CONSUMER},
    {"heartbeat.interval.ms", KAFKA_CONSUMER},
    {"max.poll.interval.ms", KAFKA_CONSUMER},
    {"fetch.*", READERS},
    {"max.partition.fetch.bytes", READERS},
    {"queued.*", READERS},
    {"linger.ms", KAFKA_PRODUCER},
    {"queue.buffering.*", KAFKA_PRODUCER},
    {"batch.*", KAFKA_PRODUCER},
    {"compression.*", KAFKA_PRODUCER},
    {"message.timeout.ms", KAFKA_PRODUCER},
    {"delivery.timeout.ms", KAFKA_PRODUCER},
    {"request.timeout.ms", KAFKA_PRODUCER},
};

/* Values that older versions of librdkafka do not have, or get wrong. */
static const struct {
    const char *name, *value;
    int since; /* as rd_kafka_version() gives it */
    const char *version, *instead;
} minimum_versions[] = {
    {"partition.assignment.strategy", "cooperative-sticky", 0x020a01ff, "2.10.1", "range or roundrobin"},
    {"group.protocol", "consumer", 0x020c00ff, "2.12.0", "classic"},
};

static unsigned roles_of(const char *name)
{
    for (size_t i = 0; i < sizeof property_roles / sizeof property_roles[0]; i++) {
        size_t length = strlen(property_roles[i].name);
        if (property_roles[i].name[length - 1] == '*' ? strncmp(property_roles[i].name, name, length - 1) == 0
                                                      : strcmp(property_roles[i].name, name) == 0)
            return property_roles[i].roles;
    }
    return ANY;
}

const char *kafka_options_property(const struct bus_options *options, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < options->property_count; i++)
        if (strcmp(options->properties[i].name, name) == 0)
            value = options->properties[i].value;
    return value;
}

int64_t kafka_options_largest_record(const struct bus_options *options)
{
    const char *set = kafka_options_property(options, "message.max.bytes");
    return set == NULL ? LARGEST_RECORD : strtoll(set, NULL, 10);
}

bool kafka_options_new_protocol(const struct bus_options *options)
{
    const char *protocol = kafka_options_property(options, "group.protocol");
    return protocol != NULL && strcmp(protocol, "consumer") == 0;
}

int kafka_options_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return 0;
    error_set(error, EINVAL, "bus.properties.%s: librdkafka %s says: %s", name, rd_kafka_version_str(), text);
    return error_hint(error, "remove it, or give it a value that this version takes");
}

/* Whether `word` is one of "a,b". */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(list, word); at != NULL; at = strstr(at + 1, word))
        if ((at == list || at[-1] == ',' || at[-1] == ' ') && (at[length] == '\0' || at[length] == ','))
            return true;
    return false;
}

static int check_versions(const struct bus_options *options, struct error *error)
{
    for (size_t i = 0; i < sizeof minimum_versions / sizeof minimum_versions[0]; i++) {
        const char *value = kafka_options_property(options, minimum_versions[i].name);
        if (value == NULL || !has_word(value, minimum_versions[i].value) ||
            rd_kafka_version() >= minimum_versions[i].since)
            continue;
        error_set(error, EINVAL, "bus.properties.%s: %s needs librdkafka %s; this is %s", minimum_versions[i].name,
                  value, minimum_versions[i].version, rd_kafka_version_str());
        return error_hint(error, "say %s", minimum_versions[i].instead);
    }
    return 0;
}

/* With group.protocol: consumer the client must not set these. */
static bool set_by_brokers(const char *name)
{
    static const char *const names[] = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int apply_defaults(const struct bus_options *options, enum kafka_role role, rd_kafka_conf_t *conf,
                          struct error *error)
{
    bool new_protocol = kafka_options_new_protocol(options);
    char text[128];
    int code = 0;

    for (size_t i = 0; i < sizeof default_properties / sizeof default_properties[0] && code == 0; i++) {
        const struct client_property *property = &default_properties[i];
        if ((property->roles & role) != 0 && !(new_protocol && set_by_brokers(property->name)))
            code = kafka_options_set(conf, property->name, property->value, error);
    }
    if ((role & READERS) != 0) /* 2.0.2 does not know it: see fetch.h */
        (void)rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", NULL, 0);
    snprintf(text, sizeof text, "sluice-%.100s", options->name);
    if (code == 0)
        code = kafka_options_set(conf, "client.id", text, error);
    snprintf(text, sizeof text, "%d", LARGEST_RECORD);
    if (code == 0 && role == KAFKA_PRODUCER)
        code = kafka_options_set(conf, "message.max.bytes", text, error);
    return code;
}

static int apply_user(const struct bus_options *options, enum kafka_role role, rd_kafka_conf_t *conf,
                      struct error *error)
{
    int code = check_versions(options, error);
    for (size_t i = 0; i < options->property_count && code == 0; i++) {
        const struct bus_property *property = &options->properties[i];
        /* 2.0.2 has the classic protocol only, and does not know the property */
        bool classic = strcmp(property->name, "group.protocol") == 0 && !kafka_options_new_protocol(options);
        if ((roles_of(property->name) & role) != 0 && !classic)
            code = kafka_options_set(conf, property->name, property->value, error);
    }
    return code;
}

int kafka_options_apply(const struct bus_options *options, enum kafka_role role, rd_kafka_conf_t *conf,
                        struct error *error)
{
    int code = apply_defaults(options, role, conf, error);
    if (code == 0)
        code = apply_user(options, role, conf, error);
    for (size_t i = 0; i < sizeof engine_properties / sizeof engine_properties[0] && code == 0; i++)
        if ((engine_properties[i].roles & role) != 0)
            code = kafka_options_set(conf, engine_properties[i].name, engine_properties[i].value, error);
    return code;
}

int kafka_options_check(const struct bus_options *options, struct error *error)
{
    static const enum kafka_role roles[] = {KAFKA_CONSUMER, KAFKA_SCANNER, KAFKA_PRODUCER};
    int code = 0;
    for (size_t i = 0; i < sizeof roles / sizeof roles[0] && code == 0; i++) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        code = kafka_options_apply(options, roles[i], conf, error);
        rd_kafka_conf_destroy(conf);
    }
    return code;
}

rd_kafka_topic_partition_list_t *kafka_options_topics(const struct bus_options *options, const char *const *topics,
                                                      size_t topic_count, bool dead_letters)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)topic_count);
    for (size_t t = 0; t < topic_count; t++) {
        size_t length = strlen(topics[t]);
        bool pattern = length > 0 && topics[t][length - 1] == '*';
        if (!pattern && rd_kafka_topic_partition_list_find(list, topics[t], RD_KAFKA_PARTITION_UA) == NULL)
            rd_kafka_topic_partition_list_add(list, topics[t], RD_KAFKA_PARTITION_UA);
        for (size_t i = 0; pattern && i < options->topic_count; i++) {
            const char *name = options->topics[i].name;
            if (topics_match(&topics[t], 1, span_of(name)) && !options->topics[i].own &&
                (dead_letters || !options->topics[i].dead_letters) &&
                rd_kafka_topic_partition_list_find(list, name, RD_KAFKA_PARTITION_UA) == NULL)
                rd_kafka_topic_partition_list_add(list, name, RD_KAFKA_PARTITION_UA);
        }
    }
    return list;
}
