/*
 * replayed_event.h - the event that the replay of a dead letter is.
 */
#ifndef SLUICE_OPERATE_REPLAYED_EVENT_H
#define SLUICE_OPERATE_REPLAYED_EVENT_H

#include "operate/operation.h"

struct replayed {       /* what it is made of */
    const char *letter; /* its id */
    int32_t round;      /* this one: 1 or more */
    bool noted;         /* chains have noted the event */
    struct span group, topic;
    const struct record *record; /* the event as it came, or as it was edited */
};

/* Fills *ret, which lives in the arena and shares the source's bytes. -EINVAL with a sentence when it cannot be
 * replayed: nothing in the file would handle it, or it is no event. */
int replayed_event(const struct pipeline *pipeline, const struct replayed *from, struct arena *arena,
                   struct record *ret, struct span *ret_id, struct error *error);
/* The topic as the file has it now, under the name that `renamed` gives it; NULL: it has none. */
struct topic *replayed_topic(const struct pipeline *pipeline, struct span name, struct arena *arena);

#endif
