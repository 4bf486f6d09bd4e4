/*
 * difference.h - what changes from one file to another, in words that may be printed; and which of it cannot change
 * while the engine runs. How a file is written (order, comments, lines, defaults that are spelled out) is no change.
 */
#ifndef SLUICE_PIPELINE_DIFFERENCE_H
#define SLUICE_PIPELINE_DIFFERENCE_H

#include "pipeline/pipeline.h"

enum { HASH_TEXT = 13 };

enum change_kind { CHANGE_ADDED = 1, CHANGE_REMOVED, CHANGE_CHANGED };
struct change {
    enum change_kind kind;
    const char *of;           /* "topic", "plugin", "engine": what it belongs to */
    const char *name;         /* of the topic, plugin …; "": of the file's own section */
    const char *field;        /* "retry.max_retries"; NULL: all of the topic, plugin … is added or removed */
    const char *before, *now; /* NULL: there is none; "***": it is a secret */
};
struct difference {
    struct change *changes; /* by what they belong to, name and field */
    size_t count;
    const char **refused; /* sentences: what a running engine cannot change, and what to do */
    size_t refused_count;
};

/* Two pipelines that were loaded; one that could not be read has no difference to any. Only settings of plugins that
 * are loaded, in either, are known to be secrets by more than their names. In the arena. */
void difference_find(const struct pipeline *before, const struct pipeline *now, struct arena *arena,
                     struct difference *ret);
const char *change_word(enum change_kind kind); /* "added" */

/* Of what the file says, 12 hex digits: the same for files without a difference. Secrets do not count, so the hash may
 * be shown. */
void pipeline_hash(const struct pipeline *pipeline, char ret[HASH_TEXT]);

#endif
