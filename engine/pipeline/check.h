/*
 * check.h - the parts of pipeline_check().
 */
#ifndef SLUICE_PIPELINE_CHECK_H
#define SLUICE_PIPELINE_CHECK_H

#include "pipeline/pipeline.h"

struct check {
    const struct pipeline *pipeline;
    struct problems *problems;
    bool *emitted; /* by topic: something here emits to it */
};

/* check_edges.c */
typedef void (*target_function)(const struct route *route, struct topic *target, void *context);
/* Calls each(route, target, context) for every topic that a binding emits to: of a ladder its retry topic, then
 * `exhausted`. */
void binding_targets(const struct binding *binding, target_function each, void *context);
/* Whether a tap names the topic, or has a pattern that matches it when it is declared. */
bool topic_tapped(const struct pipeline *pipeline, const struct topic *topic);

/* check_fields.c: every handler, tap, key and chain gets the fields that it needs, along every route whose source is
 * known. */
void check_fields(const struct pipeline *pipeline, struct problems *problems);
/* check_flow.c: a cycle has a bound, and what is ordered has a key. */
void check_cycles(const struct check *check);
void check_keys(const struct check *check);
/* check_chains.c: steps, aborts and undos fit together; a retry ladder ends before the hold does that aborts its
 * chain. */
void check_chains(const struct check *check);
void check_holds(const struct check *check);

/* check_names.c: `renamed` and `retired` name what left the file, and what is in it. */
void check_answers(const struct check *check);

#endif
