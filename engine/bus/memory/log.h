/*
 * log.h - one partition of the memory bus: an append-only row of segments, trimmed from its oldest end.
 *
 * Not locked: the caller holds the lock of the bus. A segment outlives its log for as long as somebody references it
 * as a chunk.
 */
#ifndef SLUICE_BUS_MEMORY_LOG_H
#define SLUICE_BUS_MEMORY_LOG_H

#include "bus/chunk.h"

struct segment {
    struct bus_chunk chunk; /* first: the two are the same address */
    uint64_t sequence;      /* of the publish: the order across partitions */
    uint64_t offset;        /* of records[0] */
    int64_t published_ms;   /* monotonic */
    size_t size;            /* bytes of the allocation */
    size_t count;
    struct record records[];
};

struct memory_log {
    struct segment **segments; /* [first, end) are live; moved down to 0 when the array is full */
    size_t first, end, size;
    uint64_t next; /* offset of the record to come */
};

/* Copies of the `count` records picked by index, with one reference, which memory_log_append() takes over. NULL: out of
 * memory. */
struct segment *memory_segment_create(const struct record *records, const uint32_t *picked, size_t count);

/* Gives the segment its offset and owns it from then on. False when out of memory: it is still the caller's. */
bool memory_log_append(struct memory_log *log, struct segment *segment);
/* The segment that holds `offset`, or the first after it; NULL at the end. */
struct segment *memory_log_find(const struct memory_log *log, uint64_t offset);
/* Releases the oldest segments whose records all lie below `completed` and that were published by `before_ms`. Returns
 * their bytes. */
size_t memory_log_trim(struct memory_log *log, uint64_t completed, int64_t before_ms);
void memory_log_free(struct memory_log *log); /* releases every segment */

#endif
