/*
 * bus.h - what carries events: one contract for every kind of bus. bus/open.h opens one.
 *
 * Topics have a fixed number of partitions; a key's events are in one partition, in order. A consumer is one member
 * of a consumer group: the bus assigns streams to it and revokes them. A stream is what the bus orders: one
 * topic-partition in Kafka, one partition of the log that all topics share in the others. An assignment has an epoch,
 * which rises whenever another consumer may have read the stream in between. What is delivered is completed by the
 * engine in any order; the engine commits, per stream, the position up to which it has consumed the log: everything
 * delivered is complete, and what lies between and after it is no record (a bus whose log holds more than records says
 * so: bus_record.before, BUS_CONSUMED). A record is delivered at least once: again after a revocation, a crash or a
 * rewind. Positions are those of event/position.h: only the bus that made one knows more of it than its order.
 *
 * Errors: an int is 0 or a negative errno with a sentence in *error; outputs are set only on 0, unless a member says
 * otherwise.
 *
 * Threads: a call that takes a bus may come from any thread, at the same time as others; bus_close() comes last, after
 * every consumer has unsubscribed. Of the calls that take a consumer, bus_wake(), bus_describe() and bus_stream_name()
 * may come from any thread until bus_unsubscribe(); the others from one thread at a time. Callbacks run on the thread
 * of the call that they were given to, and no lock of the bus is held meanwhile.
 */
#ifndef SLUICE_BUS_BUS_H
#define SLUICE_BUS_BUS_H

#include "base/clock.h"
#include "base/error.h"
#include "event/event.h"
#include "event/position.h"
#include "flow/start.h"
#include "store/store.h"

#include <errno.h>

struct bus;
struct bus_consumer;
struct bus_writer;

/* Records arrive in chunks: one allocation with everything that its records point to. The receiver of a record
 * releases its chunk once for it; the chunk is freed with the last reference (an atomic count). */
struct bus_chunk;

struct bus_record {
    struct record record; /* spans into the chunk; timestamp_ms and headers are filled */
    struct position position;
    /* Where the stream has a gap before the record: it holds nothing to deliver up to here. {0, 0}: no gap is known. */
    struct position before;
    uint32_t stream;   /* number of the stream in this consumer: stable while assigned */
    uint32_t epoch;    /* of the assignment under which it was delivered */
    uint64_t key_hash; /* span_hash(key); of the position when there is no key */
    bool other_file;   /* not of a topic that was subscribed to: only other members of the group read it */
    struct bus_chunk *chunk;
};
/* Gives `records` references back, from any thread. Nothing happens for NULL or 0. */
void bus_chunk_release(struct bus_chunk *chunk, size_t records);

enum bus_event_kind { BUS_RECORDS = 1, BUS_CONSUMED, BUS_ASSIGNED, BUS_REVOKED, BUS_LOST, BUS_FAULT };

/* What a poll brings. Its arrays live until the next poll. */
struct bus_event {
    enum bus_event_kind kind;
    struct bus_record *records; /* BUS_RECORDS; their bytes live as long as their chunks */
    size_t record_count;
    const uint32_t *streams;          /* BUS_CONSUMED, BUS_ASSIGNED, BUS_REVOKED, BUS_LOST: which */
    const uint32_t *epochs;           /* BUS_CONSUMED, BUS_ASSIGNED: the epoch of each, from now on */
    const struct position *positions; /* BUS_CONSUMED: up to here each holds nothing more to deliver */
    size_t stream_count;
    struct error error; /* BUS_FAULT: something that an operator must know; the bus keeps trying */
};

struct bus_subscription {
    const char *group;
    const char *const *topics; /* exact names or with a trailing '*' (taps) */
    size_t topic_count;
    /* Exact names that processes of the group with another file read: a bus whose streams are shared by all topics
     * gives their records, too (bus_record.other_file). NULL-terminated; NULL: none. */
    const char *const *others;
    uint32_t poll_records; /* most records of a poll; 0: the bus chooses */
    size_t poll_bytes;     /* and about how many bytes; 0: the bus chooses */
    bool recorded;         /* what the group handles is recorded in the store: then so are its positions (kafka) */
};

/* What a scan reads, and whom it tells. */
struct bus_scan {
    const char *const *topics; /* exact names or with a trailing '*' */
    size_t topic_count;
    struct span contains; /* only records whose value contains these bytes; empty: every record */
    bool follow;          /* at the end, wait for more instead of returning */
    bool exact;           /* each partition in its own order, not by time; transactions that are open are waited for */
    const volatile int *stop; /* another thread or a signal handler sets it, and the scan soon returns 0; or NULL */
    int64_t deadline_ms;      /* monotonic; the scan soon returns -ETIMEDOUT when it is over; 0: none */
    /* Gets records that live during the call; may call the bus. false: the scan returns 0. */
    bool (*each)(const struct record *record, int32_t partition, struct position position, void *context);
    void *context;
};

enum bus_finding_kind { BUS_FINDING_MADE = 1, BUS_FINDING_WARNING, BUS_FINDING_ERROR };
struct bus_finding {
    enum bus_finding_kind kind;
    const char *code;  /* a word for programs: "topic_missing" */
    const char *topic; /* which it is about; NULL: the bus */
    const char *text;  /* one sentence */
};

/* How far a group is in a topic: bus_standing() fills what follows `topic`. */
struct bus_standing {
    const char *topic;
    bool exists;    /* it can be subscribed to; false on kafka when the brokers do not have it */
    bool known;     /* the group has a position in it */
    int64_t unread; /* records behind that position; all that are kept when it has none */
};

/* A record, as a scan delivered it; partition -1: any of the topic. */
struct bus_place {
    const char *topic;
    int32_t partition;
    struct position position;
};
/* What a group has to do with a place: why it does not read it. */
struct bus_reading {
    bool consumed;   /* it has come past it */
    int64_t before;  /* records that it has not consumed and that come before it in its partition; about */
    int64_t members; /* consumers of the group that live, in all processes */
    bool has_reader; /* one of them has the partition */
    /* The leader of the partition is gone (of partition -1: of the first such one): it is neither read nor written. */
    bool no_leader;
    int32_t leaderless;
    bool hidden;             /* a transaction of an engine is open behind which nothing is read yet */
    int64_t transaction_pid; /* of its session in the server; 0: it has none */
    char transaction[256];   /* whose it is and since when, for people */
};

/* What every bus implements. Apart from the instance, so that a test can put one of its own in. */
struct bus_kind {
    const char *name;   /* "memory", "postgres", "kafka" */
    bool durable;       /* events survive the process */
    bool transactional; /* append() is there: outputs are part of the store's transaction and need no outbox */

    void (*close)(struct bus *bus);
    /* -EAGAIN: what holds the log cannot be reached now; worth trying again. */
    int (*subscribe)(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                     struct error *error);

    /* For a process that will take another one's place (find_early()): opens what subscribe() of the same group and
     * topics will need, and takes nothing from the other one. What fails is done again there. NULL: nothing. */
    void (*prepare)(struct bus *bus, const struct bus_subscription *subscription);

    /* Waits up to timeout_ms. 0: *ret is filled; -EAGAIN: nothing came; any other: this consumer cannot go on.
     * BUS_REVOKED: the engine stops what is queued, finishes what is running, commits, and calls revoked(). BUS_LOST:
     * another consumer may have the streams already: drop everything, commit nothing. */
    int (*poll)(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
    /* The poll in progress, or else the next one, returns without waiting. */
    void (*wake)(struct bus_consumer *consumer);
    /* Back-pressure: a paused consumer polls as before, and its polls bring no records. */
    void (*pause)(struct bus_consumer *consumer, bool paused);
    /* Everything up to and including positions[i] is complete in streams[i]. A stale epoch is ignored (0 is returned).
     * Need not be durable on return: after a crash, what was committed last may be delivered again. */
    int (*commit)(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                  const struct position *positions, struct error *error);
    /* The engine has released the streams of BUS_REVOKED: others may have them. */
    int (*revoked)(struct bus_consumer *consumer, struct error *error);
    /* What is not read now though it is this process's own, a "partition" ("payment.try/3") or a "topic", and why, one
     * after the other; "everything", without a place, when the group as a whole lacks something; NULL, NULL: this
     * process reads nothing. Nothing while all is read. NULL: never anything. */
    void (*halted)(struct bus_consumer *consumer,
                   void (*each)(const char *what, const char *place, const char *why, void *context), void *context);
    /* Leaves the group, so that a peer takes over at once, and frees the consumer. */
    void (*unsubscribe)(struct bus_consumer *consumer);
    /* Another process of this machine takes this one's place: what unsubscribes from now on stays in its group, for
     * that process to go on in its place. NULL: a member that joins gets at once what one that left had. */
    void (*succeeded)(struct bus *bus);
    /* What the other process must know, into an empty file, after everything has unsubscribed and nothing is published
     * any more; and there out of it, before anything subscribes. NULL: nothing. */
    int (*leave)(struct bus *bus, int file, struct error *error);
    int (*find)(struct bus *bus, int file, struct error *error);
    /* The same beforehand, where it is known as soon as everything has subscribed, for prepare(). leave() writes over
     * it. NULL: it is not. */
    int (*leave_early)(struct bus *bus, int file, struct error *error);
    int (*find_early)(struct bus *bus, int file, struct error *error);
    /* The row in sluice.bus_member that fences this consumer's transactions (ledger_claim); 0: this bus needs none. */
    int64_t (*member)(struct bus_consumer *consumer);
    /* For people: "partition 3 of payment.try at 17", "partition 3 at 90211/4:7". `buf` is cut to `size`. */
    void (*describe)(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf, size_t size,
                     int32_t *ret_partition, int64_t *ret_offset);

    /* The same in every process and after every restart: "payment.try/3", "3". */
    void (*stream_name)(struct bus_consumer *consumer, uint32_t stream, char *buf, size_t size);

    /* Publishes and waits for every acknowledgement. 0: all have it. Else any of them may have been published.
     * Permanent refusals are -EMSGSIZE (too large), -ENOENT (no such topic), -EACCES (not allowed), -EBADMSG or -EINVAL
     * (not a record for this bus), with the index of the first in *ret_failed. Deadline: monotonic ms. */
    int (*publish)(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                   struct error *error);
    /* The process stops: publishes in progress and later ones end soon, whatever has become of their records. NULL:
     * they end by their deadlines. */
    void (*abort_publishes)(struct bus *bus);
    /* Publishing as a whole: only the last one, of all processes, that opened the writer of a name publishes under it.
     * What others began is over then: it is there as a whole, or not at all. -EAGAIN: cannot be reached in time. NULL:
     * the bus has append(). */
    int (*writer_open)(struct bus *bus, const char *name, int64_t deadline_ms, struct bus_writer **ret,
                       struct error *error);
    /* Readers see all of the records, or none. Permanent refusals, with *ret_failed, as of publish(): none is there,
     * and the writer can go on. After others it can only be closed: -EBUSY: another one has opened it; -EAGAIN: whether
     * they are there shows when it is opened again. */
    int (*writer_publish)(struct bus_writer *writer, const struct record *records, size_t count, int64_t deadline_ms,
                          size_t *ret_failed, struct error *error);
    void (*writer_close)(struct bus_writer *writer);
    /* Transactional buses, others NULL: puts the records into the open transaction of `connection` (queued; see
     * store.h). After its COMMIT, published() notifies readers, those of other processes through a consumer of this
     * one. */
    enum store_result (*append)(struct bus *bus, struct connection *connection, const struct record *records,
                                size_t count, struct error *error);
    void (*published)(struct bus *bus);

    /* Reads topics from the oldest record kept, in no group; what readers do not get yet because a transaction is open
     * comes last, where the bus can see it. 0: at the end, stopped, or each() had enough. */
    int (*scan)(struct bus *bus, const struct bus_scan *scan, struct error *error);
    /* Records that a group has not completed, for /metrics and progress; where topics share a log, those of topics that
     * it does not read count as well. Negative errno when it cannot say. */
    int64_t (*lag)(struct bus *bus, const char *group);
    /* How far a group is, whether it has members or not: at start, before it is subscribed. Stops counting when every
     * topic has `most` unread records (0: counts none). -EAGAIN: cannot be reached now; -EACCES: it does not let us in,
     * until an operator changes something. NULL: groups of this bus do not outlive the process. */
    int (*standing)(struct bus *bus, const char *group, struct bus_standing *topics, size_t count, int64_t most,
                    struct error *error);
    /* Who reads these places for a group, from outside. NULL: as standing(). */
    int (*reading)(struct bus *bus, const char *group, const struct bus_place *places, size_t count,
                   struct bus_reading *ret, struct error *error);
    /* Gives a group positions in topics in which it has none. `recorded` as in bus_subscription. -EAGAIN, too, while
     * members read for it that do not know the topics. NULL: as standing(). */
    int (*begin)(struct bus *bus, const char *group, const char *const *topics, size_t count, const struct start *start,
                 bool recorded, struct error *error);
    /* The positions of a group become those of another name, which has none. Again is once. -EAGAIN, too, while members
     * read under the old name. NULL: as standing(). */
    int (*rename_group)(struct bus *bus, const char *old, const char *new_name, struct error *error);
    /* The chore of once a second: trims the log, makes room in it. Errors are logged. */
    void (*maintain)(struct bus *bus);
    /* Compares the topics of the options with what is there; `make`: makes those that are missing. each() gets one
     * finding after another. 0 when it could look. NULL: topics of this bus need no making. */
    int (*topics)(struct bus *bus, bool make, void (*each)(const struct bus_finding *finding, void *context),
                  void *context, struct error *error);
};

struct bus { /* the head of every implementation's struct */
    const struct bus_kind *kind;
};

/* The contract as calls; the members above say what each promises. */
static inline void bus_close(struct bus *bus)
{
    bus->kind->close(bus);
}
static inline int bus_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                                struct error *error)
{
    return bus->kind->subscribe(bus, subscription, ret, error);
}
static inline void bus_prepare(struct bus *bus, const struct bus_subscription *subscription)
{
    if (bus->kind->prepare != NULL)
        bus->kind->prepare(bus, subscription);
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
static inline void bus_halted(struct bus *bus, struct bus_consumer *consumer,
                              void (*each)(const char *what, const char *place, const char *why, void *context),
                              void *context)
{
    if (bus->kind->halted != NULL)
        bus->kind->halted(consumer, each, context);
}
static inline void bus_unsubscribe(struct bus *bus, struct bus_consumer *consumer)
{
    bus->kind->unsubscribe(consumer);
}
static inline void bus_succeeded(struct bus *bus)
{
    if (bus->kind->succeeded != NULL)
        bus->kind->succeeded(bus);
}
static inline int bus_leave(struct bus *bus, int file, struct error *error)
{
    return bus->kind->leave == NULL ? 0 : bus->kind->leave(bus, file, error);
}
static inline int bus_find(struct bus *bus, int file, struct error *error)
{
    return bus->kind->find == NULL ? 0 : bus->kind->find(bus, file, error);
}
static inline int bus_leave_early(struct bus *bus, int file, struct error *error)
{
    return bus->kind->leave_early == NULL ? 0 : bus->kind->leave_early(bus, file, error);
}
static inline int bus_find_early(struct bus *bus, int file, struct error *error)
{
    return bus->kind->find_early == NULL ? 0 : bus->kind->find_early(bus, file, error);
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
static inline void bus_stream_name(struct bus *bus, struct bus_consumer *consumer, uint32_t stream, char *buf,
                                   size_t size)
{
    bus->kind->stream_name(consumer, stream, buf, size);
}
static inline int bus_publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms,
                              size_t *ret_failed, struct error *error)
{
    return bus->kind->publish(bus, records, count, deadline_ms, ret_failed, error);
}
/* -ENOTSUP: outputs are part of the store's transactions here. */
static inline int bus_writer_open(struct bus *bus, const char *name, int64_t deadline_ms, struct bus_writer **ret,
                                  struct error *error)
{
    return bus->kind->writer_open == NULL ? error_set(error, ENOTSUP, "this bus has no writers")
                                          : bus->kind->writer_open(bus, name, deadline_ms, ret, error);
}
static inline int bus_writer_publish(struct bus *bus, struct bus_writer *writer, const struct record *records,
                                     size_t count, int64_t deadline_ms, size_t *ret_failed, struct error *error)
{
    return bus->kind->writer_publish(writer, records, count, deadline_ms, ret_failed, error);
}
static inline void bus_writer_close(struct bus *bus, struct bus_writer *writer)
{
    bus->kind->writer_close(writer);
}
static inline void bus_abort_publishes(struct bus *bus)
{
    if (bus->kind->abort_publishes != NULL)
        bus->kind->abort_publishes(bus);
}
static inline enum store_result bus_append(struct bus *bus, struct connection *connection, const struct record *records,
                                           size_t count, struct error *error)
{
    return bus->kind->append(bus, connection, records, count, error);
}
static inline void bus_published(struct bus *bus)
{
    bus->kind->published(bus);
}
static inline int bus_scan(struct bus *bus, const struct bus_scan *scan, struct error *error)
{
    int code = bus->kind->scan(bus, scan, error);
    if (scan->deadline_ms != 0 && clock_monotonic_ms() >= scan->deadline_ms)
        return error_set(error, ETIMEDOUT, "the topics hold more than could be read in time");
    return code;
}
static inline int64_t bus_lag(struct bus *bus, const char *group)
{
    return bus->kind->lag(bus, group);
}
static inline int bus_standing(struct bus *bus, const char *group, struct bus_standing *topics, size_t count,
                               int64_t most, struct error *error)
{
    for (size_t i = 0; bus->kind->standing == NULL && i < count; i++)
        topics[i] = (struct bus_standing){.topic = topics[i].topic, .exists = true};
    return bus->kind->standing == NULL ? 0 : bus->kind->standing(bus, group, topics, count, most, error);
}
/* -ENOTSUP: this bus cannot be looked at from outside. */
static inline int bus_reading(struct bus *bus, const char *group, const struct bus_place *places, size_t count,
                              struct bus_reading *ret, struct error *error)
{
    return bus->kind->reading == NULL ? error_set(error, ENOTSUP, "this bus lives in its engine")
                                      : bus->kind->reading(bus, group, places, count, ret, error);
}
static inline int bus_begin(struct bus *bus, const char *group, const char *const *topics, size_t count,
                            const struct start *start, bool recorded, struct error *error)
{
    return bus->kind->begin == NULL ? 0 : bus->kind->begin(bus, group, topics, count, start, recorded, error);
}
static inline int bus_rename_group(struct bus *bus, const char *old, const char *new_name, struct error *error)
{
    return bus->kind->rename_group == NULL ? 0 : bus->kind->rename_group(bus, old, new_name, error);
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

#endif
