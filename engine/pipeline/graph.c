/*
 * graph.c - the flow as boxes and arrows; text, mermaid and dot.
 *
 * Dead letter topics are left out of the drawing: every topic has one, and they would hide the flow.
 */
#include "pipeline/graph.h"

#include "base/number.h"

#include <ctype.h>

enum { GRAPH_BOXES_MAX = 8192, GRAPH_ARROWS_MAX = 16384 };

static bool id_taken(const struct graph *graph, const char *id)
{
    for (size_t i = 0; i < graph->box_count; i++)
        if (strcmp(graph->boxes[i].id, id) == 0)
            return true;
    return false;
}

/* The box of that thing, made when it is new. */
static size_t box_add(struct graph *graph, enum box_kind kind, const void *of, const char *prefix, const char *label)
{
    for (size_t i = 0; i < graph->box_count; i++)
        if (graph->boxes[i].of == of)
            return i;
    if (graph->box_count == GRAPH_BOXES_MAX)
        return 0;
    char *id = arena_format(graph->arena, "%s_%s", prefix, label);
    for (char *at = id; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at))
            *at = '_';
    const char *unique = id; /* "a.b" and "a-b" would be one */
    for (int number = 2; id_taken(graph, unique); number++)
        unique = arena_format(graph->arena, "%s_%d", id, number);
    graph->boxes[graph->box_count] = (struct box){.kind = kind, .of = of, .id = unique, .label = label};
    return graph->box_count++;
}

static void arrow_add(struct graph *graph, enum arrow_kind kind, size_t from, size_t to, const char *label)
{
    if (graph->arrow_count < GRAPH_ARROWS_MAX)
        graph->arrows[graph->arrow_count++] = (struct arrow){kind, from, to, label};
}

static size_t topic_box(struct graph *graph, const struct topic *topic)
{
    size_t box = box_add(graph, topic->ladder_of != NULL ? BOX_RETRY : BOX_TOPIC, topic, "t", topic->name);
    graph->boxes[box].final = topic->final;
    return box;
}

static void routes(struct graph *graph, const struct binding *binding, size_t from)
{
    char delay[32];
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        for (size_t t = 0; t < route->target_count; t++) {
            const struct route_target *target = &route->targets[t];
            const char *label = route->outcome;
            if (target->delay_ms > 0)
                label = arena_format(graph->arena, "%s, after %s", label, duration_text(target->delay_ms, delay));
            arrow_add(graph, ARROW_FLOW, from, topic_box(graph, target->topic), label);
        }
        if (route->kind != ROUTE_LADDER)
            continue;
        arrow_add(graph, ARROW_RETRY, from, topic_box(graph, route->ladder.topic),
                  arena_format(graph->arena, "%s, %d retries", route->outcome, route->ladder.max_retries));
        arrow_add(graph, ARROW_FLOW, from, topic_box(graph, route->ladder.exhausted), "exhausted");
    }
}

static void chain_arrows(struct graph *graph, const struct chain *chain)
{
    char after[32];
    size_t box = box_add(graph, BOX_CHAIN, chain, "c", chain->name);
    for (size_t a = 0; a < chain->abort_count; a++)
        arrow_add(graph, ARROW_WATCH, topic_box(graph, chain->abort_on[a]), box, "abort");
    for (size_t s = 0; s < chain->step_count; s++)
        if (chain->steps[s].undo != NULL)
            arrow_add(graph, ARROW_UNDO, box, topic_box(graph, chain->steps[s].undo),
                      arena_format(graph->arena, "undo %s", chain->steps[s].name));
    for (size_t t = 0; t < chain->timer_count; t++)
        arrow_add(graph, ARROW_RETRY, topic_box(graph, chain->timers[t].from), topic_box(graph, chain->timers[t].emit),
                  arena_format(graph->arena, "timer, after %s", duration_text(chain->timers[t].after_ms, after)));
}

static void graph_build(const struct pipeline *pipeline, struct arena *arena, struct graph *ret)
{
    *ret = (struct graph){.arena = arena,
                          .boxes = arena_array(arena, struct box, GRAPH_BOXES_MAX),
                          .arrows = arena_array(arena, struct arrow, GRAPH_ARROWS_MAX)};
    for (size_t i = 0; i < pipeline->request_count; i++)
        routes(ret, pipeline->requests[i].binding,
               box_add(ret, BOX_REQUEST, &pipeline->requests[i], "r", pipeline->requests[i].binding->id));
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        routes(ret, pipeline->schedules[i].binding,
               box_add(ret, BOX_SCHEDULE, &pipeline->schedules[i], "s", pipeline->schedules[i].name));
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        if (topic->is_dead_letter)
            continue;
        size_t box = topic_box(ret, topic);
        if (topic->binding == NULL)
            continue;
        size_t handler = box_add(ret, BOX_HANDLER, topic->binding, "h", topic->binding->handler_name);
        arrow_add(ret, ARROW_FLOW, box, handler, "");
        if (topic->after != NULL)
            arrow_add(ret, ARROW_WATCH, topic_box(ret, topic->after->topic), box,
                      arena_format(arena, "before, by %s", topic->after->correlate));
        if (topic->ladder_of == NULL)
            routes(ret, topic->binding, handler);
    }
    for (size_t c = 0; c < pipeline->chain_count; c++)
        chain_arrows(ret, &pipeline->chains[c]);
    for (size_t t = 0; t < pipeline->tap_count; t++) {
        size_t box = box_add(ret, BOX_TAP, &pipeline->taps[t], "tap", pipeline->taps[t].name);
        for (size_t i = 0; i < pipeline->topic_count; i++)
            if (tap_sees(&pipeline->taps[t], pipeline->topics[i]) && !pipeline->topics[i]->is_dead_letter)
                arrow_add(ret, ARROW_WATCH, topic_box(ret, pipeline->topics[i]), box, "");
    }
}

/* ------------------------------------------------------------------------------------------------------------ text */

static void text_targets(const struct route *route, struct buffer *out)
{
    char delay[32];
    for (size_t t = 0; t < route->target_count; t++) {
        const struct route_target *target = &route->targets[t];
        buffer_format(out, "%s→ %s%s%s", t > 0 ? ", " : "", target->topic->name, target->delay_ms > 0 ? " after " : "",
                      target->delay_ms > 0 ? duration_text(target->delay_ms, delay) : "");
    }
    buffer_byte(out, '\n');
}

static void text_routes(const struct binding *binding, struct buffer *out)
{
    char delay[32], factor[NUMBER_TEXT_MAX];
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        const struct ladder *ladder = &route->ladder;
        buffer_format(out, "      %-12s ", route->outcome);
        if (route->kind == ROUTE_DROP)
            buffer_text(out, "nothing\n");
        else if (route->kind == ROUTE_TOPIC)
            text_targets(route, out);
        else
            buffer_format(out, "→ %s, again after %s (× %s), %d times, then → %s\n", ladder->topic->name,
                          duration_text(ladder->initial_interval_ms, delay), number_text(ladder->multiplier, 6, factor),
                          ladder->max_retries, ladder->exhausted->name);
    }
}

static void text_timers(const struct topic *topic, struct buffer *out)
{
    char after[32];
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain *chain = topic->watches[w].chain;
        for (size_t t = 0; topic->watches[w].role == CHAIN_DONE && t < chain->timer_count; t++) {
            const struct chain_timer *timer = &chain->timers[t];
            if (timer->from != topic)
                continue;
            buffer_format(out, "      chain %s: timer, after %s → %s", chain->name,
                          duration_text(timer->after_ms, after), timer->emit->name);
            for (size_t i = 0; i < timer->cancel_count; i++)
                buffer_format(out, "%s%s", i == 0 ? ", unless " : " or ", timer->cancel_on[i]->name);
            buffer_byte(out, '\n');
        }
    }
}

static void graph_text(const struct pipeline *pipeline, struct buffer *out)
{
    char every[32];
    buffer_format(out, "%s\n", pipeline->name);
    for (size_t i = 0; i < pipeline->request_count; i++) {
        buffer_format(out, "\n  %s  %s\n", pipeline->requests[i].binding->id,
                      pipeline->requests[i].binding->handler_name);
        text_routes(pipeline->requests[i].binding, out);
    }
    for (size_t i = 0; i < pipeline->schedule_count; i++) {
        const struct schedule *schedule = &pipeline->schedules[i];
        if (schedule->every_ms > 0)
            buffer_format(out, "\n  every %s", duration_text(schedule->every_ms, every));
        else
            buffer_format(out, "\n  cron %s %s", schedule->cron_text, schedule->timezone);
        buffer_format(out, "  %s  %s\n", schedule->name, schedule->binding->handler_name);
        text_routes(schedule->binding, out);
    }
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        if (topic->is_dead_letter)
            continue;
        buffer_format(out, "\n  [%s]%s%s", topic->name, topic->key_text != NULL ? "  key " : "",
                      topic->key_text != NULL ? topic->key_text : "");
        if (topic->ladder_of != NULL)
            buffer_format(out, "  retries of %s, same handler\n", topic->ladder_of->name);
        else if (topic->binding != NULL)
            buffer_format(out, "  %s%s%s\n", topic->binding->handler_name,
                          topic->binding->dependency != NULL ? "  needs " : "",
                          topic->binding->dependency != NULL ? topic->binding->dependency->name : "");
        else
            buffer_text(out, topic->elsewhere ? "  elsewhere\n" : topic->final ? "  final\n" : "  no handler\n");
        if (topic->binding != NULL && topic->ladder_of == NULL && topic->binding->limit != NULL)
            buffer_format(out, "      at most     %s\n", topic->binding->limit->text);
        if (topic->after != NULL)
            buffer_format(out, "      after       %s with its %s, waits at most %s, then %s\n",
                          topic->after->topic->name, topic->after->correlate,
                          duration_text(topic->after->at_most_ms, every),
                          topic->after->handle ? "is handled" : "dead letter");
        if (topic->binding != NULL && topic->ladder_of == NULL)
            text_routes(topic->binding, out);
        for (size_t w = 0; w < topic->watch_count; w++) {
            static const char *const roles[] = {"", "does step", "aborts", "says undone of step", "undoes step"};
            const struct chain_watch *watch = &topic->watches[w];
            buffer_format(out, "      chain %s: %s %s\n", watch->chain->name, roles[watch->role],
                          watch->step >= 0 ? watch->chain->steps[watch->step].name : "it");
        }
        text_timers(topic, out);
    }
    for (size_t t = 0; t < pipeline->tap_count; t++) {
        buffer_format(out, "\n  tap %s  %s  watches", pipeline->taps[t].name, pipeline->taps[t].binding->handler_name);
        for (size_t i = 0; i < pipeline->taps[t].topic_count; i++)
            buffer_format(out, " %s", pipeline->taps[t].topics[i]);
        buffer_byte(out, '\n');
    }
}

/* --------------------------------------------------------------------------------------------------- mermaid, dot */

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

static void graph_mermaid(const struct graph *graph, struct buffer *out)
{
    static const char *const shapes[][2] = {{"[", "]"}, {"([", "])"}, {"([", "])"}, {"[", "]"},
                                            {">", "]"}, {"{{", "}}"}, {"[/", "/]"}, {"[[", "]]"}};
    static const char *const lines[] = {"", "-->", "-.->", "-.->", "==>"};
    buffer_text(out, "flowchart LR\n");
    for (size_t i = 0; i < graph->box_count; i++) {
        const struct box *box = &graph->boxes[i];
        buffer_format(out, "  %s%s", box->id, shapes[box->kind][0]);
        quoted(out, box->label, "#quot;");
        buffer_format(out, "%s\n", shapes[box->kind][1]);
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

static void graph_dot(const struct pipeline *pipeline, const struct graph *graph, struct buffer *out)
{
    static const char *const shapes[] = {"",
                                         "box, style=rounded",
                                         "box, style=\"rounded,dashed\"",
                                         "component",
                                         "rarrow",
                                         "hexagon",
                                         "parallelogram",
                                         "octagon"};
    static const char *const lines[] = {"", "solid", "dashed", "dotted", "bold"};
    buffer_format(out,
                  "digraph \"%s\" {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge "
                  "[fontname=\"sans-serif\", fontsize=10];\n",
                  pipeline->name);
    for (size_t i = 0; i < graph->box_count; i++) {
        buffer_format(out, "  %s [label=", graph->boxes[i].id);
        quoted(out, graph->boxes[i].label, "\\\"");
        buffer_format(out, ", shape=%s];\n", shapes[graph->boxes[i].kind]);
    }
    for (size_t i = 0; i < graph->arrow_count; i++) {
        const struct arrow *arrow = &graph->arrows[i];
        buffer_format(out, "  %s -> %s [label=", graph->boxes[arrow->from].id, graph->boxes[arrow->to].id);
        quoted(out, arrow->label, "\\\"");
        buffer_format(out, ", style=%s];\n", lines[arrow->kind]);
    }
    buffer_text(out, "}\n");
}

void pipeline_graph(const struct pipeline *pipeline, enum graph_format format, struct buffer *out)
{
    struct arena *arena = arena_create(256 * 1024, 64 * 1024 * 1024);
    struct graph graph;
    graph_build(pipeline, arena, &graph);
    switch (format) {
    case GRAPH_TEXT:
        graph_text(pipeline, out);
        break;
    case GRAPH_MERMAID:
        graph_mermaid(&graph, out);
        break;
    case GRAPH_DOT:
        graph_dot(pipeline, &graph, out);
        break;
    case GRAPH_SVG:
        graph_svg(pipeline, &graph, out);
        break;
    case GRAPH_JSON:
        graph_json(pipeline, out);
        break;
    }
    arena_destroy(arena);
}
