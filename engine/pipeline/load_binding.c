/*
 * load_binding.c - a handler bound to a topic, tap, schedule or request: its plugin, retries and routes.
 */
#include "pipeline/load.h"

void load_retry(struct load *load, struct node *mapping, const char *what, struct retry_policy *policy)
{
    struct node *retry = node_get(mapping, "retry");
    if (retry == NULL)
        return;
    char *name = arena_format(load->arena, "%s.retry", what);
    /* A key that is not given keeps the value that it has: the defaults'. */
    struct retry_policy kept = *policy;
    options_apply(retry_options, retry, retry->place, name, &kept, load->arena, load->problems);
    struct node *backoff = node_get(retry, "backoff");
    if (backoff != NULL)
        options_apply(backoff_options, backoff, backoff->place, arena_format(load->arena, "%s.backoff", name), &kept,
                      load->arena, load->problems);
    *policy = kept;
}

/* False, with problems, when it is not whole. */
static bool load_ladder(struct load *load, struct node *node, const char *what, struct ladder *ladder)
{
    options_default(ladder_options, ladder);
    options_apply(ladder_options, node, node->place, what, ladder, load->arena, load->problems);
    ladder->topic = load_topic_at(load, node, "retry", what);
    ladder->exhausted = load_topic_at(load, node, "exhausted", what);
    if (ladder->topic != NULL && ladder->topic == ladder->exhausted && strcmp(ladder->topic->name, "?") != 0)
        problem_add(load->problems, node->place, "bad_value",
                    "%s: 'retry' and 'exhausted' are the same topic, so it would never end", what);
    return ladder->topic != NULL && ladder->exhausted != NULL && ladder->max_retries > 0;
}

/* TOPIC, or {topic: TOPIC, delay: 10m}; false, with a problem, when it is neither. */
static bool load_target(struct load *load, struct node *node, const char *what, struct route_target *target)
{
    *target = (struct route_target){0};
    if (node->kind == NODE_MAPPING) {
        options_apply(target_options, node, node->place, what, target, load->arena, load->problems);
        target->topic = load_topic_at(load, node, "topic", what);
        return target->topic != NULL;
    }
    if (node->kind != NODE_SCALAR || node->broken || node->text.length == 0 || span_is(node->text, "drop")) {
        if (!node->broken)
            problem_add(load->problems, node->place, "bad_value",
                        "%s: expected a topic, or {topic: TOPIC, delay: 10m}, got %s", what,
                        node_shown(node, load->arena));
        return false;
    }
    target->topic = load_topic_named(load, node, what);
    return true;
}

static void load_targets(struct load *load, struct node *list, const char *what, struct route *route)
{
    if (list->count == 0 || list->count > ROUTE_TARGETS_MAX) {
        problem_add(load->problems, list->place, "bad_value", "%s: expected a list of 1 to %d topics", what,
                    ROUTE_TARGETS_MAX);
        return;
    }
    route->targets = arena_array(load->arena, struct route_target, list->count);
    for (size_t i = 0; i < list->count; i++) {
        struct route_target target;
        bool twice = false;
        if (!load_target(load, list->items[i], arena_format(load->arena, "%s[%zu]", what, i), &target))
            continue;
        for (size_t t = 0; t < route->target_count; t++)
            twice = twice || route->targets[t].topic == target.topic;
        if (twice && strcmp(target.topic->name, "?") != 0)
            problem_add(load->problems, list->items[i]->place, "bad_value",
                        "%s: topic '%s' is in the list twice; its event would have the same id", what,
                        target.topic->name);
        else
            route->targets[route->target_count++] = target;
    }
    route->kind = route->target_count > 0 ? ROUTE_TOPIC : ROUTE_DROP;
}

/* A route that cannot be read counts as one all the same, so that its outcome is not called unrouted. */
static void load_route(struct load *load, struct node *key, struct node *node, const char *what, struct route *route)
{
    *route = (struct route){.place = key->place, .outcome = key->text.at, .kind = ROUTE_DROP};
    bool ladder = node->kind == NODE_MAPPING && node_get(node, "topic") == NULL;
    if (ladder && load_ladder(load, node, what, &route->ladder))
        route->kind = ROUTE_LADDER;
    if (ladder || node->broken || (node->kind == NODE_SCALAR && span_is(node->text, "drop")))
        return;
    if (node->kind == NODE_SEQUENCE) {
        load_targets(load, node, what, route);
        return;
    }
    if (node->kind == NODE_SCALAR && node->text.length == 0) {
        problem_add(load->problems, node->place, "bad_value",
                    "%s: expected a topic, drop, or a retry ladder {retry: TOPIC, …}, got %s", what,
                    node_shown(node, load->arena));
        return;
    }
    route->targets = arena_new(load->arena, struct route_target);
    route->target_count = load_target(load, node, what, route->targets);
    route->kind = route->target_count > 0 ? ROUTE_TOPIC : ROUTE_DROP;
}

/* The plugin of "PLUGIN.HANDLER"; NULL, with a problem, when there is none. */
static struct plugin_ref *plugin_of(struct load *load, const struct node *handler, const char *what)
{
    struct pipeline *pipeline = load->pipeline;
    const char *name = handler->text.at, *dot = strchr(name, '.');
    if (dot == NULL || dot == name || dot[1] == '\0') {
        problem_add(load->problems, handler->place, "bad_value",
                    "%s.handler: expected PLUGIN.HANDLER, like payment.charge, got %s", what,
                    node_shown(handler, load->arena));
        return NULL;
    }
    const char **names = arena_array(load->arena, const char *, pipeline->plugin_count + 1);
    const char *word = arena_string(load->arena, (struct span){name, (size_t)(dot - name)});
    for (size_t i = 0; i < pipeline->plugin_count; i++) {
        names[i] = pipeline->plugins[i].name;
        if (strcmp(names[i], word) == 0)
            return &pipeline->plugins[i];
    }
    if (pipeline->plugin_count == 0 && node_get(pipeline->root, "plugins") != NULL) /* it is no mapping: reported */
        return NULL;
    const char *near = nearest_name(word, names);
    problem_add(load->problems, handler->place, "unknown_plugin", "%s.handler: '%s' is no plugin of this file%s%s%s",
                what, word, near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "");
    return NULL;
}

struct binding *load_binding(struct load *load, struct node *mapping, struct place place, const char *what)
{
    struct pipeline *pipeline = load->pipeline;
    struct binding *binding = arena_new(load->arena, struct binding);
    struct node *handler = node_get(mapping, "handler"), *routes = node_get(mapping, "routes"),
                *timeout = node_get(mapping, "timeout");
    bool named = handler != NULL && handler->kind == NODE_SCALAR && !handler->broken && handler->text.length > 0;

    binding->place = handler != NULL ? handler->place : place;
    binding->handler_name = binding->id = named ? handler->text.at : "";
    binding->retry = pipeline->defaults.retry;
    binding->timeout_ms = pipeline->defaults.timeout_ms;
    binding->max_events = pipeline->engine.max_events;
    binding->index = (uint32_t)pipeline->binding_count;
    pipeline->bindings = arena_grown(load->arena, pipeline->bindings, pipeline->binding_count,
                                     sizeof *pipeline->bindings);
    pipeline->bindings[pipeline->binding_count++] = binding;
    if (named)
        binding->plugin = plugin_of(load, handler, what);
    load_retry(load, mapping, what, &binding->retry);
    if (timeout != NULL && timeout->kind == NODE_SCALAR)
        duration_parse(timeout->text, &binding->timeout_ms); /* checked with the table */
    if (routes != NULL && routes->kind != NODE_MAPPING) {
        problem_add(load->problems, routes->place, "bad_value", "%s.routes: expected a mapping from outcomes, got %s",
                    what, node_shown(routes, load->arena));
        routes = NULL;
    }
    binding->routes = arena_array(load->arena, struct route, routes == NULL ? 1 : routes->count + 1);
    for (size_t i = 0; routes != NULL && i < routes->count; i++)
        load_route(load, routes->keys[i], routes->items[i],
                   arena_format(load->arena, "%s.routes.%s", what, routes->keys[i]->text.at),
                   &binding->routes[binding->route_count++]);
    return binding;
}
