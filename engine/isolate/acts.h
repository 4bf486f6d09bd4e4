/*
 * acts.h - what a handler asked of the host, written down one behind the other.
 *
 * The plugin's process writes; the lane reads a copy that nobody writes to any more, and believes nothing in it: each
 * length is held to what is left, each name ends with a NUL. What the numbers mean is checked where they are used, by
 * the host functions themselves.
 */
#ifndef SLUICE_ISOLATE_ACTS_H
#define SLUICE_ISOLATE_ACTS_H

#include "base/arena.h"
#include "sluice/plugin.h"

enum act_kind {
    ACT_OUTCOME = 1,
    ACT_RETRY,
    ACT_REJECT,
    ACT_SET_TEXT,
    ACT_SET_INT64,
    ACT_SET_JSON,
    ACT_SET_DOUBLE,
    ACT_SET_BOOL,
    ACT_ADD,
    ACT_REPLY,
    ACT_QUERY,
    ACT_IS_NULL, /* these four only of a place where there is nothing, or nothing of that type */
    ACT_GET_INT64,
    ACT_GET_DOUBLE,
    ACT_GET_TEXT,
    ACT_LOG,
    ACT_UNAVAILABLE,
    ACT_FAULT,
    ACT_FULL, /* there was no room for more */
};

enum { ACT_WORDS_MAX = 1000 }; /* bytes of a name, a reason or a line of the log; the rest is cut */

struct act {
    uint32_t kind;
    uint32_t more; /* flags of a reply; which answer of the call a row is of */
    uint64_t size; /* bytes of all of it, a multiple of 8 */
    uint64_t n;    /* the event; the row; of a query the number of its parameters */
    uint64_t value;
    uint64_t name_length, text_length; /* AREA_NONE: NULL */
    /* then the name and a NUL, the text, a query's parameters; each begins at a multiple of 8 */
};

struct act_param {
    uint32_t form, type;
    uint64_t offset, count;
    uint64_t given; /* 0: `values` is NULL */
    uint64_t size;  /* of what follows: `count` members of the type; of texts their lengths, then their bytes */
};

/* --- of the plugin's process */
struct acts {
    char *at;
    size_t used, max;
    bool full;
};
void acts_clear(struct acts *acts);
/* act.size and the lengths are filled. A name is a C string or NULL. */
void acts_add(struct acts *acts, struct act act, const char *name, struct sluice_text text);
void acts_add_query(struct acts *acts, const struct sluice_sql *sql, size_t count, const struct sluice_param *params);

/* --- of the lane */
struct act_read {
    struct act head;
    const char *name;
    struct sluice_text text;
    struct span rest;
};
enum acts_next { ACTS_END = 0, ACTS_ONE, ACTS_BROKEN };
/* Takes the next act off *acts. */
enum acts_next acts_read(struct span *acts, struct act_read *ret);
/* The parameters of a query, in the arena; false: they are broken. None when head.n is more than `max`. */
bool acts_params(const struct act_read *act, size_t max, struct arena *arena, struct sluice_param **ret);

#endif
