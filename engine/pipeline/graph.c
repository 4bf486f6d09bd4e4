/*
 * graph.c - the flow as boxes and arrows, joined over files.
 *
 * Dead letter topics are left out of the drawing: every topic has one, and they would hide the flow.
 */
#include "pipeline/graph.h"

#include <ctype.h>

/* A file that is being added to the graph. */
struct adding {
    struct graph *graph;
    const struct pipeline *pipeline;
    size_t cluster;
};

static bool id_taken(const struct graph *graph, const char *id)
{
    for (size_t i = 0; i < graph->box_count; i++)
        if (strcmp(graph->boxes[i].id, id) == 0)
            return true;
    return false;
}

static const char *free_id(const struct graph *graph, const char *prefix, const char *label)
{
    char *id = arena_format(graph->arena, "%s_%s", prefix, label);
    for (char *at = id; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at))
            *at = '_';
    const char *unique = id; /* "a.b" and "a-b" would be one */
    for (int number = 2; id_taken(graph, unique); number++)
        unique = arena_format(graph->arena, "%s_%d", id, number);
    return unique;
}

/* The box of that thing, made when it is new. */
static size_t box_add(const struct adding *adding, enum box_kind kind, const void *of, const char *prefix,
                      const char *label)
{
    struct graph *graph = adding->graph;
    for (size_t i = 0; i < graph->box_count; i++)
        if (graph->boxes[i].of == of)
            return i;
    graph->boxes = arena_grown(graph->arena, graph->boxes, graph->box_count, sizeof *graph->boxes);
    graph->boxes[graph->box_count] = (struct box){.kind = kind,
                                                  .of = of,
                                                  .id = free_id(graph, prefix, label),
                                                  .label = label,
                                                  .cluster = adding->cluster,
                                                  .beside = graph->box_count};
    return graph->box_count++;
}

/* Outcomes that lead the same way share an arrow. */
static void arrow_add(const struct adding *adding, enum arrow_kind kind, size_t from, size_t to, const char *label)
{
    struct graph *graph = adding->graph;
    for (size_t i = 0; i < graph->arrow_count; i++) {
        struct arrow *other = &graph->arrows[i];
        if (other->from != from || other->to != to || other->kind != kind || other->cluster != adding->cluster)
            continue;
        other->label = arena_format(graph->arena, "%s, %s", other->label, label);
        return;
    }
    graph->arrows = arena_grown(graph->arena, graph->arrows, graph->arrow_count, sizeof *graph->arrows);
    graph->arrows[graph->arrow_count++] = (struct arrow){kind, from, to, adding->cluster, label};
}

static bool is_topic(const struct box *box)
{
    return box->kind == BOX_TOPIC || box->kind == BOX_RETRY;
}

size_t graph_topic(const struct graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->box_count; i++)
        if (is_topic(&graph->boxes[i]) && strcmp(graph->boxes[i].label, name) == 0)
            return i;
    return SIZE_MAX;
}

static size_t named_box(const struct adding *adding, const struct topic *topic)
{
    size_t box = graph_topic(adding->graph, topic->name);
    return box != SIZE_MAX ? box : box_add(adding, BOX_TOPIC, topic, "t", topic->name);
}

static size_t topic_box(const struct adding *adding, const struct topic *topic)
{
    size_t box = named_box(adding, topic);
    if (topic->ladder_of != NULL && adding->graph->boxes[box].kind != BOX_RETRY) {
        size_t beside = named_box(adding, topic->ladder_of);
        adding->graph->boxes[box].kind = BOX_RETRY;
        adding->graph->boxes[box].beside = beside;
    }
    return box;
}

static void add_routes(const struct adding *adding, const struct binding *binding, size_t from)
{
    struct arena *arena = adding->graph->arena;
    char delay[32];
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        for (size_t t = 0; t < route->target_count; t++) {
            const struct route_target *target = &route->targets[t];
            const char *label = route->outcome;
            if (target->delay_ms > 0)
                label = arena_format(arena, "%s, after %s", label, duration_text(target->delay_ms, delay));
            arrow_add(adding, ARROW_FLOW, from, topic_box(adding, target->topic), label);
        }
        if (route->kind != ROUTE_LADDER)
            continue;
        arrow_add(adding, ARROW_RETRY, from, topic_box(adding, route->ladder.topic),
                  arena_format(arena, "%s, %d %s", route->outcome, route->ladder.max_retries,
                               route->ladder.max_retries == 1 ? "retry" : "retries"));
        arrow_add(adding, ARROW_FLOW, from, topic_box(adding, route->ladder.exhausted), "exhausted");
    }
}

static void add_topic(const struct adding *adding, const struct topic *topic)
{
    size_t box = topic_box(adding, topic);
    if (topic->binding == NULL)
        return;
    size_t handler = box_add(adding, BOX_HANDLER, topic->binding, "h", topic->binding->handler_name);
    arrow_add(adding, ARROW_FLOW, box, handler, "");
    if (topic->after != NULL)
        arrow_add(adding, ARROW_WATCH, topic_box(adding, topic->after->topic), box,
                  arena_format(adding->graph->arena, "before, by %s", topic->after->correlate));
    if (topic->ladder_of == NULL)
        add_routes(adding, topic->binding, handler);
}

static void add_chain(const struct adding *adding, const struct chain *chain)
{
    struct arena *arena = adding->graph->arena;
    char after[32];
    size_t box = box_add(adding, BOX_CHAIN, chain, "c", chain->name);
    for (size_t s = 0; s < chain->step_count; s++) {
        const struct chain_step *step = &chain->steps[s];
        arrow_add(adding, ARROW_WATCH, topic_box(adding, step->done), box, arena_format(arena, "step %s", step->name));
        if (step->undone != NULL)
            arrow_add(adding, ARROW_WATCH, topic_box(adding, step->undone), box,
                      arena_format(arena, "undone %s", step->name));
    }
    for (size_t a = 0; a < chain->abort_count; a++)
        arrow_add(adding, ARROW_WATCH, topic_box(adding, chain->abort_on[a]), box, "abort");
    for (size_t s = 0; s < chain->step_count; s++)
        if (chain->steps[s].undo != NULL)
            arrow_add(adding, ARROW_UNDO, box, topic_box(adding, chain->steps[s].undo),
                      arena_format(arena, "undo %s", chain->steps[s].name));
    for (size_t t = 0; t < chain->timer_count; t++)
        arrow_add(adding, ARROW_TIMER, topic_box(adding, chain->timers[t].from),
                  topic_box(adding, chain->timers[t].emit),
                  arena_format(arena, "timer, after %s", duration_text(chain->timers[t].after_ms, after)));
}

static void add_lookers_on(const struct adding *adding)
{
    const struct pipeline *pipeline = adding->pipeline;
    for (size_t t = 0; t < pipeline->tap_count; t++) {
        size_t box = box_add(adding, BOX_TAP, &pipeline->taps[t], "tap", pipeline->taps[t].name);
        for (size_t i = 0; i < pipeline->topic_count; i++)
            if (tap_sees(&pipeline->taps[t], pipeline->topics[i]) && !pipeline->topics[i]->is_dead_letter)
                arrow_add(adding, ARROW_WATCH, topic_box(adding, pipeline->topics[i]), box, "");
    }
    if (pipeline->outbox_table.name == NULL)
        return;
    size_t table = box_add(adding, BOX_TABLE, pipeline, "table", pipeline->outbox_table.name);
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        size_t box = pipeline->topics[i]->in_outbox_table ? graph_topic(adding->graph, pipeline->topics[i]->name)
                                                          : SIZE_MAX;
        if (box != SIZE_MAX && graph_emits(adding->graph, box, adding->cluster))
            arrow_add(adding, ARROW_WATCH, box, table, "");
    }
}

static void add_pipeline(const struct adding *adding)
{
    const struct pipeline *pipeline = adding->pipeline;
    for (size_t i = 0; i < pipeline->request_count; i++)
        add_routes(adding, pipeline->requests[i].binding,
                   box_add(adding, BOX_REQUEST, &pipeline->requests[i], "r", pipeline->requests[i].binding->id));
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        add_routes(adding, pipeline->schedules[i].binding,
                   box_add(adding, BOX_SCHEDULE, &pipeline->schedules[i], "s", pipeline->schedules[i].name));
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (!pipeline->topics[i]->is_dead_letter)
            add_topic(adding, pipeline->topics[i]);
    for (size_t c = 0; c < pipeline->chain_count; c++)
        add_chain(adding, &pipeline->chains[c]);
    add_lookers_on(adding);
}

bool graph_emits(const struct graph *graph, size_t box, size_t cluster)
{
    for (size_t i = 0; i < graph->arrow_count; i++)
        if (graph->arrows[i].to == box && graph->arrows[i].cluster == cluster && graph->arrows[i].kind != ARROW_WATCH)
            return true;
    return false;
}

bool graph_reads(const struct graph *graph, size_t box, size_t cluster)
{
    for (size_t i = 0; i < graph->arrow_count; i++) {
        const struct arrow *arrow = &graph->arrows[i];
        if (arrow->from == box && arrow->cluster == cluster && graph->boxes[arrow->to].kind != BOX_TABLE)
            return true;
    }
    return false;
}

bool graph_is_shared(const struct graph *graph, size_t box)
{
    size_t named = 0;
    for (size_t c = 0; is_topic(&graph->boxes[box]) && c < graph->count; c++)
        named += pipeline_topic(graph->pipelines[c], graph->boxes[box].label) != NULL;
    return named > 1;
}

/* A topic goes to the file that emits to it. */
static void house_topics(struct graph *graph)
{
    for (size_t i = 0; i < graph->box_count; i++)
        for (size_t c = graph->count; is_topic(&graph->boxes[i]) && c-- > 0;)
            if (graph_emits(graph, i, c))
                graph->boxes[i].cluster = c;
}

void graph_build(const struct pipeline *const *pipelines, size_t count, struct arena *arena, struct graph *ret)
{
    *ret = (struct graph){.arena = arena, .pipelines = pipelines, .count = count};
    for (size_t i = 0; i < count; i++)
        add_pipeline(&(struct adding){ret, pipelines[i], i});
    house_topics(ret);
}
