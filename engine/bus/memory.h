/*
 * memory.h - the bus in this process's memory: for one process, for trying things out and for tests.
 *
 * Each partition is a row of segments; a segment is what one publish() put there: one allocation with the records
 * and their bytes, which is also the chunk that readers hold, so that delivery copies nothing. A group has a
 * position in every partition; a partition belongs to one member of it at a time. Positions are {offset, 0}; offsets
 * of a partition count from 0.
 *
 * Kept: every record that some group has not completed, then for retention_ms. When more than MEMORY_BYTES_MAX are
 * kept, what all groups completed goes at once, and if that is not enough publish() waits for them until its
 * deadline. Nothing outlives the process.
 *
 * One mutex guards all of it; it is never held while a callback runs.
 */
#ifndef SLUICE_BUS_MEMORY_H
#define SLUICE_BUS_MEMORY_H

#include "bus/chunk.h"

#include <pthread.h>

enum { MEMORY_BYTES_MAX = 512 * 1024 * 1024, MEMORY_PARTITIONS_MAX = 4096 };

struct segment {
    struct bus_chunk chunk; /* first: the two are the same address */
    uint64_t sequence;      /* of the publish: the order across partitions */
    uint64_t offset;        /* of records[0] */
    int64_t published_ms;
    size_t size; /* bytes of the allocation */
    size_t count;
    struct record records[];
};

struct log_partition {
    struct segment **segments; /* a ring without a ring: [first, end) are live, moved down when the array is full */
    size_t first, end, size;
    uint64_t next; /* offset of the record to come */
};

enum lease_state {
    LEASE_FREE = 0,
    LEASE_GIVEN, /* the owner's next poll says BUS_ASSIGNED */
    LEASE_HELD,
    LEASE_RECALLED,  /* the owner's next poll says BUS_REVOKED */
    LEASE_RETURNING, /* it has; revoked() ends it */
};

struct memory_lease {
    struct bus_consumer *owner;
    enum lease_state state;
    uint32_t epoch;
    uint64_t done;   /* every offset below it is complete */
    uint64_t cursor; /* the next to deliver */
    uint64_t
        /* one past the last record that was delivered: what must be complete before `done` may follow the cursor */
        queued;
};

struct memory_group {
    char *name;
    struct memory_group *next;
    struct bus_consumer *members; /* in the order they came */
    uint32_t member_count;
    struct memory_lease *leases; /* one a partition */
};

struct memory_bus {
    struct bus bus; /* first */
    uint32_t partition_count;
    int64_t retention_ms;
    pthread_mutex_t lock;
    pthread_cond_t room;    /* for publishers that wait: records were completed */
    pthread_cond_t arrived; /* for scans that follow */
    uint64_t sequence;
    size_t bytes, bytes_max; /* of all segments */
    struct memory_group *groups;
    struct log_partition *partitions;
};

struct bus_consumer { /* of the memory bus */
    struct memory_bus *bus;
    struct memory_group *group;
    struct bus_consumer *next;
    pthread_cond_t news;
    bool woken, paused;
    uint32_t turn; /* partition to look at first, so that none starves */
    char **topics;
    size_t topic_count;
    uint32_t poll_records;
    size_t poll_bytes;
    struct bus_record *records; /* poll_records of them */
    uint32_t *streams, *epochs; /* one a partition */
};

/* Segment that holds `offset`, or the first after it; NULL at the end. With the lock. */
struct segment *memory_find(const struct log_partition *partition, uint64_t offset);
/* Drops what every group completed and is older than `before_ms`. With the lock. */
void memory_trim(struct memory_bus *bus, int64_t before_ms);

int memory_subscribe(struct bus *bus, const struct bus_subscription *subscription, struct bus_consumer **ret,
                     struct error *error);
int memory_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error);
void memory_wake(struct bus_consumer *consumer);
void memory_pause(struct bus_consumer *consumer, bool paused);
int memory_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                  const struct position *positions, struct error *error);
int memory_revoked(struct bus_consumer *consumer, struct error *error);
void memory_unsubscribe(struct bus_consumer *consumer);
void memory_wake_all(struct memory_bus *bus); /* with the lock: records arrived */

#endif
