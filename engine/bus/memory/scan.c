/*
 * scan.c - reading the memory bus in no group, in the order of publishing. See memory.h.
 */
#include "bus/memory/memory.h"

#include "base/clock.h"
#include "base/condition.h"

#include <errno.h>
#include <stdlib.h>

enum { SCAN_STOP_MS = 100 /* how soon a scan that follows looks at *stop again */ };

/* The segment to scan next: the oldest publish among those at the cursors, with a reference for the caller; NULL when
 * every cursor is at the end. With the lock. */
static struct segment *scan_next(struct memory_bus *bus, uint64_t *cursors, uint32_t *ret_partition)
{
    struct segment *found = NULL;
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        struct segment *segment = memory_log_find(&bus->partitions[p], cursors[p]);
        if (segment != NULL && (found == NULL || segment->sequence < found->sequence)) {
            found = segment;
            *ret_partition = p;
        }
    }
    if (found != NULL) {
        cursors[*ret_partition] = found->offset + found->count;
        bus_chunk_hold(&found->chunk, 1);
    }
    return found;
}

static bool scan_matches(const struct memory_bus *bus, const struct bus_scan *scan, const struct record *record)
{
    return memory_matches(bus, scan->topics, scan->topic_count, record->topic) &&
           (scan->contains.length == 0 ||
            (record->value.length >= scan->contains.length &&
             memmem(record->value.at, record->value.length, scan->contains.at, scan->contains.length) != NULL));
}

int memory_scan(struct bus *head, const struct bus_scan *scan, struct error *error)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    uint64_t *cursors = calloc(bus->partition_count, sizeof *cursors);
    if (cursors == NULL)
        return error_set(error, ENOMEM, "out of memory while reading the log");
    for (bool more = true; more && !scan_stopped(scan);) {
        uint32_t partition = 0;
        pthread_mutex_lock(&bus->lock);
        struct segment *segment = scan_next(bus, cursors, &partition);
        if (segment == NULL && scan->follow)
            (void)cond_timedwait_ms(&bus->appended, &bus->lock, clock_monotonic_ms() + SCAN_STOP_MS);
        pthread_mutex_unlock(&bus->lock);
        if (segment == NULL) {
            more = scan->follow;
            continue;
        }
        for (size_t i = 0; more && i < segment->count; i++)
            if (scan_matches(bus, scan, &segment->records[i]))
                more = scan->each(&segment->records[i], (int32_t)partition, (struct position){segment->offset + i, 0},
                                  scan->context);
        bus_chunk_release(&segment->chunk, 1);
    }
    free(cursors);
    return 0;
}
