/*
 * graph_svg.c - the flow as a drawing of its own: layers from left to right, curves between boxes, no program needed.
 *
 * A box's layer is the longest way to it from where events come in (arrows that go back are drawn, not counted); within a layer boxes
 * are sorted by the mean row of what leads to them, a few sweeps, so that few lines cross.
 */
#include "pipeline/graph.h"

#include <stdlib.h>

enum { LAYERS_MAX = 64, SWEEPS = 8, BOX_HEIGHT = 34, ROW_GAP = 26, LAYER_GAP = 104, MARGIN = 28, TAP_HEIGHT = 24, GLYPH = 7 };

struct layout {
    struct graph *graph;
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
            if (arrow->kind == ARROW_RETRY || to->kind == BOX_RETRY || (arrow->kind == ARROW_UNDO && to->layer > 0) || from->kind == BOX_RETRY)
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

static double mean_row(const struct graph *graph, size_t box)
{
    double sum = 0;
    int count = 0;
    for (size_t i = 0; i < graph->arrow_count; i++) {
        if (graph->arrows[i].to == box)
            sum += graph->boxes[graph->arrows[i].from].row, count++;
        if (graph->arrows[i].from == box)
            sum += graph->boxes[graph->arrows[i].to].row, count++;
    }
    return count == 0 ? graph->boxes[box].row : sum / count;
}

struct placed {
    double mean;
    size_t box;
};

static int by_mean(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    return a->mean != b->mean ? (a->mean < b->mean ? -1 : 1) : a->box < b->box ? -1 : 1;
}

static void assign_rows(struct layout *layout)
{
    struct graph *graph = layout->graph;
    struct placed *placed = arena_array(graph->arena, struct placed, graph->box_count + 1);
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int layer = 0; layer < layout->layers; layer++) {
            size_t count = 0;
            for (size_t i = 0; i < graph->box_count; i++)
                if (graph->boxes[i].layer == layer && graph->boxes[i].kind != BOX_TAP)
                    placed[count++] = (struct placed){sweep == 0 ? (double)i : mean_row(graph, i), i};
            qsort(placed, count, sizeof *placed, by_mean);
            int shift = (layout->most_rows - (int)count) / 2;
            for (size_t i = 0; i < count; i++)
                graph->boxes[placed[i].box].row = (int)i + (shift > 0 ? shift : 0);
        }
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
        layout->rows[box->layer]++;
        layout->most_rows = layout->rows[box->layer] > layout->most_rows ? layout->rows[box->layer] : layout->most_rows;
    }
    for (int layer = 0, x = MARGIN; layer < layout->layers; layer++) {
        layout->left[layer] = x;
        x += layout->width[layer] + LAYER_GAP;
    }
}

static int box_y(const struct box *box)
{
    return MARGIN + 40 + box->row * (BOX_HEIGHT + ROW_GAP);
}

static void escaped(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<': buffer_text(out, "&lt;"); break;
        case '>': buffer_text(out, "&gt;"); break;
        case '&': buffer_text(out, "&amp;"); break;
        default: buffer_byte(out, *text);
        }
}

static void draw_arrow(const struct layout *layout, const struct arrow *arrow, struct buffer *out)
{
    static const char *const classes[] = {"", "flow", "retry", "watch", "undo"};
    const struct box *from = &layout->graph->boxes[arrow->from], *to = &layout->graph->boxes[arrow->to];
    bool back = to->layer <= from->layer;
    if (to->kind == BOX_TAP)
        return; /* a tap watches half of everything: it is drawn below, with what it watches in words */
    int x1 = layout->left[from->layer] + (back ? 0 : layout->width[from->layer]), y1 = box_y(from) + BOX_HEIGHT / 2;
    int x2 = layout->left[to->layer] + (back ? layout->width[to->layer] : 0), y2 = box_y(to) + BOX_HEIGHT / 2;
    int bend = back ? -60 : (x2 - x1) / 2;
    int sag = back && y1 == y2 ? 46 : 0; /* a way back along the same row passes below it */
    if (back && to->layer == from->layer) {
        x2 = layout->left[to->layer];
        bend = -70;
    }
    buffer_format(out, "<path class=\"%s\" marker-end=\"url(#%s)\" d=\"M%d %d C%d %d %d %d %d %d\"/>\n", classes[arrow->kind], classes[arrow->kind], x1, y1,
                  x1 + bend, y1 + sag, back && to->layer != from->layer ? x2 + 60 : back ? x2 + bend : x2 - bend, y2 + sag, x2, y2);
    if (arrow->label[0] == '\0')
        return;
    buffer_format(out, "<text class=\"label\" x=\"%d\" y=\"%d\">", (x1 + x2) / 2, (y1 + y2) / 2 + (sag > 0 ? sag * 3 / 4 + 12 : -5));
    escaped(out, arrow->label);
    buffer_text(out, "</text>\n");
}

static void draw_box(const struct layout *layout, const struct box *box, struct buffer *out)
{
    static const char *const classes[] = {"", "topic", "topic again", "handler", "request", "schedule", "tap", "chain"};
    int width = layout->width[box->layer];
    buffer_format(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\"/><text class=\"name\" x=\"%d\" y=\"%d\">", classes[box->kind],
                  layout->left[box->layer], box_y(box), width, BOX_HEIGHT, box->kind == BOX_HANDLER ? 3 : 16, layout->left[box->layer] + width / 2,
                  box_y(box) + BOX_HEIGHT / 2 + 4);
    escaped(out, box->label);
    buffer_text(out, "</text>\n");
}

static const char style[] =
    "<style>text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#1c2733}.name{text-anchor:middle}.title{font-size:17px;font-weight:600}"
    ".label{font-size:11px;fill:#5b6b7b;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:3px}rect{stroke:#8aa0b4;fill:#fff}.topic{fill:#e8f1fb;stroke:#5b8fc7}.again{stroke-dasharray:5 3}"
    ".handler{fill:#fff7e0;stroke:#c9a227}.request,.schedule{fill:#e9f7ec;stroke:#4f9d69}.tap{fill:#f2eefb;stroke:#8a72c2}"
    ".chain{fill:#fdebea;stroke:#c2554d}path{fill:none;stroke:#5b6b7b;stroke-width:1.5}.retry{stroke:#c9a227;stroke-dasharray:6 4}"
    ".watch{stroke:#a99ad0;stroke-dasharray:2 4}.undo{stroke:#c2554d}</style>\n";

void graph_svg(const struct pipeline *pipeline, struct graph *graph, struct buffer *out)
{
    static const char *const kinds[][2] = {{"flow", "#5b6b7b"}, {"retry", "#c9a227"}, {"watch", "#a99ad0"}, {"undo", "#c2554d"}};
    struct layout layout = {.graph = graph};
    assign_layers(graph);
    measure(&layout);
    assign_rows(&layout);
    int last = layout.layers > 0 ? layout.layers - 1 : 0;
    int width = layout.left[last] + layout.width[last] + MARGIN, height = 2 * MARGIN + 40 + layout.most_rows * (BOX_HEIGHT + ROW_GAP) + (int)pipeline->tap_count * TAP_HEIGHT;
    buffer_format(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s<defs>", width, height, width, height, style);
    for (size_t i = 0; i < 4; i++)
        buffer_format(out, "<marker id=\"%s\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">"
                           "<path d=\"M0 0 L8 4 L0 8 z\" style=\"fill:%s;stroke:none\"/></marker>", kinds[i][0], kinds[i][1]);
    buffer_format(out, "</defs>\n<rect x=\"0\" y=\"0\" width=\"%d\" height=\"%d\" style=\"fill:#fff;stroke:none\"/>\n<text class=\"title\" x=\"%d\" y=\"%d\">", width,
                  height, MARGIN, MARGIN + 8);
    escaped(out, pipeline->name);
    buffer_text(out, "</text>\n");
    for (size_t i = 0; i < graph->arrow_count; i++)
        draw_arrow(&layout, &graph->arrows[i], out);
    for (size_t i = 0; i < graph->box_count; i++)
        if (graph->boxes[i].kind != BOX_TAP)
            draw_box(&layout, &graph->boxes[i], out);
    for (size_t t = 0; t < pipeline->tap_count; t++) {
        int y = height - MARGIN - (int)(pipeline->tap_count - t) * TAP_HEIGHT + 14;
        buffer_format(out, "<rect class=\"tap\" x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" rx=\"3\"/><text x=\"%d\" y=\"%d\">tap ", MARGIN, y - 12, MARGIN + 22, y);
        escaped(out, pipeline->taps[t].name);
        buffer_text(out, ": ");
        escaped(out, pipeline->taps[t].use->handler_name);
        buffer_text(out, " watches");
        for (size_t i = 0; i < pipeline->taps[t].topic_count; i++) {
            buffer_byte(out, ' ');
            escaped(out, pipeline->taps[t].topics[i]);
        }
        buffer_text(out, "</text>\n");
    }
    buffer_text(out, "</svg>\n");
}
