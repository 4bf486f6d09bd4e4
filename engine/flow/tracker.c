/*
 * tracker.c - see tracker.h. Only what is in flight is kept: a list in order of delivery, in an array of slots. Each
 * slot holds the last position that will be complete once it is; completing a record hands that position to the one
 * before it, or, when it is the first, makes it the watermark. So one record that is retried for an hour costs one
 * slot, not an hour's worth of records. A ticket is a slot's number and its generation, which tells a late or
 * doubled completion from a good one.
 */
#include "flow/tracker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { TRACKER_SLOTS_MIN = 64 };
#define TRACKER_NONE UINT32_MAX
#define TRACKER_SLOTS_MAX ((size_t)1 << 31)

struct tracker_slot {
    struct position upto;   /* complete up to here when this record is, and everything before it */
    uint32_t before, after; /* neighbours in delivery order, or TRACKER_NONE; `after` links the free slots, too */
    uint32_t generation;    /* odd: in flight */
};

struct tracker {
    struct tracker_slot *slots;
    size_t size, max, in_flight;
    uint32_t first, last; /* in flight, in delivery order */
    uint32_t free;
    uint32_t epoch;
    bool any;                   /* something was delivered or consumed */
    bool refused;               /* a record found no room and has not been offered again */
    bool moved;                 /* the watermark, since it was last asked for */
    struct position delivered;  /* nothing up to here is delivered any more */
    struct position refused_at; /* the first that found no room: nothing above it may be taken before it */
    struct position watermark;
};

/* Makes slots size..new_size-1 the free ones. */
static int tracker_grow(struct tracker *tracker, size_t new_size)
{
    struct tracker_slot *slots = realloc(tracker->slots, new_size * sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    for (size_t i = tracker->size; i < new_size; i++)
        slots[i] = (struct tracker_slot){.after = i + 1 < new_size ? (uint32_t)(i + 1) : TRACKER_NONE};
    tracker->free = (uint32_t)tracker->size;
    tracker->slots = slots;
    tracker->size = new_size;
    return 0;
}

struct tracker *tracker_create(uint32_t epoch, size_t max)
{
    struct tracker *tracker = calloc(1, sizeof *tracker);
    if (tracker == NULL)
        return NULL;
    tracker->epoch = epoch;
    tracker->max = max < TRACKER_SLOTS_MAX ? max : TRACKER_SLOTS_MAX;
    tracker->first = tracker->last = tracker->free = TRACKER_NONE;
    if (tracker->max > 0 && tracker_grow(tracker, max < TRACKER_SLOTS_MIN ? max : TRACKER_SLOTS_MIN) != 0) {
        free(tracker);
        return NULL;
    }
    return tracker;
}

void tracker_destroy(struct tracker *tracker)
{
    if (tracker == NULL)
        return;
    free(tracker->slots);
    free(tracker);
}

uint32_t tracker_epoch(const struct tracker *tracker)
{
    return tracker->epoch;
}

size_t tracker_in_flight(const struct tracker *tracker)
{
    return tracker->in_flight;
}

/* A free slot for one more record, or the reason why there is none. */
static int tracker_room(struct tracker *tracker)
{
    if (tracker->in_flight >= tracker->max)
        return -ENOSPC;
    if (tracker->free != TRACKER_NONE)
        return 0;
    size_t size = tracker->size * 2;
    return tracker_grow(tracker, size < tracker->max ? size : tracker->max);
}

int tracker_add(struct tracker *tracker, struct position position, uint64_t *ret_ticket)
{
    if (tracker->any && position_compare(position, tracker->delivered) <= 0)
        return -EEXIST;
    if (tracker->refused && position_compare(position, tracker->refused_at) > 0)
        return -ENOSPC;
    int code = tracker_room(tracker);
    if (code != 0) {
        tracker->refused = true;
        tracker->refused_at = position;
        return code;
    }
    uint32_t at = tracker->free;
    struct tracker_slot *slot = &tracker->slots[at];
    tracker->free = slot->after;
    slot->upto = position;
    slot->before = tracker->last;
    slot->after = TRACKER_NONE;
    slot->generation++;
    if (tracker->last != TRACKER_NONE)
        tracker->slots[tracker->last].after = at;
    else
        tracker->first = at;
    tracker->last = at;
    tracker->in_flight++;
    tracker->delivered = position;
    tracker->any = true;
    if (tracker->refused && position_compare(position, tracker->refused_at) == 0)
        tracker->refused = false;
    *ret_ticket = (uint64_t)slot->generation << 32 | at;
    return 0;
}

void tracker_consume(struct tracker *tracker, struct position position)
{
    if (tracker->refused || (tracker->any && position_compare(position, tracker->delivered) <= 0))
        return;
    tracker->delivered = position;
    tracker->any = true;
    if (tracker->last != TRACKER_NONE) {
        tracker->slots[tracker->last].upto = position;
    } else {
        tracker->watermark = position;
        tracker->moved = true;
    }
}

void tracker_complete(struct tracker *tracker, uint32_t epoch, uint64_t ticket)
{
    if (epoch != tracker->epoch)
        return;
    uint32_t at = (uint32_t)ticket;
    assert(at < tracker->size);
    struct tracker_slot *slot = &tracker->slots[at];
    assert(slot->generation == ticket >> 32 && slot->generation % 2 == 1);

    if (slot->before != TRACKER_NONE) {
        tracker->slots[slot->before].upto = slot->upto;
        tracker->slots[slot->before].after = slot->after;
    } else {
        tracker->watermark = slot->upto;
        tracker->moved = true;
        tracker->first = slot->after;
    }
    if (slot->after != TRACKER_NONE)
        tracker->slots[slot->after].before = slot->before;
    else
        tracker->last = slot->before;
    slot->generation++;
    slot->after = tracker->free;
    tracker->free = at;
    tracker->in_flight--;
}

bool tracker_watermark(struct tracker *tracker, struct position *ret)
{
    if (!tracker->moved)
        return false;
    tracker->moved = false;
    *ret = tracker->watermark;
    return true;
}

void tracker_remind(struct tracker *tracker)
{
    tracker->moved = true;
}
