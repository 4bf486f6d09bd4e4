/*
 * postgres.h - the bus in the database: a log in tables, read by position, with leases. Tables:
 * sql/engine/0002_bus.sql.
 *
 * Writing. append() puts the records into the transaction of its caller: grouped by partition, packed into rows of
 * about a page, one INSERT. An event exists exactly when the effects of the transaction that emitted it do.
 *
 * Reading. The order of a partition is (xid, id): the number of the writing transaction, then the order in it. A
 * sequence alone would not do, since numbers are given out long before they become visible. A reader takes only rows
 * below the horizon, the oldest transaction still running: nothing can appear below it any more, so a position once
 * passed is passed for good. Rows that stand behind the horizon are asked for again after 1 to 20 ms; they hold back
 * what is read, never what is written.
 *
 * Groups. A consumer is a member: a row in bus_member, a session that holds the advisory lock on it, a pulse.
 * Members tick (bus_tick() in SQL does one beat in one round trip): alone once a second, in company three times as
 * often. Peers bury a member whose session is gone, or that was silent for TTL_MS. Burying deletes its row;
 * transactions of its engine hold that row FOR SHARE, so they either ended before or find themselves fenced. A
 * partition that changes hands gets a new epoch; so does one whose reader got a new session, because a server that
 * crashed gives the last transaction numbers out again, and positions in memory may be ahead of them.
 *
 * Waking. A process wakes its own readers through an eventfd. For the others a reader of this process sends one
 * NOTIFY for all that was published meanwhile, outside the publishing transactions: commits with a NOTIFY inside run
 * one at a time. A process that has no readers puts the NOTIFY into the transaction. Behind both stands a poll every
 * IDLE_MS.
 *
 * Trimming. The log is cut into segments by transaction number; a segment that every group has passed is dropped as
 * a table after retention. A group that stopped for good keeps the log from being trimmed until its rows in
 * bus_lease are deleted.
 *
 * Not done: events of a database cannot be read by the engine of another one; partitions cannot be added later.
 */
#ifndef SLUICE_BUS_POSTGRES_H
#define SLUICE_BUS_POSTGRES_H

#include "base/log.h"
#include "bus/chunk.h"
#include "store/store.h"

#include <pthread.h>

enum {
    POSTGRES_PARTITIONS_MAX = 1024,
    ROW_BYTES = 8000, /* a row of the log is cut here, so that it fills its page and is stored inline */
    TTL_MS = 10000,   /* silence after which a member is dead whatever its session says */
    GRACE_MS = 600,   /* and when its session is gone: a short cut of the connection must not cost the membership */
    TICK_ALONE_MS = 1000,
    TICK_MS = 300,
    TICK_SOON_MS = 100, /* while it has less than its share, or was notified for nothing */
    IDLE_MS = 500,      /* reads the log anyway */
    BEHIND_MAX_MS = 20,
    NOTIFY_EVERY_MS = 5,
    STATEMENT_MS = 5000,
    PROMOTE_XIDS = 1024, /* an idle group's positions follow the horizon in steps of this */
};

struct postgres_bus {
    struct bus bus; /* first */
    struct store *store;
    uint32_t partition_count;
    int64_t retention_ms;
    char process[37];
    atomic_uint consumer_count;
    atomic_uint appends;    /* since the last tend() */
    atomic_bool agreed;     /* the database has been asked about partitions and time, and its answers fit */
    atomic_bool peers;      /* readers in other processes, as of the last tick of any consumer */
    atomic_bool notify_due; /* something was published that they have not been told of */
    atomic_llong notified_ms;

    pthread_mutex_t consumers_lock;
    struct bus_consumer *consumers;
    pthread_mutex_t publish_lock;
    struct connection *publisher;
    pthread_mutex_t keeper_lock; /* lag() and tend() */
    struct connection *keeper;
    int64_t tended_ms, tended_xid;
    double xids_per_second;
};

enum stream_state {
    STREAM_NONE = 0,
    STREAM_GIVEN, /* a tick brought it; the next poll says BUS_ASSIGNED */
    STREAM_HELD,
    STREAM_RECALLED,  /* the next poll says BUS_REVOKED */
    STREAM_RETURNING, /* it has; revoked() ends it */
    STREAM_LOST,      /* the next poll says BUS_LOST */
};

/* One partition as its reader sees it. Positions: everything up to and including. */
struct stream {
    enum stream_state state;
    uint32_t epoch;
    bool broken;            /* a row of it cannot be read; told once */
    bool foreign;           /* records of other topics were passed since the last promotion */
    struct position cursor; /* read from the log */
    struct position queued; /* last record that was put into `pending`: done >= queued means that nothing is out */
    struct position done;   /* committed */
};

struct bus_consumer { /* of the postgres bus */
    struct postgres_bus *bus;
    struct bus_consumer *next;
    struct connection *connection;
    char *group;
    char **topics;
    size_t topic_count;
    uint32_t poll_records;
    size_t poll_bytes;
    atomic_llong member; /* kept after a loss until there is a new one: a stale number fences, none would not */
    bool joined;
    struct stream *streams;

    int event_fd;
    atomic_bool sleeping, news, woken;
    bool paused, notified;
    int64_t tick_ms, ticked_ms, fetch_ms; /* when the next are due, and when the last tick was */
    int behind_ms, down_ms;               /* current back-off */
    bool down;
    struct error fault; /* code 0: none to tell */

    size_t row_bytes;           /* of the rows that came last, on average */
    struct bus_record *pending; /* [first, first + count) are to be delivered */
    size_t pending_first, pending_count, pending_size;
    uint32_t *listed_streams, *listed_epochs;
    int32_t *ask_partitions, *ask_epochs; /* parameters; one a partition */
    int64_t *ask_highs, *ask_lows;
};

/* Position arithmetic: low is id * 65536 + index. */
enum { INDEX_BITS = 16, INDEX_LAST = 0xffff };
#define POSITION_LOW_MAX ((uint64_t)INT64_MAX)

/* postgres_group.c: membership and leases */
int postgres_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                       struct error *error);
int postgres_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                    const struct position *positions, struct error *error);
int postgres_revoked(struct bus_consumer *consumer, struct error *error);
void postgres_unsubscribe(struct bus_consumer *consumer);
/* One beat; 0, or negative: fatal. Trouble that may pass becomes consumer->fault. */
int postgres_tick(struct bus_consumer *consumer, struct error *error);
/* What a failed statement means to a consumer: 0 it will be tried again, negative it is fatal. */
int postgres_failed(struct bus_consumer *consumer, enum store_result result, struct error *error);

/* postgres.c. 0 once the database agrees with the configuration; -EAGAIN while it is away; what open() gives when it
 * never will. */
int postgres_agree(struct postgres_bus *bus, struct error *error);

/* postgres_poll.c: reading */
int postgres_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
void postgres_wake(struct bus_consumer *consumer);
void postgres_rouse(struct bus_consumer *consumer); /* the log has news; any thread */
void postgres_pause(struct bus_consumer *consumer, bool paused);
void postgres_forget(struct bus_consumer *consumer, uint32_t stream); /* drops its pending records */

/* postgres_scan.c */
int postgres_scan(struct bus *bus, const char *const *topics, size_t topic_count, struct span contains, bool follow,
                  const volatile int *stop,
                  bool (*each)(const struct record *record, int32_t partition, struct position position, void *context),
                  void *context, struct error *error);

#endif
