/*
 * tracker.c - a ring of what was delivered, and how far it is complete.
 */
#include "flow/tracker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct slot {
    struct position position;
    bool complete;
};

struct tracker {
    struct slot *ring;          /* size is a power of two */
    size_t size, max;
    uint64_t first, next;       /* tickets: the oldest still in the ring, the one to give out */
    struct position last;       /* delivered */
    struct position watermark;  /* everything up to it is complete */
    uint32_t epoch;
    bool any, moved;
};

enum { TRACKER_FIRST_SIZE = 64 };

struct tracker *tracker_create(uint32_t epoch, size_t max)
{
    struct tracker *tracker = calloc(1, sizeof *tracker);
    if (tracker == NULL)
        return NULL;
    tracker->epoch = epoch;
    tracker->max = max;
    tracker->size = TRACKER_FIRST_SIZE;
    tracker->ring = calloc(tracker->size, sizeof *tracker->ring);
    if (tracker->ring == NULL) {
        free(tracker);
        return NULL;
    }
    return tracker;
}

void tracker_destroy(struct tracker *tracker)
{
    if (tracker != NULL)
        free(tracker->ring);
    free(tracker);
}

uint32_t tracker_epoch(const struct tracker *tracker)
{
    return tracker->epoch;
}

static struct slot *slot_of(const struct tracker *tracker, uint64_t ticket)
{
    return &tracker->ring[ticket & (tracker->size - 1)];
}

static int tracker_grow(struct tracker *tracker)
{
    struct slot *ring = calloc(tracker->size * 2, sizeof *ring);
    if (ring == NULL)
        return -ENOSPC; /* the caller waits for completions, as with a full ring */
    for (uint64_t ticket = tracker->first; ticket < tracker->next; ticket++)
        ring[ticket & (tracker->size * 2 - 1)] = *slot_of(tracker, ticket);
    free(tracker->ring);
    tracker->ring = ring;
    tracker->size *= 2;
    return 0;
}

int tracker_add(struct tracker *tracker, struct position position, uint64_t *ret_ticket)
{
    if (tracker->any && position_compare(position, tracker->last) <= 0)
        return -EEXIST;
    size_t held = (size_t)(tracker->next - tracker->first);
    if (held >= tracker->max || (held == tracker->size && tracker_grow(tracker) != 0))
        return -ENOSPC;
    tracker->any = true;
    tracker->last = position;
    *slot_of(tracker, tracker->next) = (struct slot){position, false};
    *ret_ticket = tracker->next++;
    return 0;
}

void tracker_complete(struct tracker *tracker, uint32_t epoch, uint64_t ticket)
{
    if (epoch != tracker->epoch)
        return;
    assert(ticket >= tracker->first && ticket < tracker->next && !slot_of(tracker, ticket)->complete);
    slot_of(tracker, ticket)->complete = true;
    while (tracker->first < tracker->next && slot_of(tracker, tracker->first)->complete) {
        tracker->watermark = slot_of(tracker, tracker->first)->position;
        tracker->moved = true;
        tracker->first++;
    }
}

size_t tracker_in_flight(const struct tracker *tracker)
{
    size_t count = 0;
    for (uint64_t ticket = tracker->first; ticket < tracker->next; ticket++)
        count += !slot_of(tracker, ticket)->complete;
    return count;
}

bool tracker_watermark(struct tracker *tracker, struct position *ret)
{
    if (!tracker->moved)
        return false;
    tracker->moved = false;
    *ret = tracker->watermark;
    return true;
}
