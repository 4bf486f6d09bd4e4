/*
 * option.h - the keys of a section as a table: type, range, default, help.
 *
 * The same table reads the file, refuses what it does not know, and prints the JSON schema and the reference page.
 */
#ifndef SLUICE_PIPELINE_OPTION_H
#define SLUICE_PIPELINE_OPTION_H

#include "pipeline/pipeline.h"

enum option_type {
    OPTION_TEXT = 1, /* const char * */
    OPTION_BOOL,     /* bool */
    OPTION_INT32,    /* int32_t */
    OPTION_INT64,    /* int64_t */
    OPTION_NUMBER,   /* double */
    OPTION_DURATION, /* int64_t milliseconds */
    OPTION_SIZE,     /* int64_t bytes */
    OPTION_SECTION,  /* a mapping with a table of its own: `section` */
    OPTION_MAP,      /* a mapping from names to `section` */
    OPTION_LIST,     /* a list of `section`, or of texts when it is NULL */
    OPTION_ROUTES,   /* a mapping from outcomes to a topic, drop, or `section` */
    OPTION_NAMES,    /* a mapping from names to a name, or to one of `choices` */
    OPTION_ANY,      /* free: a mapping that another room checks */
};

struct option {
    const char *key; /* NULL ends a table */
    enum option_type type;
    size_t offset;
    int64_t min, max;     /* of a text: min 1 refuses an empty one */
    const char *fallback; /* as it would be written; NULL: none */
    const char *choices;  /* a|b|c */
    bool required;
    bool own;  /* checked here, read by the loader: it has no offset */
    bool list; /* a text that may have several values: "a,b" or [a, b] */
    const char *help;
    const struct option *section;
};

/* Fills `base` from the mapping's scalars and from fallbacks, and refuses unknown keys. Sections, maps and lists are
 * left to the caller. A NULL mapping gives the fallbacks. */
void options_apply(const struct option *options, struct node *mapping, struct place place, const char *what, void *base,
                   struct arena *arena, struct problems *problems);
/* Whether a value fits an option; a problem when not. Nothing is stored. */
bool option_check(const struct option *option, struct node *node, const char *what, struct problems *problems);
/* The place of a choice in "a|b|c", from 0; -1 when it is none of them. */
int choice_index(const char *choices, struct span text);
/* Only the fallbacks. */
void options_default(const struct option *options, void *base);

extern const struct option pipeline_options[]; /* the whole file; option_table.c */
extern const struct option bus_options_table[], store_options_table[], engine_options_table[], batch_options[],
    plugin_options[], retry_options[], backoff_options[], defaults_options[], topic_options[], ladder_options[],
    target_options[], dependency_options[], limit_options[], after_options[], chain_options[], chain_step_options[],
    chain_timer_options[], tap_options[], schedule_options[], http_options[], request_options[], tracing_options[],
    outbox_table_options[];
enum { PROPERTIES_MAX = 64 };
extern const struct option property_options[]; /* librdkafka's; property_table.c */

#endif
