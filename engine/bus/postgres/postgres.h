/*
 * postgres.h - the bus in the database: a log in tables, read by position, with leases. Tables and functions:
 * sql/engine/0002_bus.sql.
 *
 * The invariant: one lease, one fencing epoch. For each group and partition there is one lease (a row in bus_lease):
 * one member that reads it, one epoch. A position moves only for the member and epoch of its lease, in a session of
 * that member. A transaction of an engine that claims events looks up its member's row and locks it FOR KEY SHARE;
 * without the row it is fenced. Peers delete the row of an expired member only when no transaction holds it, and free
 * its leases in the same transaction. So a process whose partitions another has taken commits neither effects nor
 * positions of them, however late it wakes up.
 *
 * Members with different topics, because their engines have different files: those read that have all topics that any
 * of them has. Where nobody has all, everybody reads, and gives records of topics that only others have to the engine
 * as such. A fetch learns in its snapshot that a member has joined, and takes nothing before a heartbeat: what that
 * member emits once it has joined is skipped by nobody.
 *
 * Writing. append() puts the records into the transaction of its caller: grouped by partition, packed into rows of
 * about a page, one INSERT. An event exists exactly when the effects of the transaction that emitted it do.
 *
 * Reading. The order of a partition is (xid, id): the number of the writing transaction, then the order in it. A
 * sequence alone would not do, since its numbers are taken long before the rows become visible. A reader takes only
 * rows below the horizon, the oldest transaction still running that may write to the log: nothing new can appear below
 * it, so a position once passed stays passed. While rows stand beyond the horizon the reader queries again after 1 to
 * 20 ms; they delay what is read, never what is written. A transaction of an engine holds sluice.bus_lock_writer() from
 * before it has a number to its end. A reader that has waited HORIZON_LOOK_MS asks which of those that run do not
 * (bus_strangers() in SQL), and passes these from then on.
 *
 * Positions. {xid, id * 65536 + index of the record in its row}; index 65535 is the end of the row, and low
 * POSITION_LOW_MAX the end of everything that the transactions up to xid wrote. Each means "up to and including".
 *
 * Groups. A consumer is a member: a row in bus_member, one in bus_member_heartbeat, and a session that holds the
 * advisory lock on its number. It sends heartbeats (bus_heartbeat() in SQL, one round trip): alone once a second,
 * with peers three times as often. A heartbeat also removes expired peers: those silent for MEMBER_TTL_MS, and those
 * silent for SESSION_GRACE_MS whose session has ended; once that has ended, the next heartbeats come sooner. A worker
 * that joins in place of another one of its engine, after a reload or a crash, gets its leases and its rank, so that no
 * share changes, if it reads the same topics; one that hands over has SUCCESSION_MS for that, in which it does not
 * expire. A partition that another member gets has a new epoch; so has
 * one whose reader has a new session, because a server that crashed gives its last transaction numbers out again,
 * and positions in memory may be ahead of them. Positions are committed with synchronous_commit off: after a crash
 * of the server the last of them may be lost, and their records come again.
 *
 * Notifying. A process notifies its own readers through an eventfd. For the others a reader of this process sends one
 * NOTIFY for all that was published meanwhile, outside the publishing transactions: commits with a NOTIFY inside run
 * one at a time. A process without readers puts the NOTIFY into the transaction. Should all of it fail, each reader
 * queries every IDLE_MS.
 *
 * Trimming. The log is cut into segments by transaction number; a segment that every group has passed is dropped as
 * a table after retention. A group that stopped for good keeps the log from being trimmed until its rows in
 * bus_lease are deleted.
 *
 * Not done: events of a database cannot be read by the engine of another one; partitions cannot be added later.
 *
 * Files, each calls only those below it:
 *   postgres.c     opening, closing, the table of functions
 *   poll.c         what a poll does: heartbeats, fetches, waiting
 *   fetch.c, heartbeat.c, commit.c, append.c, scan.c, standing.c, reading.c
 *   consumer.c     making and ending a consumer, and what a failed statement means to it
 *   member.c, pending.c, notify.c, maintenance.c
 */
#ifndef SLUICE_BUS_POSTGRES_POSTGRES_H
#define SLUICE_BUS_POSTGRES_POSTGRES_H

#include "bus/chunk.h"

#include <pthread.h>

enum {
    POSTGRES_PARTITIONS_MAX = 1024,
    ROW_BYTES = 8000,       /* a row of the log is cut here, so that it fills its page and is stored inline */
    MEMBER_TTL_MS = 10000,  /* a member without a heartbeat for so long is expired */
    SESSION_GRACE_MS = 600, /* for so long when its session has ended: a connection cut shortly costs no membership */
    HEARTBEAT_ALONE_MS = 1000,
    HEARTBEAT_MS = 300,
    HEARTBEAT_SOON_MS = 100, /* while it has less than its share, a peer's session has ended, or a notification brought
                              * no records */
    SUCCESSION_MS = 5000,    /* a member whose process hands over lives so long without its session */
    DAMAGED_LOOK_MS = 500,   /* looks again at a row that it cannot read */
    IDLE_MS = 500,           /* queries the log though nothing was notified */
    HORIZON_WAIT_MAX_MS = 20,
    HORIZON_LOOK_MS = 8, /* a wait so long for rows beyond the horizon: whose transaction is it? */
    NOTIFY_EVERY_MS = 5,
    STATEMENT_MS = 5000,
};

struct postgres_bus {
    struct bus bus; /* first */
    struct store *store;
    uint32_t partition_count;
    bool looked_at; /* only */
    int64_t retention_ms;
    char process[37];
    atomic_uint consumer_count;
    atomic_uint appends;        /* since the log was maintained last */
    atomic_bool verified;       /* the database's number of partitions and transaction numbers fit */
    atomic_bool remote_readers; /* other processes read, too, as of the last heartbeat of any consumer here */
    atomic_bool notify_pending; /* something was published that they have not been notified of */
    atomic_llong handed_over;   /* the highest of its members that did not leave, for that worker; 0: none */
    atomic_bool succeeded;      /* another worker takes the place of this process: its members do not leave */
    atomic_llong notified_ms;   /* monotonic */

    pthread_mutex_t consumers_lock; /* the list */
    struct bus_consumer *consumers;
    pthread_mutex_t publish_lock; /* the publisher */
    struct connection *publisher;
    pthread_mutex_t maintenance_lock; /* everything below */
    struct connection *maintenance;   /* for lag(), maintain() and the look at the settings */
    int64_t maintained_ms, maintained_xid;
    double xids_per_second;
};

enum stream_state {
    STREAM_NONE = 0,
    STREAM_ASSIGN_PENDING, /* a heartbeat brought it; the next poll gives BUS_ASSIGNED */
    STREAM_ASSIGNED,
    STREAM_REVOKE_PENDING, /* the next poll gives BUS_REVOKED */
    STREAM_REVOKING,       /* it did; revoked() ends it */
    STREAM_LOST,           /* the next poll gives BUS_LOST */
};

/* One partition as its reader sees it. committed, queued <= cursor; committed >= queued means that no record that
 * was handed out, or waits in `pending`, is still to be completed. */
struct stream {
    enum stream_state state;
    uint32_t epoch;
    struct position damaged;   /* the next row, which cannot be read and was reported; {0, 0}: none */
    int64_t damaged_look_ms;   /* monotonic: not read before, then an operator may have deleted that row; 0: read on */
    bool other_topics;         /* records of other topics were read since a heartbeat last advanced the position */
    struct position cursor;    /* read from the log up to here */
    struct position queued;    /* the last record that was put into `pending` */
    struct position committed; /* as the lease has it */
};

/* The engine knows that it has the stream, and may have records of it. */
static inline bool stream_owned(const struct stream *stream)
{
    return stream->state == STREAM_ASSIGNED || stream->state == STREAM_REVOKE_PENDING ||
           stream->state == STREAM_REVOKING;
}

struct bus_consumer { /* of the postgres bus */
    struct postgres_bus *bus;
    struct bus_consumer *next;
    struct connection *connection;
    char *group;
    char **topics, **elsewhere; /* elsewhere: as in the subscription; never NULL */
    size_t topic_count;
    int64_t newest_member; /* of the group, as of the last heartbeat */
    struct rows *others;   /* topics that other members read, or did since this one joined; one a row; NULL: none */
    uint32_t poll_records;
    size_t poll_bytes;
    atomic_llong member; /* kept after an expiry until it joins again: an expired number fences, 0 would not */
    bool joined;
    struct stream *streams; /* one a partition */

    int event_fd;
    atomic_bool sleeping;       /* waits on event_fd */
    atomic_bool log_changed;    /* a fetch is due: something was published here or notified */
    atomic_bool wake_requested; /* bus_wake() */
    bool paused;
    bool notified; /* by another process, since the last fetch */

    int64_t heartbeat_due_ms, fetch_due_ms; /* monotonic */
    int64_t heartbeat_ms;                   /* when the last one was answered */
    int horizon_wait_ms;                    /* current wait for rows beyond the horizon */
    char *strangers;    /* xid8[] as the server writes it: transactions of other programs; NULL: none */
    int retry_ms;       /* current wait after a failed statement; 0: it succeeded */
    bool unreachable;   /* the database is, and the store or a fault has told so */
    struct error fault; /* for the next poll; code 0: none */

    size_t row_bytes;           /* average of the rows that came last */
    struct bus_record *pending; /* [first, first + count) were read and are to be handed out, in order */
    size_t pending_first, pending_count, pending_size;

    uint32_t *event_streams, *event_epochs;   /* of a bus_event; one a partition */
    int32_t *param_partitions, *param_epochs; /* parameters of statements; one a partition */
    int64_t *param_highs, *param_lows, *param_old_highs, *param_old_lows;
};

/* Position arithmetic: low is id * 65536 + index. */
enum { INDEX_BITS = 16, INDEX_LAST = 0xffff };
#define POSITION_LOW_MAX ((uint64_t)INT64_MAX)

/* The id after which the query starts: the row of a position that is not at its end is read again. */
static inline int64_t postgres_row_before(struct position position)
{
    if (position.low == POSITION_LOW_MAX)
        return INT64_MAX;
    int64_t id = (int64_t)(position.low >> INDEX_BITS);
    return (position.low & INDEX_LAST) == INDEX_LAST ? id : id - 1;
}

/* poll.c */
int postgres_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
void postgres_wake(struct bus_consumer *consumer);
void postgres_pause(struct bus_consumer *consumer, bool paused);

/* fetch.c: one query of the log, what it brings goes into `pending`; sets when the next is due. 0, or negative: the
 * consumer cannot go on. */
int postgres_fetch(struct bus_consumer *consumer, struct error *error);

/* heartbeat.c: one heartbeat, after joining if need be; sets when the next is due. 0, or negative: the consumer cannot
 * go on. Trouble that may pass becomes consumer->fault. */
int postgres_heartbeat(struct bus_consumer *consumer, struct error *error);
int postgres_revoked(struct bus_consumer *consumer, struct error *error);

/* member.c */
enum store_result postgres_join(struct bus_consumer *consumer, struct error *error); /* as a new member */
/* `newest` has joined: which topics do others read? Those of members that have left stay, what was written to them may
 * not have been read. Until this is known nothing is fetched. */
enum store_result postgres_learn_others(struct bus_consumer *consumer, int64_t newest, struct error *error);

/* commit.c */
int postgres_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                    const struct position *positions, struct error *error);

/* Streams without a record to complete move their position over records of other topics. */
enum store_result postgres_advance(struct bus_consumer *consumer, struct error *error);

/* append.c */
enum store_result postgres_append(struct bus *bus, struct connection *connection, const struct record *records,
                                  size_t count, struct error *error);
int postgres_publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms,
                     size_t *ret_failed, struct error *error);

/* scan.c */
int postgres_scan(struct bus *bus, const struct bus_scan *scan, struct error *error);

/* consumer.c */
int postgres_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                       struct error *error);
void postgres_unsubscribe(struct bus_consumer *consumer);
/* What a failed statement means: 0: the next heartbeat and fetch come after a wait that doubles, and an outage becomes
 * consumer->fault; negative: the consumer cannot go on. */
int postgres_back_off(struct bus_consumer *consumer, enum store_result result, struct error *error);

/* pending.c */
bool postgres_pending_push(struct bus_consumer *consumer, const struct bus_record *record); /* false: out of memory */
void postgres_pending_drop(struct bus_consumer *consumer, uint32_t stream); /* releases the records of one stream */

/* notify.c */
void postgres_published(struct bus *bus);
/* Notifies other processes of what was published here, at most every NOTIFY_EVERY_MS. Returns when to call again. */
int64_t postgres_notify_others(struct bus_consumer *consumer, int64_t now_ms);

/* reading.c: who reads a place, and what keeps it from being read */
int postgres_reading(struct bus *bus, const char *group, const struct bus_place *places, size_t count,
                     struct bus_reading *ret, struct error *error);
/* standing.c: how far a group is, where it begins, and that it has another name */
int postgres_standing(struct bus *bus, const char *group, struct bus_standing *topics, size_t count, int64_t most,
                      struct error *error);
int postgres_begin(struct bus *bus, const char *group, const char *const *topics, size_t count,
                   const struct start *start, bool recorded, struct error *error);
int postgres_rename_group(struct bus *bus, const char *old, const char *new_name, struct error *error);

/* maintenance.c */
/* 0 once the database's settings fit; -EAGAIN while it cannot be reached; what open() gives when they never will. */
int postgres_verify(struct postgres_bus *bus, struct error *error);
int64_t postgres_lag(struct bus *bus, const char *group);
void postgres_maintain(struct bus *bus);

#endif
