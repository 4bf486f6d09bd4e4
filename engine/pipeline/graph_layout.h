/*
 * graph_layout.h - where the boxes and arrows of a graph stand in a drawing: layers from left to right, rows from top
 * to bottom. Lengths are in pixels. Everything lives in the graph's arena.
 */
#ifndef SLUICE_PIPELINE_GRAPH_LAYOUT_H
#define SLUICE_PIPELINE_GRAPH_LAYOUT_H

#include "pipeline/graph.h"

enum { LAYERS_MAX = 64, BOX_HEIGHT = 34, ROW_GAP = 26 };

/* What stands in a layer: a box, or the place that an arrow passes through. */
struct slot {
    int layer, row; /* the row is one of its cluster's */
    size_t box;     /* SIZE_MAX: an arrow's */
    size_t cluster;
};

/* An arrow's slots, from where it begins to where it ends: one in each layer between. Two: it begins and ends in
 * neighbouring layers, or in one. None: it is not drawn as a line. */
struct line {
    size_t *slots;
    int length;
};

struct layout {
    struct graph *graph;
    struct slot *slots; /* the boxes' first, in their order */
    size_t slot_count;
    struct line *lines; /* by arrow */
    int layers;
    int width[LAYERS_MAX], left[LAYERS_MAX];
    int *rows; /* by cluster: how many it has */
};

/* Layers, lines and rows; `width` and `left` are the drawing's to fill in. */
void graph_lay_out(struct graph *graph, struct layout *ret);

#endif
