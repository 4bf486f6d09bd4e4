/*
 * graph.h - the flow as boxes and arrows, for every format alike.
 */
#ifndef SLUICE_PIPELINE_GRAPH_H
#define SLUICE_PIPELINE_GRAPH_H

#include "pipeline/pipeline.h"

enum box_kind { BOX_TOPIC = 1, BOX_RETRY, BOX_HANDLER, BOX_REQUEST, BOX_SCHEDULE, BOX_TAP, BOX_CHAIN };

struct box {
    enum box_kind kind;
    const void *of; /* the topic, binding or chain that it stands for */
    const char *id; /* unique, letters, digits and '_' */
    const char *label;
    bool final;
    int layer, row; /* graph_svg.c */
};

enum arrow_kind { ARROW_FLOW = 1, ARROW_RETRY, ARROW_WATCH, ARROW_UNDO };

struct arrow {
    enum arrow_kind kind;
    size_t from, to;   /* boxes */
    const char *label; /* outcome; "" for none */
};

struct graph {
    struct arena *arena;
    struct box *boxes;
    size_t box_count;
    struct arrow *arrows;
    size_t arrow_count;
};

void graph_svg(const struct pipeline *pipeline, struct graph *graph, struct buffer *out); /* graph_svg.c */
void graph_json(const struct pipeline *pipeline, struct buffer *out);                     /* graph_json.c */

#endif
