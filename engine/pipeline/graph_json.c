/*
 * graph_json.c - the pipeline for programs: /pipeline and `graph --format json`; of several files a list of
 * them, and the topics that they share. Secrets are not in it.
 */
#include "pipeline/graph.h"

#include <jansson.h>
#include <stdlib.h>

/* Its name; with a delay, {topic, delayMs}. */
static json_t *target_json(const struct route_target *target)
{
    if (target->delay_ms == 0)
        return json_string(target->topic->name);
    return json_pack("{s:s, s:I}", "topic", target->topic->name, "delayMs", (json_int_t)target->delay_ms);
}

static json_t *targets_json(const struct route *route)
{
    if (route->target_count == 1)
        return target_json(&route->targets[0]);
    json_t *list = json_array();
    for (size_t t = 0; t < route->target_count; t++)
        json_array_append_new(list, target_json(&route->targets[t]));
    return list;
}

static json_t *routes_json(const struct binding *binding)
{
    json_t *routes = json_object();
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        if (route->kind == ROUTE_LADDER)
            json_object_set_new(routes, route->outcome,
                                json_pack("{s:s, s:I, s:f, s:i, s:s, s:s}", "retry", route->ladder.topic->name,
                                          "initialIntervalMs", (json_int_t)route->ladder.initial_interval_ms,
                                          "multiplier", route->ladder.multiplier, "maxRetries",
                                          route->ladder.max_retries, "counter", route->ladder.counter, "exhausted",
                                          route->ladder.exhausted->name));
        else
            json_object_set_new(routes, route->outcome, route->kind == ROUTE_DROP ? json_null() : targets_json(route));
    }
    return routes;
}

static json_t *topic_json(const struct topic *topic)
{
    json_t *json = json_pack("{s:s, s:b}", "name", topic->name, "final", topic->final);
    if (topic->elsewhere)
        json_object_set_new(json, "elsewhere", json_true());
    if (topic->key_text != NULL)
        json_object_set_new(json, "key", json_string(topic->key_text));
    if (topic->binding != NULL)
        json_object_set_new(json, "handler", json_string(topic->binding->handler_name));
    if (topic->binding != NULL && topic->binding->dependency != NULL)
        json_object_set_new(json, "dependency", json_string(topic->binding->dependency->name));
    const struct limit *limit = topic->binding == NULL ? NULL : topic->binding->limit;
    if (limit != NULL)
        json_object_set_new(json, "limit",
                            json_pack("{s:s, s:s?, s:o*, s:s?}", "text", limit->text, "rate", limit->rate_text,
                                      "concurrency", limit->places > 0 ? json_integer(limit->places) : NULL, "per",
                                      limit->per_text));
    const struct after *after = topic->after;
    if (after != NULL)
        json_object_set_new(json, "after",
                            json_pack("{s:s, s:s, s:I, s:s}", "topic", after->topic->name, "correlate",
                                      after->correlate, "atMostMs", (json_int_t)after->at_most_ms, "then",
                                      after->handle ? "handle" : "dead_letter"));
    if (topic->ladder_of != NULL)
        json_object_set_new(json, "retriesOf", json_string(topic->ladder_of->name));
    else if (topic->binding != NULL)
        json_object_set_new(json, "routes", routes_json(topic->binding));
    if (topic->dead_letter != NULL)
        json_object_set_new(json, "deadLetter", json_string(topic->dead_letter->name));
    return json;
}

static json_t *timers_json(const struct chain *chain)
{
    json_t *timers = json_array();
    for (size_t t = 0; t < chain->timer_count; t++) {
        const struct chain_timer *timer = &chain->timers[t];
        json_t *cancel_on = json_array();
        for (size_t i = 0; i < timer->cancel_count; i++)
            json_array_append_new(cancel_on, json_string(timer->cancel_on[i]->name));
        json_array_append_new(timers, json_pack("{s:I, s:s, s:s, s:o}", "afterMs", (json_int_t)timer->after_ms, "from",
                                                timer->from->name, "emit", timer->emit->name, "cancelOn", cancel_on));
    }
    return timers;
}

static json_t *chain_json(const struct chain *chain)
{
    json_t *steps = json_array(), *aborts = json_array();
    for (size_t s = 0; s < chain->step_count; s++) {
        json_t *step = json_pack("{s:s, s:s}", "name", chain->steps[s].name, "done", chain->steps[s].done->name);
        json_object_set_new(step, "undo",
                            chain->steps[s].undo == NULL ? json_null() : json_string(chain->steps[s].undo->name));
        json_array_append_new(steps, step);
    }
    for (size_t a = 0; a < chain->abort_count; a++)
        json_array_append_new(aborts, json_string(chain->abort_on[a]->name));
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", chain->name, "correlate", chain->correlate, "steps", steps,
                     "abortOn", aborts, "timers", timers_json(chain));
}

static json_t *schedule_json(const struct schedule *schedule)
{
    json_t *json = json_pack("{s:s, s:s}", "name", schedule->name, "handler", schedule->binding->handler_name);
    if (schedule->every_ms > 0) {
        json_object_set_new(json, "everyMs", json_integer(schedule->every_ms));
    } else {
        json_object_set_new(json, "cron", json_string(schedule->cron_text));
        json_object_set_new(json, "timezone", json_string(schedule->timezone));
    }
    json_object_set_new(json, "routes", routes_json(schedule->binding));
    return json;
}

static json_t *topics_json(const struct pipeline *pipeline)
{
    json_t *topics = json_array();
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (!pipeline->topics[i]->is_dead_letter)
            json_array_append_new(topics, topic_json(pipeline->topics[i]));
    return topics;
}

static json_t *names_json(const char *const *names, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static json_t *taps_json(const struct pipeline *pipeline)
{
    json_t *taps = json_array();
    for (size_t i = 0; i < pipeline->tap_count; i++)
        json_array_append_new(taps, json_pack("{s:s, s:s, s:o}", "name", pipeline->taps[i].name, "handler",
                                              pipeline->taps[i].binding->handler_name, "topics",
                                              names_json(pipeline->taps[i].topics, pipeline->taps[i].topic_count)));
    return taps;
}

static json_t *pipeline_json(const struct pipeline *pipeline)
{
    static const char *const kinds[] = {"", "memory", "postgres", "kafka"};
    json_t *chains = json_array(), *schedules = json_array(), *requests = json_array(), *dependencies = json_array();
    for (size_t i = 0; i < pipeline->chain_count; i++)
        json_array_append_new(chains, chain_json(&pipeline->chains[i]));
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        json_array_append_new(schedules, schedule_json(&pipeline->schedules[i]));
    for (size_t i = 0; i < pipeline->request_count; i++)
        json_array_append_new(requests, json_pack("{s:s, s:s, s:o}", "request", pipeline->requests[i].binding->id,
                                                  "handler", pipeline->requests[i].binding->handler_name, "routes",
                                                  routes_json(pipeline->requests[i].binding)));
    for (size_t i = 0; i < pipeline->dependency_count; i++)
        json_array_append_new(dependencies, json_pack("{s:s, s:i, s:I, s:I}", "name", pipeline->dependencies[i].name,
                                                      "failures", pipeline->dependencies[i].failures, "windowMs",
                                                      (json_int_t)pipeline->dependencies[i].window_ms, "openMs",
                                                      (json_int_t)pipeline->dependencies[i].open_ms));
    json_t *root = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "pipeline", pipeline->name, "bus",
                             kinds[pipeline->bus.kind], "topics", topics_json(pipeline), "chains", chains, "taps",
                             taps_json(pipeline), "schedules", schedules, "requests", requests, "dependencies",
                             dependencies);
    if (pipeline->outbox_table.name != NULL)
        json_object_set_new(root, "outboxTable",
                            json_pack("{s:s, s:o}", "name", pipeline->outbox_table.name, "topics",
                                      names_json(pipeline->outbox_table.topics, pipeline->outbox_table.topic_count)));
    return root;
}

/* A topic that several files name: which of them emit to it, and which read it. */
static json_t *shared_json(const struct graph *graph, size_t box)
{
    json_t *emitted_by = json_array(), *read_by = json_array();
    for (size_t c = 0; c < graph->count; c++) {
        if (graph_emits(graph, box, c))
            json_array_append_new(emitted_by, json_string(graph->pipelines[c]->name));
        if (graph_reads(graph, box, c))
            json_array_append_new(read_by, json_string(graph->pipelines[c]->name));
    }
    return json_pack("{s:s, s:o, s:o}", "topic", graph->boxes[box].label, "emittedBy", emitted_by, "readBy", read_by);
}

static json_t *set_json(const struct graph *graph)
{
    json_t *pipelines = json_array(), *shared = json_array();
    for (size_t c = 0; c < graph->count; c++)
        json_array_append_new(pipelines, pipeline_json(graph->pipelines[c]));
    for (size_t i = 0; i < graph->box_count; i++)
        if (graph_is_shared(graph, i))
            json_array_append_new(shared, shared_json(graph, i));
    return json_pack("{s:o, s:o}", "pipelines", pipelines, "shared", shared);
}

void graph_json(const struct graph *graph, struct buffer *out)
{
    json_t *root = graph->count == 1 ? pipeline_json(graph->pipelines[0]) : set_json(graph);
    char *text = json_dumps(root, JSON_INDENT(2));
    if (text != NULL)
        buffer_text(out, text);
    buffer_byte(out, '\n');
    free(text);
    json_decref(root);
}
