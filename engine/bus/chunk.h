/*
 * chunk.h - what the records of one delivery live in, and what every bus asks of a record.
 *
 * A chunk is the head of a bus's own struct. It starts with one reference for each record in it and one for its
 * maker; whoever gives the last one back has it destroyed, on whichever thread that happens.
 */
#ifndef SLUICE_BUS_CHUNK_H
#define SLUICE_BUS_CHUNK_H

#include "bus/bus.h"

#include <stdatomic.h>

struct bus_chunk {
    atomic_size_t references;
    void (*destroy)(struct bus_chunk *chunk);
};

static inline void bus_chunk_hold(struct bus_chunk *chunk, size_t references)
{
    atomic_fetch_add_explicit(&chunk->references, references, memory_order_relaxed);
}

/* True when the pattern (exact, or with a trailing '*') is this topic; or one of the patterns is. */
bool topic_matches(struct span pattern, struct span topic);
bool topics_match(const char *const *topics, size_t count, struct span topic);

/* 0, or -EMSGSIZE / -EINVAL with a sentence when no bus of ours could carry the record. */
int record_check(const struct record *record, struct error *error);
/* What chooses the partition and, for the engine, the lane: of the key; of the value when there is none. */
uint32_t record_partition(const struct record *record, uint32_t partitions);
/* key_hash of a delivered record. */
uint64_t record_key_hash(const struct record *record, struct position position);

/* Whether the scan is to end: its *stop is set, or its time is over. */
static inline bool scan_stopped(const struct bus_scan *scan)
{
    return (scan->stop != NULL && __atomic_load_n(scan->stop, __ATOMIC_RELAXED) != 0) ||
           (scan->deadline_ms != 0 && clock_monotonic_ms() >= scan->deadline_ms);
}

/* How many of `partitions` the member with this rank among `members` reads. */
static inline uint32_t share_of(uint32_t partitions, uint32_t members, uint32_t rank)
{
    return partitions / members + (rank < partitions % members ? 1 : 0);
}

#endif
