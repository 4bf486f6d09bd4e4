/*
 * load.h - what the files of the loader share. Each reads its part into load->pipeline and adds a problem, with its
 * place, for whatever it cannot read.
 */
#ifndef SLUICE_PIPELINE_LOAD_H
#define SLUICE_PIPELINE_LOAD_H

#include "pipeline/option.h"

struct load {
    struct arena *arena;
    struct problems *problems;
    struct pipeline *pipeline;
};

enum { TOPIC_NAME_MAX = 249 }; /* Kafka's */

/* load_section.c */
/* The mapping under `key`; false when it is absent, empty, or (a problem) something else. */
bool load_section(struct load *load, struct node *root, const char *key, struct node **ret);
/* A name by Kafka's rule, or a problem and "?". */
const char *load_name(struct load *load, const struct node *node, const char *what, size_t most);
/* A whole number that options_apply() has checked; `otherwise` when it is absent or was refused. */
int64_t load_number(struct node *node, int64_t min, int64_t max, int64_t otherwise);

/* load_topic.c */
/* The topic that a node names; `what` is what the sentence begins with when it is no name. */
struct topic *load_topic_named(struct load *load, const struct node *node, const char *what);
/* `topics:`, a list of names and of patterns with a trailing *; NULL-terminated. */
const char *const *load_topic_list(struct load *load, struct node *topics, const char *what, size_t *ret_count);
/* The topic that a key of a mapping names; NULL when the key is absent or (a problem already) no text. */
struct topic *load_topic_at(struct load *load, struct node *mapping, const char *key, const char *what);

/* "{topic}-dlt" of this topic. */
struct topic *load_dead_letter_of(struct load *load, const struct topic *topic);

/* load_binding.c */
/* `retry:` of a mapping, over the values that the policy has. */
void load_retry(struct load *load, struct node *mapping, const char *what, struct retry_policy *policy);
/* The handler, routes, retry and timeout of `mapping`. */
struct binding *load_binding(struct load *load, struct node *mapping, struct place place, const char *what);

/* load_dependencies.c */
void load_dependencies(struct load *load, struct node *root);
/* What `dependency:` of a topic names. */
void load_dependency_of(struct load *load, struct node *topic, const char *what, struct binding *binding);

/* load_limit.c: `limit:` of a topic. */
void load_limit(struct load *load, struct node *mapping, const char *what, const struct topic *topic);

/* load_after.c: `after:` of a topic; and of all of them, once it is known what is handled here. */
void load_after(struct load *load, struct node *mapping, const char *what, struct topic *topic);
void load_afters(struct load *load);

/* load_path.c: where a plugin's file is; NULL, with a problem, when a plain name is found nowhere. */
const char *load_plugin_path(struct load *load, const struct plugin_ref *ref);
/* A path that is relative to the configuration's folder. */
const char *load_beside(struct load *load, const char *path);
/* load_properties.c: librdkafka's properties. */
void load_properties(struct load *load, struct node *bus);
/* load_outbox_table.c; the second when all topics are known, and which of them are for dead letters */
void load_outbox_table(struct load *load, struct node *root);
void join_outbox_table(struct load *load);
/* load_tracing.c */
void load_tracing(struct load *load, struct node *root);
/* load_entries.c */
void load_taps(struct load *load, struct node *root);
void load_schedules(struct load *load, struct node *root);
void load_requests(struct load *load, struct node *root);
/* load_emit.c: `emit:` of a request, whose binding has no handler or that one; the second when all topics are known. */
void load_emit(struct load *load, struct node *mapping, const char *what, struct request *request);
void join_emits(struct load *load);
/* load_chains.c */
void load_chains(struct load *load, struct node *root);
/* load_names.c */
/* `from:` of a mapping. */
void load_start(struct load *load, struct node *mapping, const char *what, struct start *ret);
/* `renamed:` and `retired:`. */
void load_answers(struct load *load, struct node *root);
/* The topics that retired names stand for, once the pipeline's own are all known. */
void load_retired_topics(struct load *load);
/* load_flow.c: topics and everything that names one, then the retry and dead letter topics among them. */
void load_flow(struct load *load, struct node *root);

#endif
