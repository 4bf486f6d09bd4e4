/*
 * graph_svg.c - the flow as a drawing of its own: layers from left to right, curves between boxes, no program needed.
 *
 * A box's layer is the longest way to it from where events come in (arrows that go back are drawn, not counted). An
 * arrow that skips layers holds a place in each, so that it passes between boxes and not behind them. Within a layer
 * all are sorted by the mean row of what they are joined to, a few sweeps, so that few lines cross.
 */
#include "pipeline/graph.h"

#include <stdlib.h>

enum {
    LAYERS_MAX = 64,
    SWEEPS = 8,
    BOX_HEIGHT = 34,
    ROW_GAP = 26,
    LAYER_GAP = 104,
    MARGIN = 28,
    TAP_HEIGHT = 24,
    GLYPH = 7,
    BACK_BELOW = 9
};

/* What stands in a layer: a box, or the place that an arrow passes through. */
struct slot {
    int layer, row;
    size_t box; /* SIZE_MAX: an arrow's */
};

struct layout {
    struct graph *graph;
    struct slot *slots; /* the boxes' first, in their order */
    size_t slot_count;
    size_t (*ways)[LAYERS_MAX]; /* by arrow: its slots, from box to box; only those that go forward */
    int *way_lengths;
    int width[LAYERS_MAX], left[LAYERS_MAX], rows[LAYERS_MAX], layers, most_rows;
};

static void assign_layers(struct graph *graph)
{
    bool moved = true;
    for (int round = 0; moved && round < LAYERS_MAX; round++) {
        moved = false;
        for (size_t i = 0; i < graph->arrow_count; i++) {
            const struct arrow *arrow = &graph->arrows[i];
            struct box *from = &graph->boxes[arrow->from], *to = &graph->boxes[arrow->to];
            /* A retry topic stands beside its handler's topic, not behind it; undos lead back. */
            if (arrow->kind == ARROW_RETRY || to->kind == BOX_RETRY || (arrow->kind == ARROW_UNDO && to->layer > 0) ||
                from->kind == BOX_RETRY)
                continue;
            if (to->layer < from->layer + 1 && from->layer + 1 < LAYERS_MAX) {
                to->layer = from->layer + 1;
                moved = true;
            }
        }
    }
    for (size_t i = 0; i < graph->arrow_count; i++) /* beside the handler that emits to it */
        if (graph->arrows[i].kind == ARROW_RETRY && graph->boxes[graph->arrows[i].from].layer > 0)
            graph->boxes[graph->arrows[i].to].layer = graph->boxes[graph->arrows[i].from].layer - 1;
}

static void lay_ways(struct layout *layout)
{
    struct graph *graph = layout->graph;
    size_t most = graph->box_count + 1;
    for (size_t i = 0; i < graph->arrow_count; i++)
        most += LAYERS_MAX;
    layout->slots = arena_array(graph->arena, struct slot, most);
    layout->ways = arena_alloc(graph->arena, (graph->arrow_count + 1) * sizeof *layout->ways);
    layout->way_lengths = arena_array(graph->arena, int, graph->arrow_count + 1);
    for (size_t i = 0; i < graph->box_count; i++)
        layout->slots[layout->slot_count++] = (struct slot){.layer = graph->boxes[i].layer, .box = i};
    for (size_t i = 0; i < graph->arrow_count; i++) {
        const struct arrow *arrow = &graph->arrows[i];
        int from = graph->boxes[arrow->from].layer, to = graph->boxes[arrow->to].layer;
        if (graph->boxes[arrow->to].kind == BOX_TAP || to <= from)
            continue;
        layout->ways[i][layout->way_lengths[i]++] = arrow->from;
        for (int layer = from + 1; layer < to; layer++) {
            layout->ways[i][layout->way_lengths[i]++] = layout->slot_count;
            layout->slots[layout->slot_count++] = (struct slot){.layer = layer, .box = SIZE_MAX};
        }
        layout->ways[i][layout->way_lengths[i]++] = arrow->to;
    }
}

/* The mean row of what each slot is joined to; its own row when that is nothing. */
static void mean_rows(const struct layout *layout, double *ret)
{
    const struct graph *graph = layout->graph;
    int *counts = arena_array(graph->arena, int, layout->slot_count + 1);
    memset(ret, 0, layout->slot_count * sizeof *ret);
    for (size_t i = 0; i < graph->arrow_count; i++)
        for (int w = 1; w < layout->way_lengths[i]; w++) {
            size_t from = layout->ways[i][w - 1], to = layout->ways[i][w];
            ret[to] += layout->slots[from].row;
            ret[from] += layout->slots[to].row;
            counts[from]++;
            counts[to]++;
        }
    for (size_t i = 0; i < layout->slot_count; i++)
        ret[i] = counts[i] == 0 ? layout->slots[i].row : ret[i] / counts[i];
}

struct placed {
    double mean;
    size_t slot;
};

static int by_mean(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    return a->mean != b->mean ? (a->mean < b->mean ? -1 : 1) : a->slot < b->slot ? -1 : 1;
}

static bool is_drawn(const struct layout *layout, const struct slot *slot)
{
    return slot->box == SIZE_MAX || layout->graph->boxes[slot->box].kind != BOX_TAP;
}

static size_t layer_slots(const struct layout *layout, int layer, const double *means, struct placed *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < layout->slot_count; i++)
        if (layout->slots[i].layer == layer && is_drawn(layout, &layout->slots[i]))
            ret[count++] = (struct placed){means != NULL ? means[i] : (double)i, i};
    qsort(ret, count, sizeof *ret, by_mean);
    return count;
}

/* Keeps the order of a layer, and moves its slots down to the rows that they come from, so that ways run straight. */
static void settle_rows(struct layout *layout, struct placed *placed)
{
    const struct graph *graph = layout->graph;
    double *sums = arena_array(graph->arena, double, layout->slot_count + 1);
    int *counts = arena_array(graph->arena, int, layout->slot_count + 1);
    for (int layer = 0; layer < layout->layers; layer++) {
        for (size_t i = 0; i < layout->slot_count; i++)
            sums[i] = layout->slots[i].layer == layer ? layout->slots[i].row : 0;
        size_t count = layer_slots(layout, layer, sums, placed);
        memset(sums, 0, layout->slot_count * sizeof *sums);
        memset(counts, 0, layout->slot_count * sizeof *counts);
        for (size_t i = 0; i < graph->arrow_count; i++)
            for (int w = 1; w < layout->way_lengths[i]; w++) {
                sums[layout->ways[i][w]] += layout->slots[layout->ways[i][w - 1]].row;
                counts[layout->ways[i][w]]++;
            }
        for (size_t i = 0, next = 0; i < count; i++, next++) {
            size_t slot = placed[i].slot;
            size_t wanted = counts[slot] == 0 ? next : (size_t)(sums[slot] / counts[slot] + 0.5);
            next = wanted > next ? wanted : next;
            layout->slots[slot].row = (int)next;
            layout->most_rows = (int)next + 1 > layout->most_rows ? (int)next + 1 : layout->most_rows;
        }
    }
}

static void assign_rows(struct layout *layout)
{
    struct graph *graph = layout->graph;
    struct placed *placed = arena_array(graph->arena, struct placed, layout->slot_count + 1);
    double *means = arena_array(graph->arena, double, layout->slot_count + 1);
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int layer = 0; layer < layout->layers; layer++) {
            mean_rows(layout, means);
            size_t count = layer_slots(layout, layer, sweep == 0 ? NULL : means, placed);
            int shift = (layout->most_rows - (int)count) / 2;
            for (size_t i = 0; i < count; i++)
                layout->slots[placed[i].slot].row = (int)i + (shift > 0 ? shift : 0);
        }
    layout->most_rows = 0;
    settle_rows(layout, placed);
    for (size_t i = 0; i < graph->box_count; i++)
        graph->boxes[i].row = layout->slots[i].row;
}

static void measure(struct layout *layout)
{
    struct graph *graph = layout->graph;
    for (size_t i = 0; i < graph->box_count; i++) {
        const struct box *box = &graph->boxes[i];
        if (box->kind == BOX_TAP)
            continue;
        int width = (int)strlen(box->label) * GLYPH + 28;
        layout->width[box->layer] = width > layout->width[box->layer] ? width : layout->width[box->layer];
        layout->layers = box->layer + 1 > layout->layers ? box->layer + 1 : layout->layers;
    }
    for (size_t i = 0; i < layout->slot_count; i++) {
        const struct slot *slot = &layout->slots[i];
        if (is_drawn(layout, slot) && ++layout->rows[slot->layer] > layout->most_rows)
            layout->most_rows = layout->rows[slot->layer];
    }
    for (int layer = 0, x = MARGIN; layer < layout->layers; layer++) {
        layout->left[layer] = x;
        x += layout->width[layer] + LAYER_GAP;
    }
}

static int row_y(int row)
{
    return MARGIN + 40 + row * (BOX_HEIGHT + ROW_GAP);
}

static int box_y(const struct box *box)
{
    return row_y(box->row);
}

static void escaped(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<':
            buffer_text(out, "&lt;");
            break;
        case '>':
            buffer_text(out, "&gt;");
            break;
        case '&':
            buffer_text(out, "&amp;");
            break;
        default:
            buffer_byte(out, *text);
        }
}

static const char *const arrow_classes[] = {"", "flow", "retry", "watch", "undo"};

static void draw_label(const char *label, int x, int y, struct buffer *out)
{
    if (label[0] == '\0')
        return;
    buffer_format(out, "<text class=\"label\" x=\"%d\" y=\"%d\">", x, y);
    escaped(out, label);
    buffer_text(out, "</text>\n");
}

/* From box to box through the places that it holds in between: curves across the gaps, straight along the layers. */
static void draw_forward(const struct layout *layout, size_t number, struct buffer *out)
{
    const struct arrow *arrow = &layout->graph->arrows[number];
    const size_t *way = layout->ways[number];
    const char *class = arrow_classes[arrow->kind];
    int label_x = 0, label_y = 0;
    buffer_format(out, "<path class=\"%s\" marker-end=\"url(#%s)\" d=\"", class, class);
    for (int w = 1; w < layout->way_lengths[number]; w++) {
        const struct slot *from = &layout->slots[way[w - 1]], *to = &layout->slots[way[w]];
        int x1 = layout->left[from->layer] + layout->width[from->layer], x2 = layout->left[to->layer],
            bend = (x2 - x1) / 2;
        int y1 = row_y(from->row) + BOX_HEIGHT / 2, y2 = row_y(to->row) + BOX_HEIGHT / 2;
        buffer_format(out, w == 1 ? "M%d %d " : "L%d %d ", x1, y1);
        buffer_format(out, "C%d %d %d %d %d %d ", x1 + bend, y1, x2 - bend, y2, x2, y2);
        if (w == layout->way_lengths[number] - 1) { /* at its end, where the way is its own */
            label_x = (x1 + x2) / 2;
            label_y = (y1 + y2) / 2 - 5;
        }
    }
    buffer_text(out, "\"/>\n");
    draw_label(arrow->label, label_x, label_y, out);
}

/* A way back leaves its box at the left; along one row it passes below, within one layer it bends around. */
static void draw_back(const struct layout *layout, const struct arrow *arrow, struct buffer *out)
{
    const struct box *from = &layout->graph->boxes[arrow->from], *to = &layout->graph->boxes[arrow->to];
    const char *class = arrow_classes[arrow->kind];
    bool same = from->layer == to->layer;
    int x1 = layout->left[from->layer], y1 = box_y(from) + BOX_HEIGHT / 2 + BACK_BELOW;
    int x2 = layout->left[to->layer] + (same ? 0 : layout->width[to->layer]),
        y2 = box_y(to) + BOX_HEIGHT / 2 + BACK_BELOW;
    int sag = y1 == y2 ? 46 : 0;
    buffer_format(out, "<path class=\"%s\" marker-end=\"url(#%s)\" d=\"M%d %d C%d %d %d %d %d %d\"/>\n", class, class,
                  x1, y1, x1 - 60, y1 + sag, same ? x2 - 70 : x2 + 60, y2 + sag, x2, y2);
    draw_label(arrow->label, (x1 + x2) / 2, (y1 + y2) / 2 + (sag > 0 ? sag * 3 / 4 + 6 : 16), out);
}

static void draw_box(const struct layout *layout, const struct box *box, struct buffer *out)
{
    static const char *const classes[] = {"", "topic", "topic again", "handler", "request", "schedule", "tap", "chain"};
    int width = layout->width[box->layer];
    buffer_format(out,
                  "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\"/><text class=\"name\" "
                  "x=\"%d\" y=\"%d\">",
                  classes[box->kind], layout->left[box->layer], box_y(box), width, BOX_HEIGHT,
                  box->kind == BOX_HANDLER ? 3 : 16, layout->left[box->layer] + width / 2,
                  box_y(box) + BOX_HEIGHT / 2 + 4);
    escaped(out, box->label);
    buffer_text(out, "</text>\n");
}

static const char style[] =
    "<style>text{font:13px "
    "ui-sans-serif,system-ui,sans-serif;fill:#1c2733}.name{text-anchor:middle}.title{font-size:17px;font-weight:600}"
    ".label{font-size:11px;fill:#5b6b7b;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:3px}rect{stroke:"
    "#8aa0b4;fill:#fff}.topic{fill:#e8f1fb;stroke:#5b8fc7}.again{stroke-dasharray:5 3}"
    ".handler{fill:#fff7e0;stroke:#c9a227}.request,.schedule{fill:#e9f7ec;stroke:#4f9d69}.tap{fill:#f2eefb;stroke:#"
    "8a72c2}"
    ".chain{fill:#fdebea;stroke:#c2554d}path{fill:none;stroke:#5b6b7b;stroke-width:1.5}.retry{stroke:#c9a227;stroke-"
    "dasharray:6 4}"
    ".watch{stroke:#a99ad0;stroke-dasharray:2 4}.undo{stroke:#c2554d}</style>\n";

void graph_svg(const struct pipeline *pipeline, struct graph *graph, struct buffer *out)
{
    static const char *const kinds[][2] = {
        {"flow", "#5b6b7b"}, {"retry", "#c9a227"}, {"watch", "#a99ad0"}, {"undo", "#c2554d"}};
    struct layout layout = {.graph = graph};
    assign_layers(graph);
    lay_ways(&layout);
    measure(&layout);
    assign_rows(&layout);
    int last = layout.layers > 0 ? layout.layers - 1 : 0;
    int width = layout.left[last] + layout.width[last] + MARGIN,
        height = 2 * MARGIN + 40 + layout.most_rows * (BOX_HEIGHT + ROW_GAP) + (int)pipeline->tap_count * TAP_HEIGHT;
    buffer_format(
        out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s<defs>",
        width, height, width, height, style);
    for (size_t i = 0; i < 4; i++)
        buffer_format(out,
                      "<marker id=\"%s\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" "
                      "markerHeight=\"7\" orient=\"auto\">"
                      "<path d=\"M0 0 L8 4 L0 8 z\" style=\"fill:%s;stroke:none\"/></marker>",
                      kinds[i][0], kinds[i][1]);
    buffer_format(out,
                  "</defs>\n<rect x=\"0\" y=\"0\" width=\"%d\" height=\"%d\" style=\"fill:#fff;stroke:none\"/>\n<text "
                  "class=\"title\" x=\"%d\" y=\"%d\">",
                  width, height, MARGIN, MARGIN + 8);
    escaped(out, pipeline->name);
    buffer_text(out, "</text>\n");
    for (size_t i = 0; i < graph->arrow_count; i++)
        if (layout.way_lengths[i] > 0)
            draw_forward(&layout, i, out);
        else if (graph->boxes[graph->arrows[i].to].kind !=
                 BOX_TAP) /* a tap watches half of everything: it is drawn below, in words */
            draw_back(&layout, &graph->arrows[i], out);
    for (size_t i = 0; i < graph->box_count; i++)
        if (graph->boxes[i].kind != BOX_TAP)
            draw_box(&layout, &graph->boxes[i], out);
    for (size_t t = 0; t < pipeline->tap_count; t++) {
        int y = height - MARGIN - (int)(pipeline->tap_count - t) * TAP_HEIGHT + 14;
        buffer_format(
            out,
            "<rect class=\"tap\" x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" rx=\"3\"/><text x=\"%d\" y=\"%d\">tap ",
            MARGIN, y - 12, MARGIN + 22, y);
        escaped(out, pipeline->taps[t].name);
        buffer_text(out, ": ");
        escaped(out, pipeline->taps[t].binding->handler_name);
        buffer_text(out, " watches");
        for (size_t i = 0; i < pipeline->taps[t].topic_count; i++) {
            buffer_byte(out, ' ');
            escaped(out, pipeline->taps[t].topics[i]);
        }
        buffer_text(out, "</text>\n");
    }
    buffer_text(out, "</svg>\n");
}
