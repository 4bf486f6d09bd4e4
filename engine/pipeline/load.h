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
/* load_flow.c: topics, chains, taps, schedules, requests, and the groups that follow from them. */
void load_flow(struct load *load, struct node *root);
/* load_path.c: where a plugin's file is; the path itself when nothing is found. */
const char *load_plugin_path(struct load *load, const char *library);

#endif
