/*
 * load_flow.c - what moves events: the topics, and how retry topics and dead letter topics are joined to them.
 *
 * Retry topics and dead letter topics are topics like any other, so that they are drawn, tapped and counted.
 */
#include "pipeline/load.h"

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
    if (topic->final && topic->elsewhere)
        problem_add(load->problems, key->place, "bad_value",
                    "%s: nobody handles what is final, and another pipeline what is handled elsewhere; it can be one "
                    "of both",
                    what);
    else if (topic->binding != NULL && (topic->final || topic->elsewhere))
        problem_add(load->problems, key->place, "bad_value", "%s: it is %s and has a handler; it can be one of both",
                    what, topic->final ? "final" : "handled elsewhere");
    topic->final = topic->final || topic->elsewhere;
    load_dependency_of(load, mapping, what, topic->binding);
    load_limit(load, mapping, what, topic);
    load_after(load, mapping, what, topic);
    if (node_get(mapping, "dead_letter") != NULL)
        topic->dead_letter = load_topic_at(load, mapping, "dead_letter", what);
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
                            retry->elsewhere           ? "is handled elsewhere"
                            : retry->final             ? "is final"
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

/* A delay is kept by the group that handles the topic, which must know how long it may be. */
static void join_delays(struct load *load)
{
    for (size_t b = 0; b < load->pipeline->binding_count; b++) {
        const struct binding *binding = load->pipeline->bindings[b];
        for (size_t r = 0; r < binding->route_count; r++)
            for (size_t t = 0; t < binding->routes[r].target_count; t++) {
                struct route_target *target = &binding->routes[r].targets[t];
                if (target->delay_ms == 0 || strcmp(target->topic->name, "?") == 0)
                    continue;
                if (target->topic->binding == NULL || target->topic->ladder_of != NULL)
                    problem_add(load->problems, binding->routes[r].place, "delay_topic",
                                "'%s' of %s leads to topic '%s' with a delay, and %s; the delay is kept where the "
                                "topic is handled: route to a topic with a handler in this file",
                                binding->routes[r].outcome, binding->handler_name, target->topic->name,
                                target->topic->ladder_of != NULL ? "that is a retry topic, which has delays of its own"
                                                                 : "nothing here handles that topic");
                if (target->delay_ms > target->topic->delay_ms)
                    target->topic->delay_ms = target->delay_ms;
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
            topic->dead_letter = load_dead_letter_of(load, topic);
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

void load_flow(struct load *load, struct node *root)
{
    struct node *topics = NULL;
    load_dependencies(load, root);
    if (load_section(load, root, "topics", &topics))
        for (size_t i = 0; i < topics->count; i++)
            load_topic(load, topics->keys[i], topics->items[i]);
    load_chains(load, root);
    load_taps(load, root);
    load_schedules(load, root);
    load_requests(load, root);
    load_outbox_table(load, root);
    join_ladders(load);
    join_delays(load);
    load_afters(load);
    join_dead_letters(load);
    join_outbox_table(load);
    join_emits(load);
    load_retired_topics(load);
}
