/*
 * edit.h - a dead letter gets other data, to be replayed with it. The event as it came is kept beside it.
 */
#ifndef SLUICE_OPERATE_EDIT_H
#define SLUICE_OPERATE_EDIT_H

#include "operate/dead_letter.h"

/* Gives the open dead letter `id` these data, a JSON object, in place of its event's; the rest of its envelope, its
 * headers and its topic stay, and the key is what the topic's `key:` makes of the data. What was no event becomes one.
 * Checked as the handler's fields are before it is called. 0; -ENOENT: there is none; -EBUSY: it is not open; -EINVAL
 * with a sentence: the data do not fit; others: the store, or the bus. */
int dead_letter_edit(const struct operation *operation, struct span id, struct span data, struct arena *arena,
                     struct error *error);
/* The data that it would be replayed with; {NULL, 0}: it is no event. Lives as long as the letter and the arena. */
struct span dead_letter_data(const struct dead_letter *letter, struct arena *arena);

#endif
