/*
 * graph_write.c - a graph in the format that is asked for; mermaid and dot.
 */
#include "pipeline/graph.h"

/* A step's name is free text. */
static void quoted(struct buffer *out, const char *text, const char *quote)
{
    buffer_byte(out, '"');
    for (; *text != '\0'; text++)
        if (*text == '"')
            buffer_text(out, quote);
        else
            buffer_byte(out, (unsigned char)*text < ' ' || *text == '\\' ? ' ' : *text);
    buffer_byte(out, '"');
}

static void mermaid_boxes(const struct graph *graph, size_t cluster, struct buffer *out)
{
    static const char *const shapes[][2] = {{"[", "]"},   {"([", "])"}, {"([", "])"}, {"[", "]"},  {">", "]"},
                                            {"{{", "}}"}, {"[/", "/]"}, {"[[", "]]"}, {"[(", ")]"}};
    for (size_t i = 0; i < graph->box_count; i++) {
        const struct box *box = &graph->boxes[i];
        if (box->cluster != cluster)
            continue;
        buffer_format(out, "  %s%s", box->id, shapes[box->kind][0]);
        quoted(out, box->label, "#quot;");
        buffer_format(out, "%s\n", shapes[box->kind][1]);
    }
}

static void graph_mermaid(const struct graph *graph, struct buffer *out)
{
    static const char *const lines[] = {"", "-->", "-.->", "-.->", "-.->", "==>"};
    buffer_text(out, "flowchart LR\n");
    for (size_t c = 0; c < graph->count; c++) {
        if (graph->count > 1) {
            buffer_format(out, "  subgraph cluster_%zu [", c);
            quoted(out, graph->pipelines[c]->name, "#quot;");
            buffer_text(out, "]\n");
        }
        mermaid_boxes(graph, c, out);
        if (graph->count > 1)
            buffer_text(out, "  end\n");
    }
    for (size_t i = 0; i < graph->arrow_count; i++) {
        const struct arrow *arrow = &graph->arrows[i];
        buffer_format(out, "  %s %s", graph->boxes[arrow->from].id, lines[arrow->kind]);
        if (arrow->label[0] != '\0') {
            buffer_byte(out, '|');
            quoted(out, arrow->label, "#quot;");
            buffer_byte(out, '|');
        }
        buffer_format(out, " %s\n", graph->boxes[arrow->to].id);
    }
}

static void dot_boxes(const struct graph *graph, size_t cluster, struct buffer *out)
{
    static const char *const shapes[] = {"",
                                         "box, style=rounded",
                                         "box, style=\"rounded,dashed\"",
                                         "component",
                                         "rarrow",
                                         "hexagon",
                                         "parallelogram",
                                         "octagon",
                                         "cylinder"};
    for (size_t i = 0; i < graph->box_count; i++) {
        const struct box *box = &graph->boxes[i];
        if (box->cluster != cluster)
            continue;
        buffer_format(out, "  %s [label=", box->id);
        quoted(out, box->label, "\\\"");
        buffer_format(out, ", shape=%s];\n", shapes[box->kind]);
    }
}

static void graph_dot(const struct graph *graph, struct buffer *out)
{
    static const char *const lines[] = {"", "solid", "dashed", "dashed", "dotted", "bold"};
    buffer_text(out, "digraph ");
    quoted(out, graph->count == 1 ? graph->pipelines[0]->name : "pipelines", "\\\"");
    buffer_text(out, " {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", "
                     "fontsize=10];\n");
    for (size_t c = 0; c < graph->count; c++) {
        if (graph->count > 1) {
            buffer_format(out, "  subgraph cluster_%zu {\n  fontname=\"sans-serif\";\n  label=", c);
            quoted(out, graph->pipelines[c]->name, "\\\"");
            buffer_text(out, ";\n");
        }
        dot_boxes(graph, c, out);
        if (graph->count > 1)
            buffer_text(out, "  }\n");
    }
    for (size_t i = 0; i < graph->arrow_count; i++) {
        const struct arrow *arrow = &graph->arrows[i];
        buffer_format(out, "  %s -> %s [label=", graph->boxes[arrow->from].id, graph->boxes[arrow->to].id);
        quoted(out, arrow->label, "\\\"");
        buffer_format(out, ", style=%s];\n", lines[arrow->kind]);
    }
    buffer_text(out, "}\n");
}

void pipelines_graph(const struct pipeline *const *pipelines, size_t count, enum graph_format format,
                     struct buffer *out)
{
    struct arena *arena = arena_create(256 * 1024, 256 * 1024 * 1024);
    struct graph graph;
    graph_build(pipelines, count, arena, &graph);
    switch (format) {
    case GRAPH_TEXT:
        graph_text(&graph, out);
        break;
    case GRAPH_MERMAID:
        graph_mermaid(&graph, out);
        break;
    case GRAPH_DOT:
        graph_dot(&graph, out);
        break;
    case GRAPH_SVG:
        graph_svg(&graph, out);
        break;
    case GRAPH_JSON:
        graph_json(&graph, out);
        break;
    }
    arena_destroy(arena);
}
