/*
 * property_table.c - every property of librdkafka that a configuration may set, with its type and range.
 */
#include "pipeline/option.h"

#define PROPERTY_NUMBER(name, least, most)                                                                             \
    {                                                                                                                  \
        name, OPTION_INT64, .own = true, .min = least, .max = most                                                     \
    }
#define PROPERTY_TEXT(name)                                                                                            \
    {                                                                                                                  \
        name, OPTION_TEXT, .own = true, .min = 1                                                                       \
    }
#define PROPERTY_TEXTS(name)                                                                                           \
    {                                                                                                                  \
        name, OPTION_TEXT, .own = true, .list = true, .min = 1                                                         \
    }
#define PROPERTY_CHOICES(name, words)                                                                                  \
    {                                                                                                                  \
        name, OPTION_TEXT, .own = true, .list = true, .choices = words                                                 \
    }
#define PROPERTY_CHOICE(name, words)                                                                                   \
    {                                                                                                                  \
        name, OPTION_TEXT, .own = true, .choices = words                                                               \
    }

const struct option property_options[] = {
    PROPERTY_TEXTS("bootstrap.servers"),
    PROPERTY_TEXTS("metadata.broker.list"),
    PROPERTY_TEXT("client.id"),
    PROPERTY_TEXT("client.rack"),
    PROPERTY_CHOICE("broker.address.family", "any|v4|v6"),
    PROPERTY_CHOICE("security.protocol", "plaintext|ssl|sasl_plaintext|sasl_ssl|PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL"),
    PROPERTY_CHOICE("sasl.mechanism", "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|GSSAPI"),
    PROPERTY_CHOICE("sasl.mechanisms", "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512|GSSAPI"),
    PROPERTY_TEXT("sasl.username"),
    PROPERTY_TEXT("sasl.password"),
    PROPERTY_TEXT("ssl.ca.location"),
    PROPERTY_TEXT("ssl.ca.pem"),
    PROPERTY_TEXT("ssl.certificate.location"),
    PROPERTY_TEXT("ssl.certificate.pem"),
    PROPERTY_TEXT("ssl.key.location"),
    PROPERTY_TEXT("ssl.key.pem"),
    PROPERTY_TEXT("ssl.key.password"),
    PROPERTY_TEXT("ssl.cipher.suites"),
    PROPERTY_CHOICE("ssl.endpoint.identification.algorithm", "none|https"),
    PROPERTY_NUMBER("socket.timeout.ms", 10, 300000),
    {"socket.keepalive.enable", OPTION_BOOL, .own = true},
    PROPERTY_NUMBER("reconnect.backoff.ms", 0, 3600000),
    PROPERTY_NUMBER("reconnect.backoff.max.ms", 0, 3600000),
    PROPERTY_NUMBER("request.timeout.ms", 1, 900000),
    PROPERTY_NUMBER("metadata.max.age.ms", 1, 86400000),
    PROPERTY_NUMBER("topic.metadata.refresh.interval.ms", -1, 3600000),
    PROPERTY_NUMBER("statistics.interval.ms", 0, 86400000),
    PROPERTY_TEXT("group.instance.id"),
    PROPERTY_CHOICE("group.protocol", "classic|consumer"),
    PROPERTY_CHOICES("partition.assignment.strategy", "range|roundrobin|cooperative-sticky"),
    PROPERTY_NUMBER("session.timeout.ms", 1, 3600000),
    PROPERTY_NUMBER("heartbeat.interval.ms", 1, 3600000),
    PROPERTY_NUMBER("max.poll.interval.ms", 1, 86400000),
    PROPERTY_NUMBER("fetch.min.bytes", 1, 100000000),
    PROPERTY_NUMBER("fetch.max.bytes", 0, 2147483135),
    PROPERTY_NUMBER("fetch.wait.max.ms", 0, 300000),
    PROPERTY_NUMBER("max.partition.fetch.bytes", 1, 1000000000),
    PROPERTY_NUMBER("queued.min.messages", 1, 10000000),
    PROPERTY_NUMBER("queued.max.messages.kbytes", 1, 2097151),
    PROPERTY_NUMBER("message.max.bytes", 1000, 1000000000),
    PROPERTY_NUMBER("message.timeout.ms", 0, 2147483647),
    PROPERTY_NUMBER("delivery.timeout.ms", 0, 2147483647),
    PROPERTY_NUMBER("linger.ms", 0, 900000),
    PROPERTY_NUMBER("queue.buffering.max.ms", 0, 900000),
    PROPERTY_NUMBER("batch.size", 1, 2147483647),
    PROPERTY_NUMBER("batch.num.messages", 1, 1000000),
    PROPERTY_CHOICE("compression.type", "none|gzip|snappy|lz4|zstd"),
    PROPERTY_CHOICE("compression.codec", "none|gzip|snappy|lz4|zstd"),
    PROPERTY_NUMBER("compression.level", -1, 12),
    {0},
};

_Static_assert(sizeof property_options / sizeof property_options[0] <= PROPERTIES_MAX + 1, "the end of the table too");
