/*
 * load_flow.c - topics, routes and chains.
 *
 * A topic exists when anything names it. Retry topics and dead letter topics are made here, so that they are drawn,
 * tapped and counted like any other.
 */
#include "pipeline/load.h"

static void *grown(struct arena *arena, void *list, size_t count, size_t item)
{
    if ((count & (count - 1)) != 0 && count != 0)
        return list;
    void *larger = arena_alloc(arena, item * (count == 0 ? 1 : count * 2));
    if (count > 0)
        memcpy(larger, list, item * count);
    return larger;
}

struct topic *pipeline_topic(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (strcmp(pipeline->topics[i]->name, name) == 0)
            return pipeline->topics[i];
    return NULL;
}

static struct topic *topic_add(struct load *load, const char *name, struct place place)
{
    struct pipeline *pipeline = load->pipeline;
    struct topic *topic = pipeline_topic(pipeline, name);
    if (topic != NULL)
        return topic;
    topic = arena_new(load->arena, struct topic);
    topic->name = name;
    topic->place = place;
    if (strcmp(name, "?") == 0) /* refused: it stands for no other */
        return topic;
    topic->index = (uint32_t)pipeline->topic_count;
    pipeline->topics = grown(load->arena, pipeline->topics, pipeline->topic_count, sizeof *pipeline->topics);
    pipeline->topics[pipeline->topic_count++] = topic;
    return topic;
}

struct topic *load_topic_named(struct load *load, const struct node *node, const char *what)
{
    const char *name = load_name(load, node, what, TOPIC_NAME_MAX);
    return topic_add(load, name, node->place);
}

/* The topic that a key of a mapping names; NULL, with a problem, when it is not there. */
static struct topic *topic_at(struct load *load, struct node *mapping, const char *key, const char *what)
{
    struct node *node = node_get(mapping, key);
    if (node == NULL || node->kind != NODE_SCALAR)
        return NULL; /* said by options_apply() */
    return load_topic_named(load, node, arena_format(load->arena, "%s.%s", what, key));
}

/* ---------------------------------------------------------------------------------------------------------- routes */

/* False when it is not whole; the sentences are said. */
static bool load_ladder(struct load *load, struct node *node, const char *what, struct ladder *ladder)
{
    options_default(ladder_options, ladder);
    options_apply(ladder_options, node, node->place, what, ladder, load->arena, load->problems);
    ladder->topic = topic_at(load, node, "retry", what);
    ladder->exhausted = topic_at(load, node, "exhausted", what);
    if (ladder->topic != NULL && ladder->topic == ladder->exhausted && strcmp(ladder->topic->name, "?") != 0)
        problem_add(load->problems, node->place, "bad_value",
                    "%s: 'retry' and 'exhausted' are the same topic, so it would never end", what);
    return ladder->topic != NULL && ladder->exhausted != NULL && ladder->max_retries > 0;
}

/* A route that cannot be read counts as one all the same, so that its outcome is not called unrouted. */
static void load_route(struct load *load, struct node *key, struct node *node, const char *what, struct route *route)
{
    *route = (struct route){.place = key->place, .outcome = key->text.at, .kind = ROUTE_DROP};
    if (node->kind == NODE_MAPPING && load_ladder(load, node, what, &route->ladder))
        route->kind = ROUTE_LADDER;
    if (node->kind == NODE_MAPPING || node->broken || span_is(node->text, "drop"))
        return;
    if (node->kind != NODE_SCALAR || node->text.length == 0) {
        problem_add(load->problems, node->place, "bad_value",
                    "%s: expected a topic, drop, or a retry ladder {retry: TOPIC, …}, got %s", what,
                    node_shown(node, load->arena));
        return;
    }
    route->kind = ROUTE_TOPIC;
    route->topic = load_topic_named(load, node, what);
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
    if (pipeline->plugin_count == 0) /* said: there are none at all */
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
    binding->dead_letter = true;
    binding->index = (uint32_t)pipeline->binding_count;
    pipeline->bindings = grown(load->arena, pipeline->bindings, pipeline->binding_count, sizeof *pipeline->bindings);
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

/* ---------------------------------------------------------------------------------------------------------- topics */

static void load_topic(struct load *load, struct node *key, struct node *mapping)
{
    struct topic *topic = load_topic_named(load, key, "topic name");
    const char *what = arena_format(load->arena, "topics.%s", topic->name);
    struct error error = {0};

    topic->declared = true;
    topic->place = key->place;
    if (mapping->kind == NODE_SCALAR && mapping->text.length == 0)
        mapping = NULL; /* "payment.failure:" alone */
    options_apply(topic_options, mapping, key->place, what, topic, load->arena, load->problems);
    if (mapping == NULL || mapping->kind != NODE_MAPPING)
        return;
    struct node *template = node_get(mapping, "key");
    if (template != NULL && topic->key_text != NULL &&
        (topic->key = key_template_create(span_of(topic->key_text), load->arena, &error)) == NULL)
        problem_add(load->problems, template->place, "bad_value", "%s.key: %s", what,
                    template->interpolated ? "expected a template like \"{userId}-{seatId}\", got ***" : error.text);
    if (node_get(mapping, "handler") != NULL)
        topic->binding = load_binding(load, mapping, key->place, what);
    else if (node_get(mapping, "routes") != NULL)
        problem_add(load->problems, node_get(mapping, "routes")->place, "bad_value",
                    "%s.routes: there is no handler whose outcomes these could be", what);
    if (topic->binding != NULL && topic->final)
        problem_add(load->problems, key->place, "bad_value", "%s: it is final and has a handler; it can be one of both",
                    what);
    if (node_get(mapping, "dead_letter") != NULL)
        topic->dead_letter = topic_at(load, mapping, "dead_letter", what);
}

/* "{topic}-dlt" for this topic. */
static struct topic *dead_letter_of(struct load *load, const struct topic *topic)
{
    const char *pattern = load->pipeline->defaults.dead_letter, *hole = strstr(pattern, "{topic}"), *name = pattern;
    if (hole != NULL)
        name = arena_format(load->arena, "%.*s%s%s", (int)(hole - pattern), pattern, topic->name,
                            hole + strlen("{topic}"));
    if (strlen(name) > (size_t)TOPIC_NAME_MAX) {
        problem_add(load->problems, topic->place, "bad_name",
                    "topic '%.40s…': the name of its dead letter topic has %zu characters, the most is %d; say "
                    "dead_letter: TOPIC",
                    topic->name, strlen(name), TOPIC_NAME_MAX);
        name = "?";
    }
    return topic_add(load, name, topic->place);
}

/* A retry topic is handled like the topic whose ladder it belongs to. */
static void join_ladders(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        for (size_t r = 0; topic->binding != NULL && topic->ladder_of == NULL && r < topic->binding->route_count; r++) {
            struct route *route = &topic->binding->routes[r];
            if (route->kind != ROUTE_LADDER)
                continue;
            struct topic *retry = route->ladder.topic;
            if (strcmp(retry->name, "?") == 0)
                continue;
            if (retry->binding != NULL || retry->final) {
                problem_add(load->problems, route->place, "ladder_topic",
                            "the retry ladder of topic '%s' climbs on topic '%s', which %s; a retry topic belongs to "
                            "one ladder, which hands its events "
                            "to the same handler",
                            topic->name, retry->name,
                            retry->final               ? "is final"
                            : retry->ladder_of != NULL ? "is another ladder's"
                                                       : "has a handler of its own");
                continue;
            }
            retry->ladder_of = topic;
            retry->ladder = &route->ladder;
            retry->binding = topic->binding;
            if (retry->key == NULL)
                retry->key = topic->key;
        }
    }
}

static void join_dead_letters(struct load *load)
{
    struct pipeline *pipeline = load->pipeline;
    size_t count = pipeline->topic_count; /* those that are made here need none */
    for (size_t i = 0; i < count; i++)
        if (pipeline->topics[i]->dead_letter != NULL)
            pipeline->topics[i]->dead_letter->is_dead_letter = true;
    for (size_t i = 0; i < count; i++) {
        struct topic *topic = pipeline->topics[i];
        if (topic->dead_letter == NULL && !topic->is_dead_letter) {
            topic->dead_letter = dead_letter_of(load, topic);
            topic->dead_letter->is_dead_letter = true;
        }
    }
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        if (topic->is_dead_letter && (topic->binding != NULL || topic->watch_count > 0))
            problem_add(load->problems, topic->place, "dead_letter",
                        "topic '%s' is for dead letters, which nothing handles; watch them with a tap, and "
                        "replay them with sluice dead-letter",
                        topic->name);
        if (topic->is_dead_letter) {
            topic->final = true;
            topic->dead_letter = NULL;
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- chains */

static void watch(struct load *load, struct topic *topic, struct chain *chain, enum chain_role role, int32_t step)
{
    topic->watches = grown(load->arena, topic->watches, topic->watch_count, sizeof *topic->watches);
    topic->watches[topic->watch_count++] = (struct chain_watch){chain, role, step};
}

static void load_step(struct load *load, struct chain *chain, struct node *node, const char *what)
{
    struct chain_step *step = &chain->steps[chain->step_count];
    struct node *undo = node_get(node, "undo");
    bool none = undo != NULL && undo->kind == NODE_SCALAR && span_is(undo->text, "none");
    int32_t number = (int32_t)chain->step_count;
    step->place = node->place;
    options_apply(chain_step_options, node, node->place, what, step, load->arena, load->problems);
    step->done = topic_at(load, node, "done", what);
    if (!none)
        step->undo = topic_at(load, node, "undo", what);
    step->undone = topic_at(load, node, "undone", what);
    if (step->done == NULL || undo == NULL)
        return;
    chain->step_count++;
    watch(load, step->done, chain, CHAIN_DONE, number);
    if (step->undo != NULL)
        watch(load, step->undo, chain, CHAIN_UNDO, number);
    if (step->undone != NULL)
        watch(load, step->undone, chain, CHAIN_STEP_UNDONE, number);
}

static void load_chain(struct load *load, struct node *key, struct node *node, struct chain *chain)
{
    const char *what = arena_format(load->arena, "chains.%s", chain->name);
    chain->place = key->place;
    options_apply(chain_options, node, key->place, what, chain, load->arena, load->problems);
    struct node *steps = node_get(node, "steps"), *abort_on = node_get(node, "abort_on"),
                *failure = node_get(node, "on_undo_failure");
    int choice = failure == NULL ? -1 : choice_index("pause|retry_forever|dead_letter", failure->text);
    chain->on_undo_failure = choice < 0 ? UNDO_PAUSE : (enum undo_failure)(UNDO_PAUSE + choice);
    size_t count = steps != NULL && steps->kind == NODE_SEQUENCE ? steps->count : 0;
    if (steps != NULL && (count == 0 || count > CHAIN_STEPS_MAX)) {
        problem_add(load->problems, steps->place, "bad_value",
                    "%s.steps: expected a list of 1 to %d steps, oldest first", what, CHAIN_STEPS_MAX);
        count = 0;
    }
    chain->steps = arena_array(load->arena, struct chain_step, count + 1);
    for (size_t i = 0; i < count; i++)
        load_step(load, chain, steps->items[i], arena_format(load->arena, "%s.steps[%zu]", what, i));
    if (abort_on != NULL && (abort_on->kind != NODE_SEQUENCE || abort_on->count == 0)) {
        problem_add(load->problems, abort_on->place, "bad_value", "%s.abort_on: expected a list of topics", what);
        abort_on = NULL;
    }
    chain->abort_on = arena_array(load->arena, struct topic *, abort_on == NULL ? 1 : abort_on->count + 1);
    for (size_t i = 0; abort_on != NULL && i < abort_on->count; i++) {
        struct topic *topic = load_topic_named(load, abort_on->items[i],
                                               arena_format(load->arena, "%s.abort_on", what));
        chain->abort_on[chain->abort_count++] = topic;
        watch(load, topic, chain, CHAIN_ABORT, -1);
    }
}

static void load_chains(struct load *load, struct node *root)
{
    struct pipeline *pipeline = load->pipeline;
    struct node *chains = NULL;
    if (!load_section(load, root, "chains", &chains))
        return;
    pipeline->chains = arena_array(load->arena, struct chain, chains->count + 1);
    for (size_t i = 0; i < chains->count; i++) {
        struct chain *chain = &pipeline->chains[pipeline->chain_count];
        chain->index = (uint32_t)pipeline->chain_count++;
        chain->name = load_name(load, chains->keys[i], "chain name", 64);
        load_chain(load, chains->keys[i], chains->items[i], chain);
    }
    if (pipeline->chain_count > 0 && !pipeline->store.present)
        problem_add(load->problems, pipeline->chains[0].place, "missing_key",
                    "chains are written down in the database; 'store' is missing");
}

void load_flow(struct load *load, struct node *root)
{
    struct node *topics = NULL;
    if (load_section(load, root, "topics", &topics))
        for (size_t i = 0; i < topics->count; i++)
            load_topic(load, topics->keys[i], topics->items[i]);
    load_chains(load, root);
    load_taps(load, root);
    load_schedules(load, root);
    load_requests(load, root);
    join_ladders(load);
    join_dead_letters(load);
}
