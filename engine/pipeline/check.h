/*
 * check.h - the parts of pipeline_check(), which looks at one file, and of pipelines_check(), which looks at files that
 * work together.
 *
 * Where events flow, the second is the first with more files: a topic is one in all files that name it, by its number.
 */
#ifndef SLUICE_PIPELINE_CHECK_H
#define SLUICE_PIPELINE_CHECK_H

#include "pipeline/pipeline.h"

/* A topic as each file that names it has it; never empty. */
struct shared_topic {
    struct topic **list;
    size_t count;
};

struct check {
    const struct pipeline *const *pipelines;
    size_t count;
    const struct pipeline *pipeline; /* pipeline_check(): the one */
    struct arena *arena;
    struct problems *problems;
    struct shared_topic *topics; /* by number */
    size_t topic_count;
    const struct binding **ladders; /* those that have a retry ladder */
    size_t ladder_count;
    bool *emitted; /* by number: something in a file emits to it */
};

/* check_shared.c */
/* Numbers the topics of all files alike, and fills what is in check but `pipeline`. */
void check_begin(const struct pipeline *const *pipelines, size_t count, struct problems *problems, struct check *ret);
const char *check_place(const struct check *check, struct place place); /* "FILE:LINE" */
/* " (FILE:LINE)" of what stands in another file than the place that is reported; "" in the same. */
const char *check_other_file(const struct check *check, struct place reported, struct place place);
/* check.c: names that differ too little, of topics of all files. */
void check_names(const struct check *check);

/* check_edges.c */
typedef void (*target_function)(const struct route *route, struct topic *target, void *context);
/* Calls each(route, target, context) for every topic that a binding emits to: of a ladder its retry topic, then
 * `exhausted`. */
void binding_targets(const struct binding *binding, target_function each, void *context);
/* Likewise for every topic to which a timer emits that an event on the topic begins. */
void timer_targets(const struct topic *topic, target_function each, void *context);
/* Whether a tap names the topic, or has a pattern that matches it when it is declared. */
bool topic_tapped(const struct pipeline *pipeline, const struct topic *topic);

/* check_fields.c: every handler, tap, key, limit and chain gets the fields that it needs, along every route whose
 * source is known. */
void check_fields(const struct check *check);
/* check_flow.c: a cycle has a bound, and what is ordered has a key. */
void check_cycles(const struct check *check);
void check_fan_out(const struct check *check); /* one event does not become a great many */
void check_keys(const struct check *check);
/* check_chains.c: steps, aborts and undos fit together (one file); a retry ladder ends before its chain is forgotten,
 * and before the hold ends that aborts it. */
void check_chains(const struct check *check);
void check_retains(const struct check *check);
void check_holds(const struct check *check);
/* check_timers.c: timers can fire, and not before what they wait for has had its time. */
void check_timers(const struct check *check);

/* check_ways.c */
struct way {
    int64_t total_ms;
    size_t parts;                 /* retry ladders and delays on it */
    const char *text;             /* "310s on the retry ladder on 'pay.again', 2m on the route …"; NULL: no parts */
    const struct binding *ladder; /* whose ladder is on it, the last one; NULL: none */
};
/* The longest way to a step of the chain from that topic on (NULL: from any). Places in other files than that of
 * `place` are named. */
struct way check_longest_way(const struct check *check, const struct chain *chain, const struct topic *from,
                             struct place place);
int64_t ladder_total_ms(const struct ladder *ladder); /* of all its steps */

/* check_names.c: `renamed` and `retired` name what left the file, and what is in it. */
void check_answers(const struct check *check);

#endif
