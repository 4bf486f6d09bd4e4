/*
 * load_emit.c - a request that emits what it is sent: `emit:` instead of a handler.
 *
 * It is bound like any other request, to a handler of the engine's own with an outcome for each topic that it may emit
 * to, so that routes, checks, graphs and metrics take it as they take the others.
 */
#include "pipeline/load.h"

/* "{name}" of the path, by which the client chooses the topic; NULL, perhaps with a problem, when it is none. */
static const char *emit_parameter(struct load *load, const struct node *emit, const char *what,
                                  const struct request *request)
{
    struct span text = emit->text;
    const char *names[64] = {NULL};
    size_t count = 0;
    if (text.at[0] != '{')
        return NULL;
    for (size_t i = 0; i < request->segment_count; i++) {
        if (span_is(text, request->segments[i]))
            return arena_string(load->arena, (struct span){text.at + 1, text.length - 2});
        if (request->segments[i][0] == '{' && count + 1 < sizeof names / sizeof names[0])
            names[count++] = request->segments[i];
    }
    const char *near = nearest_name(text.at, names);
    problem_add(
        load->problems, emit->place, "bad_value",
        "%s.emit: expected a topic, or a parameter of the path by which the client names one, got %s, which the "
        "path does not have%s%s%s",
        what, node_shown(emit, load->arena), near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
        near != NULL ? "'?" : "");
    return NULL;
}

static void add_target(struct load *load, struct binding *binding, struct topic *topic)
{
    struct route *route = &binding->routes[binding->route_count++];
    *route = (struct route){.place = binding->place, .outcome = topic->name, .kind = ROUTE_TOPIC, .target_count = 1};
    route->targets = arena_new(load->arena, struct route_target);
    route->targets[0].topic = topic;
}

void load_emit(struct load *load, struct node *mapping, const char *what, struct request *request)
{
    struct node *emit = node_get(mapping, "emit"), *handler = node_get(mapping, "handler");
    struct binding *binding = request->binding;
    if (emit == NULL && handler == NULL)
        problem_add(
            load->problems, mapping->place, "missing_key",
            "%s: 'handler' is missing, and so is 'emit'; say what answers it, PLUGIN.HANDLER, or the topic of the "
            "event that its body becomes",
            what);
    if (emit != NULL && handler != NULL)
        problem_add(load->problems, emit->place, "bad_value",
                    "%s: it has a 'handler' and 'emit'; a handler emits by its 'routes'", what);
    if (emit == NULL || handler != NULL || emit->kind != NODE_SCALAR || emit->broken || emit->text.length == 0)
        return;
    if (node_get(mapping, "routes") != NULL)
        problem_add(load->problems, node_get(mapping, "routes")->place, "bad_value",
                    "%s: `emit` says where the event goes; `routes` are for the outcomes of a `handler`", what);
    binding->emits = true;
    binding->handler_name = "emit";
    binding->place = emit->place;
    binding->emit_parameter = emit_parameter(load, emit, what, request);
    binding->route_count = 0;
    binding->routes = arena_array(load->arena, struct route, 1);
    if (emit->text.at[0] != '{')
        add_target(load, binding, load_topic_named(load, emit, arena_format(load->arena, "%s.emit", what)));
}

void join_emits(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->request_count; i++) {
        struct binding *binding = pipeline->requests[i].binding;
        if (binding->emit_parameter == NULL)
            continue;
        binding->routes = arena_array(load->arena, struct route, pipeline->topic_count + 1);
        for (size_t t = 0; t < pipeline->topic_count; t++) {
            struct topic *topic = pipeline->topics[t];
            if (topic->declared && !topic->is_dead_letter && topic->ladder_of == NULL)
                add_target(load, binding, topic);
        }
    }
}

void resolve_emit(struct pipeline *pipeline, struct binding *binding)
{
    struct sluice_outcome *outcomes = arena_array(pipeline->arena, struct sluice_outcome, binding->route_count + 1);
    struct sluice_handler *handler = arena_new(pipeline->arena, struct sluice_handler);
    for (size_t i = 0; i < binding->route_count; i++)
        outcomes[i] = (struct sluice_outcome){.name = binding->routes[i].outcome, .help = "emitted there"};
    *handler = (struct sluice_handler){.name = "emit",
                                       .help = "emits what it is sent",
                                       .outcomes = outcomes,
                                       .max_events = 100,
                                       .kind = SLUICE_REQUEST};
    binding->handler = handler;
    binding->outcomes = outcomes;
    binding->outcome_count = binding->route_count;
}
