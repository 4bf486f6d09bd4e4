/*
 * open.h - opening a bus: the three kinds, and the options of all of them. Whoever uses an open bus needs bus/bus.h
 * alone.
 */
#ifndef SLUICE_BUS_OPEN_H
#define SLUICE_BUS_OPEN_H

#include "bus/bus.h"

struct bus_property {
    const char *name, *value;
};

/* A topic as the pipeline wants it. */
struct bus_topic {
    const char *name;
    const char *key;                 /* its `key:` as written, or NULL: topics of one key need as many partitions */
    int32_t partitions, replication; /* when it is made; 0: bus.partitions, and the brokers' own replication */
    bool dead_letters;               /* of others: no pattern of a subscription matches it */
    bool own;                        /* notes of the engine: no pattern matches it; a key's last record is kept */
    const char *dead_letter;         /* the topic of its own; NULL: none, as nothing of it is read */
};

/* Texts, arrays, and the store live as long as the bus; the struct itself may go after the call. */
struct bus_options {
    const char *name; /* of the pipeline; for client ids */
    const char
        *engine; /* id of the engine, the same for a worker process and the one that replaces it; NULL: a new one */
    /* of the log, made once (postgres, memory), later values must agree; of a topic that is made (kafka) */
    uint32_t partitions;
    int32_t replication;  /* of a topic that is made; 0: the brokers' own default (kafka) */
    int64_t retention_ms; /* how long handled records are kept (postgres, memory) */
    bool looked_at;       /* only: opening it writes nothing, and nothing is published */
    struct store *store;  /* postgres: the log; kafka: positions beside the effects; NULL: none */
    /* kafka: */
    const struct bus_property *properties; /* librdkafka's names, checked by the pipeline */
    size_t property_count;
    const struct bus_topic *topics; /* all that the pipeline reads or writes */
    size_t topic_count;
    size_t max_event_size;    /* bytes of a value */
    int64_t longest_delay_ms; /* of any retry: nothing may expire earlier */
};

/* -EINVAL for an impossible number of partitions; -ENOMEM. */
int bus_memory_open(const struct bus_options *options, struct bus **ret, struct error *error);
/* Also -EINVAL when the log has another number of partitions, -ESTALE when it was restored from another server,
 * -EPROTO when the schema is not there. A database that cannot be reached is no error: subscribe() gives -EAGAIN
 * until it can be. */
int bus_postgres_open(const struct bus_options *options, struct bus **ret, struct error *error);
/* Connects to nothing yet; -EINVAL when librdkafka does not take a property. */
int bus_kafka_open(const struct bus_options *options, struct bus **ret, struct error *error);

#endif
