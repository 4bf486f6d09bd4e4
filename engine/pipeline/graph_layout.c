/*
 * graph_layout.c - see graph_layout.h.
 *
 * A box's layer is the longest way to it from where events come in; arrows that close a circle are not counted. A
 * retry topic stands in the layer of the topic whose retries it has. An arrow that skips layers holds a place in each,
 * so that it passes between boxes and not behind them. Within a layer all are sorted by their cluster, and then by the
 * mean row of what they are joined to, a few sweeps, so that few lines cross: clusters lie one below the other.
 */
#include "pipeline/graph_layout.h"

#include <stdlib.h>

enum { SWEEPS = 8 };

/* --------------------------------------------------------------------------------------------------------- layers */

/* The arrows of each box, to walk along them. */
struct walk {
    const struct graph *graph;
    size_t *first, *arrows; /* of box i: arrows[first[i]] to arrows[first[i + 1] - 1] */
    char *color;            /* by box: 0 not seen, 1 on the way here, 2 done */
    bool *back;             /* by arrow: it closes a circle */
    size_t *stack, *next;   /* the boxes on the way here; by box: the arrow to take next */
};

static size_t layer_from(const struct graph *graph, size_t arrow)
{
    return graph->boxes[graph->arrows[arrow].from].beside;
}

static size_t layer_to(const struct graph *graph, size_t arrow)
{
    return graph->boxes[graph->arrows[arrow].to].beside;
}

static void walk_begin(const struct graph *graph, struct walk *ret)
{
    struct arena *arena = graph->arena;
    *ret = (struct walk){.graph = graph};
    ret->first = arena_array(arena, size_t, graph->box_count + 2);
    ret->arrows = arena_array(arena, size_t, graph->arrow_count + 1);
    ret->color = arena_array(arena, char, graph->box_count + 1);
    ret->back = arena_array(arena, bool, graph->arrow_count + 1);
    ret->stack = arena_array(arena, size_t, graph->box_count + 1);
    ret->next = arena_array(arena, size_t, graph->box_count + 1);
    for (size_t i = 0; i < graph->arrow_count; i++)
        ret->first[layer_from(graph, i) + 2]++;
    for (size_t i = 2; i <= graph->box_count; i++)
        ret->first[i] += ret->first[i - 1];
    for (size_t i = 0; i < graph->arrow_count; i++)
        ret->arrows[ret->first[layer_from(graph, i) + 1]++] = i;
}

/* Goes all ways from that box on, depth first. */
static void walk_from(struct walk *walk, size_t box)
{
    size_t depth = 0;
    walk->stack[depth++] = box;
    walk->color[box] = 1;
    walk->next[box] = walk->first[box];
    while (depth > 0) {
        size_t at = walk->stack[depth - 1];
        if (walk->next[at] == walk->first[at + 1]) {
            walk->color[at] = 2;
            depth--;
            continue;
        }
        size_t arrow = walk->arrows[walk->next[at]++], to = layer_to(walk->graph, arrow);
        walk->back[arrow] = walk->color[to] == 1;
        if (walk->color[to] != 0)
            continue;
        walk->color[to] = 1;
        walk->next[to] = walk->first[to];
        walk->stack[depth++] = to;
    }
}

/* Which arrows close a circle, begun from where nothing leads to. */
static const bool *find_back(const struct graph *graph)
{
    struct walk walk;
    bool *led_to = arena_array(graph->arena, bool, graph->box_count + 1);
    walk_begin(graph, &walk);
    for (size_t i = 0; i < graph->arrow_count; i++)
        led_to[layer_to(graph, i)] = true;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < graph->box_count; i++)
            if (graph->boxes[i].beside == i && walk.color[i] == 0 && (round == 1 || !led_to[i]))
                walk_from(&walk, i);
    return walk.back;
}

static void assign_layers(struct graph *graph)
{
    const bool *back = find_back(graph);
    bool moved = true;
    for (int round = 0; moved && round < LAYERS_MAX; round++) {
        moved = false;
        for (size_t i = 0; i < graph->arrow_count; i++) {
            const struct box *from = &graph->boxes[layer_from(graph, i)];
            struct box *to = &graph->boxes[layer_to(graph, i)];
            if (back[i] || box_looks_on(to) || to->layer > from->layer || from->layer + 1 == LAYERS_MAX)
                continue;
            to->layer = from->layer + 1;
            moved = true;
        }
    }
    for (size_t i = 0; i < graph->box_count; i++)
        graph->boxes[i].layer = graph->boxes[graph->boxes[i].beside].layer;
}

/* ---------------------------------------------------------------------------------------------------------- lines */

static size_t slot_add(struct layout *layout, struct slot slot)
{
    layout->slots = arena_grown(layout->graph->arena, layout->slots, layout->slot_count, sizeof *layout->slots);
    layout->slots[layout->slot_count] = slot;
    return layout->slot_count++;
}

static void lay_line(struct layout *layout, const struct arrow *arrow, struct line *ret)
{
    const struct box *from = &layout->graph->boxes[arrow->from], *to = &layout->graph->boxes[arrow->to];
    int step = to->layer < from->layer ? -1 : 1;
    ret->slots = arena_array(layout->graph->arena, size_t, (size_t)abs(to->layer - from->layer) + 2);
    ret->slots[ret->length++] = arrow->from;
    for (int layer = from->layer + step; from->layer != to->layer && layer != to->layer; layer += step)
        ret->slots[ret->length++] = slot_add(layout,
                                             (struct slot){.layer = layer, .box = SIZE_MAX, .cluster = to->cluster});
    ret->slots[ret->length++] = arrow->to;
}

static void lay_lines(struct layout *layout)
{
    struct graph *graph = layout->graph;
    layout->lines = arena_array(graph->arena, struct line, graph->arrow_count + 1);
    for (size_t i = 0; i < graph->box_count; i++) {
        const struct box *box = &graph->boxes[i];
        slot_add(layout, (struct slot){.layer = box->layer, .box = i, .cluster = box->cluster});
        if (!box_looks_on(box) && box->layer >= layout->layers)
            layout->layers = box->layer + 1;
    }
    for (size_t i = 0; i < graph->arrow_count; i++)
        if (!box_looks_on(&graph->boxes[graph->arrows[i].to]))
            lay_line(layout, &graph->arrows[i], &layout->lines[i]);
}

/* ----------------------------------------------------------------------------------------------------------- rows */

/* By slot: the rows of those that lines join it to, added up, and how many these are. */
struct sums {
    double *rows;
    int *counts;
};

static struct sums sums_create(const struct layout *layout)
{
    return (struct sums){arena_array(layout->graph->arena, double, layout->slot_count + 1),
                         arena_array(layout->graph->arena, int, layout->slot_count + 1)};
}

static void sums_clear(const struct layout *layout, struct sums *sums)
{
    memset(sums->rows, 0, layout->slot_count * sizeof *sums->rows);
    memset(sums->counts, 0, layout->slot_count * sizeof *sums->counts);
}

static int rows_above(const struct layout *layout, size_t cluster)
{
    int rows = 0;
    for (size_t c = 0; c < cluster; c++)
        rows += layout->rows[c];
    return rows;
}

/* The mean row, among those of all clusters, of what each slot is joined to; its own when that is nothing. */
static void mean_rows(const struct layout *layout, struct sums *sums)
{
    const struct graph *graph = layout->graph;
    int *above = arena_array(graph->arena, int, graph->count + 1);
    for (size_t c = 0; c < graph->count; c++)
        above[c] = rows_above(layout, c);
    sums_clear(layout, sums);
    for (size_t i = 0; i < graph->arrow_count; i++)
        for (int w = 1; w < layout->lines[i].length; w++) {
            size_t from = layout->lines[i].slots[w - 1], to = layout->lines[i].slots[w];
            sums->rows[to] += above[layout->slots[from].cluster] + layout->slots[from].row;
            sums->rows[from] += above[layout->slots[to].cluster] + layout->slots[to].row;
            sums->counts[from]++;
            sums->counts[to]++;
        }
    for (size_t i = 0; i < layout->slot_count; i++)
        if (sums->counts[i] > 0)
            sums->rows[i] /= sums->counts[i];
        else
            sums->rows[i] = above[layout->slots[i].cluster] + layout->slots[i].row;
}

struct placed {
    size_t cluster;
    double order;
    size_t slot;
};

static int by_place(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    if (a->cluster != b->cluster)
        return a->cluster < b->cluster ? -1 : 1;
    return a->order != b->order ? (a->order < b->order ? -1 : 1) : a->slot < b->slot ? -1 : 1;
}

/* The slots of a layer, sorted; `order` NULL: as they were made. */
static size_t layer_slots(const struct layout *layout, int layer, const double *order, struct placed *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < layout->slot_count; i++) {
        const struct slot *slot = &layout->slots[i];
        if (slot->layer == layer && (slot->box == SIZE_MAX || !box_looks_on(&layout->graph->boxes[slot->box])))
            ret[count++] = (struct placed){slot->cluster, order != NULL ? order[i] : (double)i, i};
    }
    qsort(ret, count, sizeof *ret, by_place);
    return count;
}

/* How many of them, from `first` on, are of one cluster. */
static int cluster_run(const struct placed *placed, size_t count, size_t first)
{
    size_t end = first;
    while (end < count && placed[end].cluster == placed[first].cluster)
        end++;
    return (int)(end - first);
}

/* Puts the slots of each cluster in a layer into rows, one below the other, in the middle of the cluster's. */
static void number_rows(struct layout *layout, const struct placed *placed, size_t count)
{
    for (size_t i = 0; i < count;) {
        int run = cluster_run(placed, count, i), *rows = &layout->rows[placed[i].cluster];
        if (run > *rows)
            *rows = run;
        for (int row = (*rows - run) / 2; run > 0; run--)
            layout->slots[placed[i++].slot].row = row++;
    }
}

/* Keeps the order of a layer, and moves its slots down to the rows that they come from, so that lines run straight. */
static void settle_layer(struct layout *layout, int layer, struct sums *sums, struct placed *placed)
{
    const struct graph *graph = layout->graph;
    for (size_t i = 0; i < layout->slot_count; i++)
        sums->rows[i] = layout->slots[i].row;
    size_t count = layer_slots(layout, layer, sums->rows, placed);
    sums_clear(layout, sums);
    for (size_t i = 0; i < graph->arrow_count; i++)
        for (int w = 1; w < layout->lines[i].length; w++) {
            const struct slot *a = &layout->slots[layout->lines[i].slots[w - 1]],
                              *b = &layout->slots[layout->lines[i].slots[w]], *left = a->layer < b->layer ? a : b,
                              *right = left == a ? b : a;
            if (left->layer == right->layer || left->cluster != right->cluster)
                continue;
            sums->rows[right - layout->slots] += left->row;
            sums->counts[right - layout->slots]++;
        }
    for (size_t i = 0; i < count;) {
        int run = cluster_run(placed, count, i), *rows = &layout->rows[placed[i].cluster];
        for (int next = 0; run > 0; run--, i++, next++) {
            size_t slot = placed[i].slot;
            int wanted = sums->counts[slot] == 0 ? next : (int)(sums->rows[slot] / sums->counts[slot] + 0.5);
            next = wanted > next ? wanted : next;
            layout->slots[slot].row = next;
            *rows = next + 1 > *rows ? next + 1 : *rows;
        }
    }
}

static void assign_rows(struct layout *layout)
{
    struct graph *graph = layout->graph;
    struct placed *placed = arena_array(graph->arena, struct placed, layout->slot_count + 1);
    struct sums sums = sums_create(layout);
    layout->rows = arena_array(graph->arena, int, graph->count + 1);
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int layer = 0; layer < layout->layers; layer++) {
            mean_rows(layout, &sums);
            size_t count = layer_slots(layout, layer, sweep == 0 ? NULL : sums.rows, placed);
            number_rows(layout, placed, count);
        }
    memset(layout->rows, 0, graph->count * sizeof *layout->rows);
    for (int layer = 0; layer < layout->layers; layer++)
        settle_layer(layout, layer, &sums, placed);
    for (size_t i = 0; i < graph->box_count; i++)
        graph->boxes[i].row = layout->slots[i].row;
}

void graph_lay_out(struct graph *graph, struct layout *ret)
{
    *ret = (struct layout){.graph = graph};
    assign_layers(graph);
    lay_lines(ret);
    assign_rows(ret);
}
