/*
 * bus.h - the bus on Apache Kafka, through librdkafka 2.0.2 or newer.
 *
 * Reading. One client a consumer group, in the classic protocol with static membership: the group knows this process
 * by host and slot, so one that is killed and started again is itself and gets its partitions back at once, while
 * one that stops leaves, and its peers take over. A stream is a topic-partition. Positions are {offset, 0}. Nothing
 * is committed by librdkafka on its own account: commit() stores offsets for partitions that are assigned and
 * commits what is stored, one request in flight, so that an old owner can never overwrite a new one's offset.
 *
 * Where a partition is read from is decided by us (resume.c), never by a default: an offset that is gone stops
 * the partition and is said, it is not skipped. Beside the offset in Kafka there is a row in the store
 * (sluice.bus_position), written first: it tells when one of the two was restored or moved behind the other's back.
 *
 * Back-pressure. A consumer that is paused does not poll; what librdkafka has fetched ahead waits, bounded. Only
 * when that lasts a second are the partitions paused for real and polling goes on, so that the group sees a living
 * member.
 *
 * Writing. One idempotent producer, acks=all. publish() returns when every record has its delivery report; what else
 * happened (a fatal error of the producer, a deadline) retires the producer: what it still has is given up and sent
 * again by a new one, in order. So a record may be there twice, and never out of its key's order for the first time.
 *
 * Threads: as bus.h says. Each client has librdkafka's own threads; each producer one of ours that serves its
 * reports. All clients are made after fork(): their threads would not survive it.
 */
#ifndef SLUICE_BUS_KAFKA_BUS_H
#define SLUICE_BUS_KAFKA_BUS_H

#include "bus/chunk.h"
#include "store/store.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>

enum {
    KAFKA_WAIT_MS = 5000,       /* of one request to the brokers */
    KAFKA_MEMBERS_MS = 1000,    /* of asking who is in a group */
    KAFKA_LAG_WAIT_MS = 500,    /* the same, for a figure that can wait */
    KAFKA_LEAVE_MS = 3000,      /* of leaving a group */
    KAFKA_END_S = 1,            /* of a client that ends */
    KAFKA_HARD_PAUSE_MS = 1000, /* not polled for so long: pause the partitions, poll on */
    KAFKA_COMMIT_AGAIN_MS = 500,
    KAFKA_DOUBT_MS = 500,
    KAFKA_ASSIGN_AGAIN_MS = 100,
    KAFKA_LOOK_SOON_MS = 500, /* what stands still for a reason that may end any moment: no leader, another database */
    KAFKA_ASSIGN_LATE_MS = 2000, /* then a person hears of it */
    KAFKA_HALTED_LOOK_MS = 3000, /* how often a stopped partition is looked at again */
    KAFKA_REJOIN_MS = 5000,      /* a member that was fenced joins again no sooner after the last time */
    KAFKA_POLL_RECORDS = 500,    /* of a subscription that does not say */
    KAFKA_POLL_BYTES = 1024 * 1024,
    KAFKA_SLOTS_MAX = 256, /* processes of a group on one host */
};

enum kafka_role { KAFKA_CONSUMER = 1, KAFKA_SCANNER = 2, KAFKA_PRODUCER = 4 };

struct kafka_producer; /* producer.c */

/* Why brokers are not reached or do not let us in, as a client's error callback heard it last. */
struct kafka_reason {
    rd_kafka_resp_err_t err;
    char words[300];
};

/* What was taken of what librdkafka holds, since its threads were woken. */
struct kafka_flow {
    int64_t count, bytes;
    int64_t count_step, bytes_step; /* 0: it looks by itself */
};

struct kafka_bus {
    struct bus bus; /* first */
    struct bus_options options;
    char host[64]; /* of this machine, as in instance ids */
    pthread_mutex_t lock;
    pthread_cond_t retired;          /* a producer has gone */
    struct kafka_producer *producer; /* the one in use, or NULL */
    size_t producers;                /* with those that are being retired */
    struct bus_consumer *consumers;  /* of this process, linked by `next` */
    atomic_bool hurried;
    atomic_uint epochs; /* given out: each assignment of a partition has its own */
};

/* A client that lives as long as somebody holds a message of it. */
struct kafka_client {
    atomic_size_t holders;
    rd_kafka_t *rk;
};
void kafka_client_release(struct kafka_client *client);

enum kafka_stream_state {
    KAFKA_STREAM_NONE = 0,
    KAFKA_STREAM_HELD,
    KAFKA_STREAM_RETURNING, /* revoked was said; revoked() ends it */
    KAFKA_STREAM_HALTED, /* assigned by the group and not read; the engine does not know it: its next record is gone */
};

struct kafka_stream {
    char *topic;
    int32_t partition;
    enum kafka_stream_state state;
    bool said;     /* why it is halted */
    bool headless; /* halted because it has no leader now */
    bool gone;     /* the broker has no such offset; to be halted */
    bool unsaid;   /* Kafka has no offset where reading goes on, and gets it as soon as it is assigned */
    bool deleted;  /* its topic is not there: what was read of it is committed nowhere any more */
    /* another partition shows that the topic was made anew; this one is to be read from its first record as well */
    bool old;
    bool kept; /* Kafka had an offset of the group for it. While we are members, that goes only with the topic */
    uint32_t epoch;
    int64_t next; /* offset to read next: what was delivered, and one */
};

enum kafka_change { KAFKA_CHANGE_NONE = 0, KAFKA_CHANGE_ASSIGN, KAFKA_CHANGE_REVOKE, KAFKA_CHANGE_LOSE };

struct bus_consumer { /* of the kafka bus */
    struct kafka_bus *bus;
    struct bus_consumer *next; /* with bus->lock, as bus->consumers and `client` are changed */
    struct kafka_client *client;
    rd_kafka_t *rk;          /* client's */
    rd_kafka_queue_t *queue; /* what poll() waits on */
    char *group;
    rd_kafka_topic_partition_list_t *subscription;
    struct connection *connection; /* for positions in the store; NULL: none are kept */
    int slot;                      /* descriptor that holds this process's slot; -1: the instance id is the user's */
    int slot_number;
    char database[10]; /* its mark in our instance id; empty: none */
    uint32_t poll_records;
    size_t poll_bytes;
    rd_kafka_message_t **messages; /* poll_records of them */
    struct bus_record *records;

    struct kafka_stream *streams; /* one for each topic-partition ever assigned; an index is for ever */
    size_t stream_count, stream_size;
    pthread_mutex_t streams_lock; /* while they grow, and for lanes, which describe() */
    uint32_t last_stream;         /* of the last message: they come in runs */
    const rd_kafka_topic_t *last_topic;

    /* A rebalance that librdkafka wants and the engine has not been told of, or has not answered. */
    enum kafka_change change;
    rd_kafka_topic_partition_list_t *changed;
    int64_t changed_ms; /* since when it is wanted */
    bool returning;     /* BUS_REVOKED was said, revoked() is awaited */
    bool closing;
    uint32_t *listed_streams, *listed_epochs;
    size_t listed_size;

    struct kafka_flow flow;
    bool paused, paused_hard;
    int64_t paused_ms; /* since when */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake_up;
    bool woken;

    bool commit_in_flight, commit_wanted;
    rd_kafka_resp_err_t anew_answer;  /* of kafka_commit_anew() */
    int64_t commit_again_ms, look_ms; /* when to try again */
    struct kafka_reason reason;
    int64_t doubt_ms;    /* an error came: when to ask whether any broker answers; 0: there is no doubt */
    bool gone;           /* of a stream */
    bool told_unknown;   /* that the store does not know the group */
    bool down;           /* told that no broker answers */
    bool dead;           /* a fatal error: `fault` says which */
    bool fenced;         /* it is that the brokers took this member for another */
    int64_t rejoined_ms; /* when that was mended last; 0: never */
    struct error fault;  /* code 0: none to tell */
};

/* options.c: configuration */
/* Each role's: defined where its callbacks are. */
void kafka_group_callbacks(rd_kafka_conf_t *conf);
void kafka_producer_callbacks(rd_kafka_conf_t *conf);
/* A client with the properties of its role; opaque is what callbacks get, of a scanner a struct kafka_reason.
 * `group`, `instance`: of consumers. NULL with a sentence. */
rd_kafka_t *kafka_client_new(struct kafka_bus *bus, enum kafka_role role, const char *group, const char *instance,
                             void *opaque, struct error *error);
void kafka_client_end(rd_kafka_t *rk); /* of a reader: waits KAFKA_END_S at most */
/* Whether clients of every role would take the options' properties; makes none. -EINVAL with a sentence. */
int kafka_properties_check(struct kafka_bus *bus, struct error *error);
const char *kafka_property(const struct kafka_bus *bus, const char *name); /* as the user set it, or NULL */
/* "local broker transport failure" and its like as an error of ours. */
int kafka_error(struct error *error, rd_kafka_resp_err_t err, const char *what);
/* The same of a call that needed a broker: with the reason, when one is known. */
int kafka_reach_error(struct error *error, rd_kafka_resp_err_t err, const char *what,
                      const struct kafka_reason *reason);
void kafka_reason_take(struct kafka_reason *reason, rd_kafka_resp_err_t err, const char *words);
bool kafka_reason_closed(const struct kafka_reason *reason); /* they do not let us in, or are not the ones meant */
/* Lets the error callback say what librdkafka's threads have met; of readers that are not subscribed. */
void kafka_reason_hear(rd_kafka_t *rk);
/* Whether repeating can never help: the negative errno of bus.h, or 0. */
int kafka_permanent(rd_kafka_resp_err_t err);
/* The names, and of the patterns those of the options' topics that match; topics of dead letters only if wanted.
 * Free the list. */
rd_kafka_topic_partition_list_t *kafka_expand(const struct kafka_bus *bus, const char *const *topics,
                                              size_t topic_count, bool dead_letters);

/* member.c: joining and leaving */
int kafka_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                    struct error *error);
void kafka_unsubscribe(struct bus_consumer *consumer);
/* Effects and inbox of a group are in one database: -ESTALE with a sentence when another member has another one.
 * Brokers that do not tell hold nobody up: librdkafka 2.0.2 goes on asking a coordinator that is none any more.
 * Asked before joining, and again at each assignment: who was away may come back, two may have come at once. */
int kafka_members_check(struct bus_consumer *consumer, struct error *error);
/* With a new client, instead of one that was fenced. Nothing is held any more. 0, or negative: not now. */
int kafka_rejoin(struct bus_consumer *consumer);

/* assignment.c: rebalances and commits */
int kafka_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                 const struct position *positions, struct error *error);
int kafka_revoked(struct bus_consumer *consumer, struct error *error);
void kafka_commit_stored(struct bus_consumer *consumer); /* if it is wanted and none is in flight */
/* the same, and waits for the answer; nothing else is to be done */
void kafka_commit_now(struct bus_consumer *consumer);
/* Commits list's offsets as they are, also below what was committed before, and waits. Of partitions that are being
 * taken up. */
int kafka_commit_anew(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list, struct error *error);
void kafka_unassign(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list); /* NULL: all */
void kafka_group_doubt(struct bus_consumer *consumer);
void kafka_group_fatal(struct bus_consumer *consumer); /* the client has ended: why */
/* Everything that is held as an event; -EAGAIN when nothing is. */
int kafka_lose_all(struct bus_consumer *consumer, struct bus_event *ret);
/* The pending change, or what has become of halted streams, as an event; -EAGAIN when there is nothing to tell. */
int kafka_change_event(struct bus_consumer *consumer, struct bus_event *ret);
struct kafka_stream *kafka_stream_find(struct bus_consumer *consumer, const char *topic, int32_t partition);

/* What librdkafka waits for while the group is left: nothing is taken up any more. */
void kafka_answer_closing(struct bus_consumer *consumer, bool assigned, const rd_kafka_topic_partition_list_t *list);

/* resume.c: where to read from */

struct kafka_place {   /* what is known of a partition; -1: nothing */
    int64_t committed; /* the group's offset in Kafka */
    int64_t recorded;  /* the one in the store: everything below is done */
    int64_t skipped;   /* an operator gave up what is below; 0: nothing */
    int64_t low, high; /* first record kept, and one past the last */
    bool remade;       /* what is recorded is of a topic that was deleted */
};
enum kafka_start {
    KAFKA_START_NEW = 1,  /* the group never read it: from its first record */
    KAFKA_START_ON,       /* where it was left */
    KAFKA_START_RECORDED, /* Kafka forgot the offset; the store has it */
    KAFKA_START_BEHIND,   /* Kafka's offset is ahead of the store: what lies between is read again */
    /* the partition ends before the position, or its offset went with its topic: made anew, from its first record */
    KAFKA_START_ANEW,
    KAFKA_START_GONE, /* records were deleted before they were read: nothing is read until somebody decides */
};
/* Pure. *ret_offset: where to read from; of GONE: where it would go on. */
enum kafka_start kafka_start_decide(const struct kafka_place *place, int64_t *ret_offset);
/* Sets the offset of each partition in `list` (RD_KAFKA_OFFSET_INVALID: not to be read now, its record is gone or it
 * has no leader), and says what is remarkable: to the log, or as consumer->fault. 0, or negative: not known now. */
int kafka_start_offsets(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct error *error);
/* Of a group that this process is a member of; -ENOENT of others, -EAGAIN when the brokers do not say. */
int64_t kafka_lag(struct bus *bus, const char *group);
/* Writes positions (list's offsets) into the store; a position there never goes back. */
int kafka_positions_save(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                         struct error *error);
/* partition -1: all of the topic. The topic was deleted or made anew: its positions mean nothing. */
int kafka_positions_forget(struct bus_consumer *consumer, const char *topic, int32_t partition, struct error *error);

/* poll.c: reading */
int kafka_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
void kafka_flow_init(struct kafka_flow *flow, const rd_kafka_t *rk);
/* so that fetching goes on */
void kafka_flow_took(struct kafka_flow *flow, rd_kafka_t *rk, const rd_kafka_message_t *message);
void kafka_wake(struct bus_consumer *consumer);
void kafka_pause(struct bus_consumer *consumer, bool paused);
void kafka_unpause(struct bus_consumer *consumer); /* before partitions come or go */

/* record.c: a message as a record. Spans live as long as the message, headers as long as `headers`. */
size_t kafka_header_count(const rd_kafka_message_t *message);
void kafka_record(const rd_kafka_message_t *message, struct header *headers, struct record *ret);

/* producer.c */
int kafka_publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                  struct error *error);
/* Makes it now: it needs a moment to get its number from the brokers, which the first record would wait for. */
int kafka_producer_warm(struct kafka_bus *bus, struct error *error);
void kafka_producer_close(struct kafka_bus *bus);

/* scan.c */
int kafka_scan(struct bus *bus, const char *const *topics, size_t topic_count, struct span contains, bool follow,
               const volatile int *stop,
               bool (*each)(const struct record *record, int32_t partition, struct position position, void *context),
               void *context, struct error *error);

/* topics.c */
int kafka_topics(struct bus *bus, bool make, void (*each)(const struct bus_finding *finding, void *context),
                 void *context, struct error *error);
/* 0 when the brokers have every topic of the options; -ESTALE when not, -EAGAIN when they do not answer. `reason`:
 * what rk's error callback fills. */
int kafka_topics_present(struct kafka_bus *bus, rd_kafka_t *rk, const struct kafka_reason *reason, struct error *error);
/* Every topic and partition that the brokers have. */
int kafka_metadata(rd_kafka_t *rk, const struct kafka_reason *reason, const struct rd_kafka_metadata **ret,
                   struct error *error);

#endif
