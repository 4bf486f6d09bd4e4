/*
 * bus.h - what carries events: one contract for memory, postgres and kafka.
 *
 * Topics have a fixed number of partitions; a key's events are in one partition, in order. A consumer is one member
 * of a consumer group: the bus assigns partitions to it and revokes them, each assignment with an epoch of its own.
 * What is delivered is completed by the engine in any order; the engine commits, per partition, the position of the
 * last record below which everything is complete. A record is delivered at least once: again after a revocation, a
 * crash or a rewind.
 *
 * Positions are those of event/position.h. "stream" below is what the bus orders: one topic-partition in Kafka, one
 * partition of the log that all topics share in the others.
 *
 * Threads: bus_* and publisher calls from any thread; a consumer's calls from one thread at a time, except
 * bus_wake().
 */
#ifndef SLUICE_BUS_BUS_H
#define SLUICE_BUS_BUS_H

#include "base/error.h"
#include "base/metrics.h"
#include "event/event.h"
#include "event/position.h"

struct connection; /* store/store.h */
struct store;

struct bus;
struct bus_consumer;

/* Records arrive in chunks: one allocation with everything that its records point to. The consumer of a chunk
 * releases each record once; the chunk is freed with the last (atomic count). */
struct bus_chunk;

struct bus_record {
    struct record record; /* spans into the chunk; timestamp_ms, headers filled */
    struct position position;
    uint32_t stream;   /* index into the consumer's streams: stable while assigned */
    uint32_t epoch;    /* of the assignment it belongs to */
    uint64_t key_hash; /* span_hash(key); of the position when there is no key */
    struct bus_chunk *chunk;
};
void bus_chunk_release(struct bus_chunk *chunk, size_t records); /* gives `records` references back; any thread */

enum bus_event_kind { BUS_RECORDS = 1, BUS_ASSIGNED, BUS_REVOKED, BUS_LOST, BUS_FAULT };

/* What a poll can bring. */
struct bus_event {
    enum bus_event_kind kind;
    struct bus_record *records; /* BUS_RECORDS; the array lives until the next poll, the bytes as long as the chunk */
    size_t record_count;
    const uint32_t *streams; /* the others: which streams; they live until the next poll */
    const uint32_t *epochs;  /* BUS_ASSIGNED: the epoch of each from now on */
    size_t stream_count;
    struct error error; /* BUS_FAULT: something a person must know; the bus keeps trying */
};

struct bus_subscription {
    const char *group;
    const char *const *topics; /* exact names or with a trailing '*' (taps) */
    size_t topic_count;
    uint32_t poll_records; /* most records a poll brings */
    size_t poll_bytes;     /* and about how many bytes */
    bool recorded;         /* what the group handles is recorded in the store: then so are its positions (kafka) */
};

/* A topic as the pipeline wants it. Text lives as long as the bus. */
struct bus_topic {
    const char *name;
    const char *key;                 /* its `key:` as written, or NULL: topics of one key need as many partitions */
    int32_t partitions, replication; /* when it is made; 0: bus.partitions, and the brokers' own replication */
    bool dead_letters;               /* of others: no pattern of a subscription means it */
};

enum bus_finding_kind { BUS_FINDING_MADE = 1, BUS_FINDING_WARNING, BUS_FINDING_ERROR };
struct bus_finding {
    enum bus_finding_kind kind;
    const char *code;  /* a word for programs: "topic_missing" */
    const char *topic; /* which it is about; NULL: the bus */
    const char *text;  /* one sentence */
};

/* What every bus implements. Kept apart from the instance, so that a test can stand one in. */
struct bus_kind {
    const char *name;   /* "memory", "postgres", "kafka" */
    bool durable;       /* events survive the process */
    bool transactional; /* append() works: outputs are part of the store's transaction and need no outbox */

    void (*close)(struct bus *bus);
    int (*subscribe)(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                     struct error *error);

    /* Waits up to timeout_ms for something to happen; 0 filled *ret, -EAGAIN nothing, other negative: fatal for this
     * consumer. BUS_REVOKED: the engine stops what is queued, finishes what is running, commits, then calls
     * revoked(). BUS_LOST: somebody else may have them already: drop everything, commit nothing. */
    int (*poll)(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
    void (*wake)(struct bus_consumer *consumer); /* a poll in progress returns; any thread */
    /* Records of these streams are wanted no more for a while / again. Only streams that are assigned. */
    void (*pause)(struct bus_consumer *consumer, bool paused); /* the whole consumer: back-pressure */
    /* Everything up to and including `position` is complete. A stale epoch is ignored (0 is returned). Durable when
     * it returns for the postgres bus; handed to the commit machinery for kafka. */
    int (*commit)(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                  const struct position *positions, struct error *error);
    /* the engine has let go; the rebalance may go on */
    int (*revoked)(struct bus_consumer *consumer, struct error *error);
    /* Leaves the group so that a peer takes over at once. Frees the consumer. */
    void (*unsubscribe)(struct bus_consumer *consumer);
    /* The row in sluice.bus_member that fences this consumer's transactions (ledger_claim); 0 when the bus needs
     * none. */
    int64_t (*member)(struct bus_consumer *consumer);
    /* For people: "partition 3 of payment.try at 17", "partition 3 at 90211/4:7". */
    void (*describe)(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf, size_t size,
                     int32_t *ret_partition, int64_t *ret_offset);

    /* Publishes and waits for every acknowledgement; 0 only when all have it. Else negative, and any of them may
     * have been published. Permanent refusals give -EMSGSIZE (too large), -ENOENT (no such topic), -EACCES (not
     * allowed), -EBADMSG or -EINVAL (not a record for this bus), with *ret_failed, the index of the first. deadline:
     * monotonic ms. */
    int (*publish)(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                   struct error *error);
    /* The process stops and has no more time: publishes in progress and later ones end soon, whatever has become of
     * them. NULL: they never wait for long. Any thread. */
    void (*abort_publishes)(struct bus *bus);
    /* Transactional buses: puts the records into the connection's open transaction (queued; see store.h). Then,
     * after COMMIT, published() wakes the readers of this process; others are notified by the transaction. Returns
     * an enum store_result. */
    int (*append)(struct bus *bus, struct connection *connection, const struct record *records, size_t count,
                  struct error *error);
    void (*published)(struct bus *bus);

    /* Reads a topic from the oldest record kept, in no group: for `sluice tap`, `explain` and the checker. each()
     * returns false to stop. `contains` (may be empty) is a text that the value must hold; follow: goes on until
     * each() stops or *stop is set. topic patterns as above. */
    int (*scan)(struct bus *bus, const char *const *topics, size_t topic_count, struct span contains, bool follow,
                const volatile int *stop,
                bool (*each)(const struct record *record, int32_t partition, struct position position, void *context),
                void *context, struct error *error);
    /* Records not yet completed by a group, for /metrics and progress; negative errno when it cannot say. */
    int64_t (*lag)(struct bus *bus, const char *group);
    /* Housekeeping due about once a second from one thread: trims the log, makes room. */
    void (*maintain)(struct bus *bus);
    /* Connects and compares the topics of the options with what is there; `make`: makes those that are missing.
     * each() is told one finding after another. 0 when it could look. NULL: topics need no making on this bus. */
    int (*topics)(struct bus *bus, bool make, void (*each)(const struct bus_finding *finding, void *context),
                  void *context, struct error *error);
};

struct bus { /* the head of every implementation's struct */
    const struct bus_kind *kind;
};

/* The contract as calls; what each promises is said at its member above. */
static inline void bus_close(struct bus *bus)
{
    bus->kind->close(bus);
}
static inline int bus_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                                struct error *error)
{
    return bus->kind->subscribe(bus, subscription, ret, error);
}
static inline int bus_poll(struct bus *bus, struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret,
                           struct error *error)
{
    return bus->kind->poll(consumer, timeout_ms, ret, error);
}
static inline void bus_wake(struct bus *bus, struct bus_consumer *consumer)
{
    bus->kind->wake(consumer);
}
static inline void bus_pause(struct bus *bus, struct bus_consumer *consumer, bool paused)
{
    bus->kind->pause(consumer, paused);
}
static inline int bus_commit(struct bus *bus, struct bus_consumer *consumer, size_t count, const uint32_t *streams,
                             const uint32_t *epochs, const struct position *positions, struct error *error)
{
    return bus->kind->commit(consumer, count, streams, epochs, positions, error);
}
static inline int bus_revoked(struct bus *bus, struct bus_consumer *consumer, struct error *error)
{
    return bus->kind->revoked(consumer, error);
}
static inline void bus_unsubscribe(struct bus *bus, struct bus_consumer *consumer)
{
    bus->kind->unsubscribe(consumer);
}
static inline int64_t bus_member(struct bus *bus, struct bus_consumer *consumer)
{
    return bus->kind->member(consumer);
}
static inline void bus_describe(struct bus *bus, struct bus_consumer *consumer, uint32_t stream,
                                struct position position, char *buf, size_t size, int32_t *ret_partition,
                                int64_t *ret_offset)
{
    bus->kind->describe(consumer, stream, position, buf, size, ret_partition, ret_offset);
}
static inline int bus_publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms,
                              size_t *ret_failed, struct error *error)
{
    return bus->kind->publish(bus, records, count, deadline_ms, ret_failed, error);
}
static inline void bus_abort_publishes(struct bus *bus)
{
    if (bus->kind->abort_publishes != NULL)
        bus->kind->abort_publishes(bus);
}
static inline int bus_append(struct bus *bus, struct connection *connection, const struct record *records, size_t count,
                             struct error *error)
{
    return bus->kind->append(bus, connection, records, count, error);
}
static inline void bus_published(struct bus *bus)
{
    bus->kind->published(bus);
}
static inline int bus_scan(struct bus *bus, const char *const *topics, size_t topic_count, struct span contains,
                           bool follow, const volatile int *stop,
                           bool (*each)(const struct record *record, int32_t partition, struct position position,
                                        void *context),
                           void *context, struct error *error)
{
    return bus->kind->scan(bus, topics, topic_count, contains, follow, stop, each, context, error);
}
static inline int64_t bus_lag(struct bus *bus, const char *group)
{
    return bus->kind->lag(bus, group);
}
static inline void bus_maintain(struct bus *bus)
{
    bus->kind->maintain(bus);
}
static inline int bus_topics(struct bus *bus, bool make, void (*each)(const struct bus_finding *finding, void *context),
                             void *context, struct error *error)
{
    return bus->kind->topics == NULL ? 0 : bus->kind->topics(bus, make, each, context, error);
}

/* -------------------------------------------------------------------------------------------- the three of them */

struct bus_property {
    const char *name, *value;
};

struct bus_options {
    const char *name; /* of the pipeline; for client ids */
    /* of the log, made once (postgres, memory), later values must agree; of a topic that is made (kafka) */
    uint32_t partitions;
    int32_t replication;  /* of a topic that is made; 0: the brokers' own default (kafka) */
    int64_t retention_ms; /* how long handled records are kept (postgres, memory) */
    struct store *store;  /* postgres: the log; kafka: positions beside the effects; NULL: none */
    struct metrics *metrics;
    /* kafka; all of it lives as long as the bus: */
    const struct bus_property *properties; /* librdkafka's names, checked by the pipeline */
    size_t property_count;
    const struct bus_topic *topics; /* all that the pipeline reads or writes */
    size_t topic_count;
    size_t max_event_size;    /* bytes of a value */
    int64_t longest_delay_ms; /* of any retry: nothing may expire earlier */
};

int bus_memory_open(const struct bus_options *options, struct bus **ret, struct error *error);
/* A database that is away is no error: subscribe() then gives -EAGAIN until it comes. */
int bus_postgres_open(const struct bus_options *options, struct bus **ret, struct error *error);
/* Connects to nothing yet; -EINVAL when librdkafka does not take a property. */
int bus_kafka_open(const struct bus_options *options, struct bus **ret, struct error *error);

#endif
