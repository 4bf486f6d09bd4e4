/*
 * memory.h - the bus in this process's memory: for one process, for trying things out and for tests.
 *
 * Each partition is a log (log.h) of segments; a segment is what one publish() put there: one allocation with the
 * records and their bytes, which is also the chunk that readers reference, so that delivery copies nothing. A group
 * has a position in every partition; a partition belongs to one member of a group at a time. Positions are
 * {offset, 0}; offsets of a partition count from 0.
 *
 * Kept: every record that some group has not completed, then for retention_ms; while there is no group, everything.
 * When more than MEMORY_BYTES_MAX are kept, publish() drops what all groups completed, whatever its age, and if that
 * is not enough, waits for them until its deadline. Nothing outlives the process, but for one that takes its place.
 *
 * One mutex guards all of it; it is never held while a callback runs.
 *
 * Files, each calls only those below it:
 *   memory.c     opening, closing, and the functions of struct bus_kind that are a few lines
 *   scan.c, publish.c, consumer.c, leave.c
 *   group.c      who reads which partition, and how far
 *   log.c        the segments of one partition
 */
#ifndef SLUICE_BUS_MEMORY_MEMORY_H
#define SLUICE_BUS_MEMORY_MEMORY_H

#include "bus/memory/log.h"

#include <pthread.h>

enum { MEMORY_BYTES_MAX = 512 * 1024 * 1024, MEMORY_PARTITIONS_MAX = 4096 };

enum lease_state {
    LEASE_FREE = 0,
    LEASE_ASSIGN_PENDING, /* the owner's next poll gives BUS_ASSIGNED */
    LEASE_ASSIGNED,
    LEASE_REVOKE_PENDING, /* the owner's next poll gives BUS_REVOKED */
    LEASE_REVOKING,       /* it did; revoked() frees the lease */
};

/* One partition for one group. All three are offsets; none passes the cursor. completed >= delivered means that no
 * record that was delivered is still to be completed. */
struct memory_lease {
    struct bus_consumer *owner; /* NULL when free */
    enum lease_state state;
    uint32_t epoch;
    uint64_t completed; /* every offset below it is complete */
    uint64_t delivered; /* one past the last record that was delivered */
    uint64_t cursor;    /* the next to look at; between `delivered` and here are records of other topics */
};

struct memory_group {
    char *name;
    struct memory_group *next;
    struct bus_consumer *members; /* in the order in which they joined */
    uint32_t member_count;
    struct memory_lease *leases; /* one a partition */
};

struct memory_bus {
    struct bus bus; /* first */
    uint32_t partition_count;
    int64_t retention_ms;
    const char *own;          /* the engine's own topic, which no pattern matches; NULL: it has none */
    pthread_mutex_t lock;     /* everything below, the groups and their consumers */
    pthread_cond_t completed; /* records were completed: publishers wait for it while the log is full */
    pthread_cond_t appended;  /* records were published: scans that follow wait for it */
    uint64_t sequence;        /* of the last publish */
    uint64_t writers;         /* that were opened */
    size_t bytes, bytes_max;  /* of all segments */
    bool left;                /* it was handed over: nothing is taken any more */
    struct memory_group *groups;
    struct memory_log *partitions;
};

struct bus_consumer { /* of the memory bus */
    struct memory_bus *bus;
    struct memory_group *group;
    struct bus_consumer *next;
    pthread_cond_t wake_up; /* records were published, the leases changed, or wake_requested */
    bool wake_requested, paused;
    uint32_t turn; /* partition to look at first, so that none starves */
    char **topics;
    size_t topic_count;
    uint32_t poll_records;
    size_t poll_bytes;
    struct bus_record *records; /* poll_records of them */
    uint32_t *streams, *epochs; /* one a partition */
};

/* group.c: all with the lock. */
/* The group of this name, made when there is none; it starts at the oldest record. NULL: out of memory. */
struct memory_group *memory_group_get(struct memory_bus *bus, const char *name);
void memory_group_join(struct memory_bus *bus, struct memory_group *group, struct bus_consumer *consumer);
void memory_group_leave(struct memory_bus *bus, struct bus_consumer *consumer);
/* Frees the consumer's leases that are LEASE_REVOKING, and shares them out. */
void memory_group_release(struct memory_bus *bus, struct bus_consumer *consumer);
void memory_groups_notify(struct memory_bus *bus); /* wakes every member of every group, and scans that follow */
void memory_groups_free(struct memory_bus *bus);

/* publish.c */
/* Whether one of the names or patterns is this topic. */
bool memory_matches(const struct memory_bus *bus, const char *const *topics, size_t count, struct span topic);
/* The only process of the bus: the last writer that was opened is the one that publishes. */
int memory_writer_open(struct bus *bus, const char *name, int64_t deadline_ms, struct bus_writer **ret,
                       struct error *error);
int memory_writer_publish(struct bus_writer *writer, const struct record *records, size_t count, int64_t deadline_ms,
                          size_t *ret_failed, struct error *error);
void memory_writer_close(struct bus_writer *writer);
int memory_publish(struct bus *bus, const struct record *records, size_t count, int64_t deadline_ms, size_t *ret_failed,
                   struct error *error);
/* Drops what every group completed and was published before `before_ms`; nothing while there is no group. With the
 * lock. */
void memory_trim(struct memory_bus *bus, int64_t before_ms);

/* consumer.c */
int memory_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                     struct error *error);
int memory_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
void memory_wake(struct bus_consumer *consumer);
void memory_pause(struct bus_consumer *consumer, bool paused);
int memory_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                  const struct position *positions, struct error *error);
int memory_revoked(struct bus_consumer *consumer, struct error *error);
void memory_unsubscribe(struct bus_consumer *consumer);

/* leave.c */
int memory_leave(struct bus *bus, int file, struct error *error);
int memory_find(struct bus *bus, int file, struct error *error);

/* scan.c */
int memory_scan(struct bus *bus, const struct bus_scan *scan, struct error *error);

#endif
