/*
 * leaves.h - what a file says as a sorted list of single values, whichever way they are written: defaults are filled
 * in, units are the largest that fit, and the order of keys does not count. Two files that mean the same have the same
 * leaves.
 */
#ifndef SLUICE_PIPELINE_LEAVES_H
#define SLUICE_PIPELINE_LEAVES_H

#include "pipeline/option.h"

struct leaf {
    const char *kind;  /* "engine", "topic", "plugin": what it belongs to */
    const char *name;  /* of the topic, plugin …; "": of the file's own section */
    const char *field; /* "retry.max_retries"; "": the topic, plugin … itself, whose value is "" */
    const char *text;
    bool secret;    /* the text is not for people */
    bool inherited; /* not written here: the value is that of `defaults`, or follows from another one */
};
struct leaves {
    struct leaf *list; /* by kind, name and field */
    size_t count;
};

/* Of a pipeline that was loaded; without a root there are none. Lives in the arena. */
struct leaves leaves_of(const struct pipeline *pipeline, struct arena *arena);
int leaf_compare(const struct leaf *a, const struct leaf *b);     /* by kind, name and field */
bool leaf_same_entry(const struct leaf *a, const struct leaf *b); /* the same kind and name */

#endif
