/*
 * graph.h - the flow as boxes and arrows, for every format alike; of several files that work together, too.
 *
 * Each file is a cluster. A topic that several files name is one box. It stands in the cluster of the first file that
 * emits to it; of one that nothing emits to, in that of the first file that names it.
 */
#ifndef SLUICE_PIPELINE_GRAPH_H
#define SLUICE_PIPELINE_GRAPH_H

#include "pipeline/pipeline.h"

enum box_kind { BOX_TOPIC = 1, BOX_RETRY, BOX_HANDLER, BOX_REQUEST, BOX_SCHEDULE, BOX_TAP, BOX_CHAIN, BOX_TABLE };

struct box {
    enum box_kind kind;
    const void *of; /* the topic (of the first file that names it), binding, chain or pipeline that it stands for */
    const char *id; /* unique, letters, digits and '_' */
    const char *label;
    size_t cluster; /* index of the pipeline */
    size_t beside;  /* BOX_RETRY: the box of the topic whose ladder it is; else itself */
    int layer, row; /* graph_layout.c; rows are those of the cluster */
};

enum arrow_kind { ARROW_FLOW = 1, ARROW_RETRY, ARROW_TIMER, ARROW_WATCH, ARROW_UNDO };

struct arrow {
    enum arrow_kind kind;
    size_t from, to;   /* boxes */
    size_t cluster;    /* the file that says so */
    const char *label; /* outcomes; "" for none */
};

struct graph {
    struct arena *arena;
    const struct pipeline *const *pipelines;
    size_t count; /* of the pipelines */
    struct box *boxes;
    size_t box_count;
    struct arrow *arrows;
    size_t arrow_count;
};

/* Of good files: every name in them is resolved. Dead letter topics are not in it. */
void graph_build(const struct pipeline *const *pipelines, size_t count, struct arena *arena, struct graph *ret);
/* Whether boxes of that kind only look on: a drawing without lines to them says in words what they see. */
static inline bool box_looks_on(const struct box *box)
{
    return box->kind == BOX_TAP || box->kind == BOX_TABLE;
}
/* The box of that topic; SIZE_MAX: it has none, as those of dead letters. */
size_t graph_topic(const struct graph *graph, const char *name);
/* Whether it is a topic that several files name. */
bool graph_is_shared(const struct graph *graph, size_t box);
/* Whether something of that file emits to the box; whether something of it reads from there. */
bool graph_emits(const struct graph *graph, size_t box, size_t cluster);
bool graph_reads(const struct graph *graph, size_t box, size_t cluster);

void graph_text(const struct graph *graph, struct buffer *out); /* graph_text.c */
void graph_svg(struct graph *graph, struct buffer *out);        /* graph_svg.c */
void graph_json(const struct graph *graph, struct buffer *out); /* graph_json.c */

#endif
