/*
 * graph_svg.c - the flow as a drawing of its own, no program needed: boxes, curves between them, and a frame around
 * each of several files. Light or dark, as who looks at it prefers.
 */
#include "pipeline/graph_layout.h"

#include <stdlib.h>

enum {
    MARGIN = 28,
    FRAME_PAD = 16, /* between a frame and what is in it */
    FRAME_GAP = 30, /* between two frames */
    TITLE_HEIGHT = 40,
    NOTE_HEIGHT = 24, /* a line about who looks on */
    GAP_MIN = 70,     /* between two layers */
    NAME_GLYPH = 8,   /* as wide as a character at most is on average */
    LABEL_GLYPH = 7,
    BACK_BELOW = 9,
    LABEL_HEIGHT = 14,
    PLACES = 7
};

struct area {
    int x, y, width, height;
};

struct drawing {
    struct layout layout;
    struct buffer *out;
    int width, height;
    int *top, *bottom; /* by cluster */
    struct area *labels;
    size_t label_count;
};

/* ------------------------------------------------------------------------------------------------------- measures */

/* Characters, not bytes: a step's name is free text. */
static int text_length(const char *text)
{
    int length = 0;
    for (; *text != '\0'; text++)
        length += ((unsigned char)*text & 0xC0) != 0x80;
    return length;
}

static int label_width(const struct arrow *arrow)
{
    return text_length(arrow->label) * LABEL_GLYPH;
}

static int slot_y(const struct drawing *drawing, const struct slot *slot)
{
    return drawing->top[slot->cluster] + TITLE_HEIGHT + slot->row * (BOX_HEIGHT + ROW_GAP);
}

/* "tap watch: shop.send watches pay*"; NULL: the box has its place in the drawing. */
static const char *note_text(const struct graph *graph, const struct box *box)
{
    const struct pipeline *pipeline = graph->pipelines[box->cluster];
    const struct tap *tap = box->of;
    bool is_tap = box->kind == BOX_TAP;
    if (!box_looks_on(box))
        return NULL;
    const char *text = is_tap ? arena_format(graph->arena, "tap %s: %s watches", box->label, tap->binding->handler_name)
                              : arena_format(graph->arena, "outbox table %s gets", box->label);
    size_t count = is_tap ? tap->topic_count : pipeline->outbox_table.topic_count;
    for (size_t i = 0; i < count; i++)
        text = arena_format(graph->arena, "%s %s", text, is_tap ? tap->topics[i] : pipeline->outbox_table.topics[i]);
    return text;
}

static void fit(struct drawing *drawing, const char *text)
{
    int width = 2 * (MARGIN + FRAME_PAD) + text_length(text) * NAME_GLYPH;
    drawing->width = width > drawing->width ? width : drawing->width;
}

/* A gap between two layers is as wide as the labels in it. */
static void measure_layers(struct drawing *drawing)
{
    struct layout *layout = &drawing->layout;
    const struct graph *graph = layout->graph;
    int gaps[LAYERS_MAX + 1];
    for (int layer = 0; layer <= LAYERS_MAX; layer++)
        gaps[layer] = GAP_MIN;
    for (size_t i = 0; i < graph->box_count; i++) {
        const struct box *box = &graph->boxes[i];
        int width = text_length(box->label) * NAME_GLYPH + 28;
        if (!box_looks_on(box) && width > layout->width[box->layer])
            layout->width[box->layer] = width;
    }
    for (size_t i = 0; i < graph->arrow_count; i++) {
        const struct line *line = &layout->lines[i];
        if (line->length == 0)
            continue;
        int from = layout->slots[line->slots[line->length - 2]].layer, to = graph->boxes[graph->arrows[i].to].layer;
        int gap = from < to ? to : from, width = label_width(&graph->arrows[i]) + 36;
        gaps[gap] = width > gaps[gap] ? width : gaps[gap];
    }
    int x = MARGIN + FRAME_PAD + (gaps[0] > GAP_MIN ? gaps[0] : 0);
    for (int layer = 0; layer < layout->layers; layer++) {
        layout->left[layer] = x;
        x += layout->width[layer] + (layer + 1 < layout->layers ? gaps[layer + 1] : 0);
    }
    drawing->width = x + MARGIN + FRAME_PAD;
}

static void measure(struct drawing *drawing)
{
    const struct graph *graph = drawing->layout.graph;
    measure_layers(drawing);
    drawing->top = arena_array(graph->arena, int, graph->count + 1);
    drawing->bottom = arena_array(graph->arena, int, graph->count + 1);
    int y = MARGIN;
    for (size_t c = 0; c < graph->count; c++) {
        drawing->top[c] = y;
        y += TITLE_HEIGHT + drawing->layout.rows[c] * (BOX_HEIGHT + ROW_GAP);
        for (size_t i = 0; i < graph->box_count; i++)
            if (graph->boxes[i].cluster == c && box_looks_on(&graph->boxes[i])) {
                y += NOTE_HEIGHT;
                fit(drawing, note_text(graph, &graph->boxes[i]));
            }
        fit(drawing, graph->pipelines[c]->name);
        drawing->bottom[c] = y;
        y += FRAME_GAP;
    }
    drawing->height = y - FRAME_GAP + MARGIN;
}

/* --------------------------------------------------------------------------------------------------------- labels */

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

static bool meet(const struct area *a, const struct area *b)
{
    return a->x < b->x + b->width && b->x < a->x + a->width && a->y < b->y + b->height && b->y < a->y + a->height;
}

static bool is_free(const struct drawing *drawing, const struct area *area)
{
    const struct layout *layout = &drawing->layout;
    for (size_t i = 0; i < drawing->label_count; i++)
        if (meet(area, &drawing->labels[i]))
            return false;
    for (size_t i = 0; i < layout->graph->box_count; i++) {
        const struct slot *slot = &layout->slots[i];
        struct area box = {layout->left[slot->layer], slot_y(drawing, slot), layout->width[slot->layer], BOX_HEIGHT};
        if (!box_looks_on(&layout->graph->boxes[i]) && meet(area, &box))
            return false;
    }
    return true;
}

/* A curve of the third degree: from its first point to its last. */
struct curve {
    double x[4], y[4];
};

static double along(const double at[4], double t)
{
    double s = 1 - t;
    return s * s * s * at[0] + 3 * s * s * t * at[1] + 3 * s * t * t * at[2] + t * t * t * at[3];
}

/* In the middle of its arrow's last curve, or as near to it as there is room. */
static void draw_label(struct drawing *drawing, const struct arrow *arrow, const struct curve *curve)
{
    static const double places[PLACES] = {0.5, 0.6, 0.4, 0.7, 0.3, 0.8, 0.2};
    int width = label_width(arrow);
    if (arrow->label[0] == '\0')
        return;
    struct area area = {0}, middle = {0};
    bool found = false;
    for (int i = 0; i < PLACES && !found; i++) {
        int x = (int)along(curve->x, places[i]), y = (int)along(curve->y, places[i]);
        area = (struct area){x - width / 2, y - LABEL_HEIGHT - 1, width, LABEL_HEIGHT};
        middle = i == 0 ? area : middle;
        found = is_free(drawing, &area);
    }
    for (int down = 1; down < PLACES && !found; down++) {
        area = middle;
        area.y += (down % 2 == 0 ? -1 : 1) * (down + 1) / 2 * LABEL_HEIGHT;
        found = is_free(drawing, &area);
    }
    area = found ? area : middle;
    drawing->labels[drawing->label_count++] = area;
    buffer_format(drawing->out, "<text class=\"label\" x=\"%d\" y=\"%d\">", area.x + width / 2, area.y + 11);
    escaped(drawing->out, arrow->label);
    buffer_text(drawing->out, "</text>\n");
}

/* --------------------------------------------------------------------------------------------------------- arrows */

static const char *const arrow_classes[] = {"", "flow", "retry", "timer", "watch", "undo"};

/* From one slot to the next, to the right or to the left; within one layer, or along one row to the left, around. */
static struct curve curve_between(const struct drawing *drawing, const struct slot *from, const struct slot *to)
{
    const struct layout *layout = &drawing->layout;
    bool right = to->layer > from->layer, same = to->layer == from->layer;
    int x1 = layout->left[from->layer] + (right ? layout->width[from->layer] : 0),
        x2 = layout->left[to->layer] + (right || same ? 0 : layout->width[to->layer]);
    int y1 = slot_y(drawing, from) + BOX_HEIGHT / 2 + (right || from->box == SIZE_MAX ? 0 : BACK_BELOW),
        y2 = slot_y(drawing, to) + BOX_HEIGHT / 2 + (right || to->box == SIZE_MAX ? 0 : BACK_BELOW);
    int bend = (x2 - x1) / 2, sag = !right && y1 == y2 && from->box != SIZE_MAX && to->box != SIZE_MAX ? 46 : 0;
    if (same)
        return (struct curve){{x1, x1 - 60, x2 - 70, x2}, {y1, y1 + sag, y2 + sag, y2}};
    return (struct curve){{x1, x1 + bend, x2 - bend, x2}, {y1, y1 + sag, y2 + sag, y2}};
}

/* Through the places that it holds on its way: curves across the gaps, straight along the layers. */
static struct curve draw_line(struct drawing *drawing, size_t number)
{
    const struct layout *layout = &drawing->layout;
    const struct line *line = &layout->lines[number];
    const char *class = arrow_classes[layout->graph->arrows[number].kind];
    struct curve curve = {0};
    buffer_format(drawing->out, "<path class=\"%s\" marker-end=\"url(#%s)\" d=\"", class, class);
    for (int w = 1; w < line->length; w++) {
        curve = curve_between(drawing, &layout->slots[line->slots[w - 1]], &layout->slots[line->slots[w]]);
        const double *x = curve.x, *y = curve.y;
        buffer_format(drawing->out, "%c%d %d C%d %d %d %d %d %d ", w == 1 ? 'M' : 'L', (int)x[0], (int)y[0], (int)x[1],
                      (int)y[1], (int)x[2], (int)y[2], (int)x[3], (int)y[3]);
    }
    buffer_text(drawing->out, "\"/>\n");
    return curve;
}

static void draw_arrows(struct drawing *drawing)
{
    const struct graph *graph = drawing->layout.graph;
    struct curve *last = arena_array(graph->arena, struct curve, graph->arrow_count + 1);
    drawing->labels = arena_array(graph->arena, struct area, graph->arrow_count + 1);
    for (size_t i = 0; i < graph->arrow_count; i++)
        if (drawing->layout.lines[i].length > 0)
            last[i] = draw_line(drawing, i);
    for (size_t i = 0; i < graph->arrow_count; i++) /* no line goes over them */
        if (drawing->layout.lines[i].length > 0)
            draw_label(drawing, &graph->arrows[i], &last[i]);
}

/* ---------------------------------------------------------------------------------------------------------- boxes */

static const char *const box_classes[] = {"",         "topic", "topic again", "handler", "request",
                                          "schedule", "tap",   "chain",       "table"};

static void draw_box(const struct drawing *drawing, size_t number)
{
    const struct layout *layout = &drawing->layout;
    const struct slot *slot = &layout->slots[number];
    const struct box *box = &layout->graph->boxes[number];
    int width = layout->width[slot->layer], y = slot_y(drawing, slot);
    buffer_format(drawing->out,
                  "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\"/><text class=\"name\" "
                  "x=\"%d\" y=\"%d\">",
                  box_classes[box->kind], layout->left[slot->layer], y, width, BOX_HEIGHT,
                  box->kind == BOX_HANDLER ? 3 : 16, layout->left[slot->layer] + width / 2, y + BOX_HEIGHT / 2 + 4);
    escaped(drawing->out, box->label);
    buffer_text(drawing->out, "</text>\n");
}

/* A tap watches half of everything: it is told in words. */
static void draw_notes(const struct drawing *drawing, size_t cluster)
{
    const struct graph *graph = drawing->layout.graph;
    int y = slot_y(drawing, &(struct slot){.cluster = cluster, .row = drawing->layout.rows[cluster]}) + 14;
    for (size_t i = 0; i < graph->box_count; i++) {
        const char *text = graph->boxes[i].cluster == cluster ? note_text(graph, &graph->boxes[i]) : NULL;
        if (text == NULL)
            continue;
        buffer_format(drawing->out,
                      "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" rx=\"3\"/><text x=\"%d\" "
                      "y=\"%d\">",
                      box_classes[graph->boxes[i].kind], MARGIN + FRAME_PAD, y - 12, MARGIN + FRAME_PAD + 22, y);
        escaped(drawing->out, text);
        buffer_text(drawing->out, "</text>\n");
        y += NOTE_HEIGHT;
    }
}

static void draw_frame(const struct drawing *drawing, size_t cluster)
{
    const struct graph *graph = drawing->layout.graph;
    int top = drawing->top[cluster] - 16;
    if (graph->count > 1)
        buffer_format(drawing->out, "<rect class=\"frame\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"10\"/>\n",
                      MARGIN, top, drawing->width - 2 * MARGIN, drawing->bottom[cluster] - top);
    buffer_format(drawing->out, "<text class=\"title\" x=\"%d\" y=\"%d\">", MARGIN + FRAME_PAD,
                  drawing->top[cluster] + 10);
    escaped(drawing->out, graph->pipelines[cluster]->name);
    buffer_text(drawing->out, "</text>\n");
}

/* -------------------------------------------------------------------------------------------------------- colours */

static const char style[] =
    "<style>text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#1c2733}.name{text-anchor:middle}"
    ".title{font-size:17px;font-weight:600}"
    ".label{font-size:11px;fill:#5b6b7b;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".paper{fill:#fff}.frame{fill:none;stroke:#c6d0da}"
    ".topic{fill:#e8f1fb;stroke:#5b8fc7}.again{stroke-dasharray:5 3}.handler{fill:#fff7e0;stroke:#c9a227}"
    ".request,.schedule{fill:#e9f7ec;stroke:#4f9d69}.tap,.table{fill:#f2eefb;stroke:#8a72c2}"
    ".chain{fill:#fdebea;stroke:#c2554d}"
    "path{fill:none;stroke-width:1.5}.flow{stroke:#5b6b7b}.retry{stroke:#c9a227;stroke-dasharray:6 4}"
    ".timer{stroke:#4f9d69;stroke-dasharray:6 4}.watch{stroke:#8a72c2;stroke-dasharray:2 4}.undo{stroke:#c2554d}"
    "marker path{stroke:none}.flow-end{fill:#5b6b7b}.retry-end{fill:#c9a227}.timer-end{fill:#4f9d69}"
    ".watch-end{fill:#8a72c2}.undo-end{fill:#c2554d}"
    "@media (prefers-color-scheme:dark){text{fill:#dde5ee}.label{fill:#a3b1bf;stroke:#14191f}"
    ".paper{fill:#14191f}.frame{stroke:#3a4653}.topic{fill:#1a2b3f}.handler{fill:#362d12}"
    ".request,.schedule{fill:#17301f}.tap,.table{fill:#2a2340}.chain{fill:#3d1f1d}"
    ".flow{stroke:#8fa0b1}.flow-end{fill:#8fa0b1}.watch{stroke:#a08ad6}.watch-end{fill:#a08ad6}"
    ".undo{stroke:#e0736b}.undo-end{fill:#e0736b}}</style>\n";

static void draw_head(const struct drawing *drawing)
{
    int width = drawing->width, height = drawing->height;
    buffer_format(drawing->out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n%s"
                  "<defs>",
                  width, height, width, height, style);
    for (size_t i = 1; i < sizeof arrow_classes / sizeof arrow_classes[0]; i++)
        buffer_format(drawing->out,
                      "<marker id=\"%s\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" "
                      "markerHeight=\"7\" orient=\"auto\"><path class=\"%s-end\" d=\"M0 0 L8 4 L0 8 z\"/></marker>",
                      arrow_classes[i], arrow_classes[i]);
    buffer_format(drawing->out, "</defs>\n<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", width, height);
}

void graph_svg(struct graph *graph, struct buffer *out)
{
    struct drawing drawing = {.out = out};
    graph_lay_out(graph, &drawing.layout);
    measure(&drawing);
    draw_head(&drawing);
    for (size_t c = 0; c < graph->count; c++)
        draw_frame(&drawing, c);
    draw_arrows(&drawing);
    for (size_t i = 0; i < graph->box_count; i++)
        if (!box_looks_on(&graph->boxes[i]))
            draw_box(&drawing, i);
    for (size_t c = 0; c < graph->count; c++)
        draw_notes(&drawing, c);
    buffer_text(out, "</svg>\n");
}
