/*
 * load.h - what the files of the loader share.
 */
#ifndef SLUICE_PIPELINE_LOAD_H
#define SLUICE_PIPELINE_LOAD_H

#include "pipeline/option.h"

struct load {
    struct arena *arena;
    struct problems *problems;
    struct pipeline *pipeline;
};

/* A name by Kafka's rule, or a problem and "?". */
const char *load_name(struct load *load, const struct node *node, const char *what, size_t most);
/* The mapping under `key`; false when it is absent, empty, or (a problem) something else. */
bool load_section(struct load *load, struct node *root, const char *key, struct node **ret);
void load_retry(struct load *load, struct node *mapping, const char *what, struct retry_policy *policy);
/* A whole number that options_apply() has checked; `otherwise` when it is absent or was refused. */
int64_t load_number(struct node *node, int64_t min, int64_t max, int64_t otherwise);
/* load_properties.c: librdkafka's properties. */
void load_properties(struct load *load, struct node *bus);
enum { TOPIC_NAME_MAX = 249 }; /* Kafka's */

/* load_flow.c: topics and chains, then the rest of what moves events. */
void load_flow(struct load *load, struct node *root);
/* The topic of that name, made when nothing has named it before; `what` is what the sentence begins with when it is
 * no name. */
struct topic *load_topic_named(struct load *load, const struct node *node, const char *what);
/* The handler, routes, retry and timeout of `mapping`. */
struct binding *load_binding(struct load *load, struct node *mapping, struct place place, const char *what);
/* load_entries.c */
void load_taps(struct load *load, struct node *root);
void load_schedules(struct load *load, struct node *root);
void load_requests(struct load *load, struct node *root);
/* load_path.c: where a plugin's file is; NULL, with a problem, when a plain name is found nowhere. */
const char *load_plugin_path(struct load *load, const struct plugin_ref *ref);

#endif
