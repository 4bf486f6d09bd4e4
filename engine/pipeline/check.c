/*
 * check.c - the saga-aware checks: what a file that reads well would still do wrong.
 *
 * Works on the resolved pipeline alone, offline. Each finding is a sentence with a place. This file looks at the
 * ends: topics that events go to and nothing reads, and topics that are read and nothing emits to. check_flow.c,
 * check_chains.c, check_timers.c and check_fields.c do the rest.
 */
#include "pipeline/check.h"

#include <strings.h>

/* The declared topic whose name is close to one that is not declared, and probably misspelt; NULL when none is. */
static const char *nearest_topic(const struct pipeline *pipeline, const struct topic *topic)
{
    const char **names = arena_array(pipeline->arena, const char *, pipeline->topic_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (pipeline->topics[i]->declared)
            names[count++] = pipeline->topics[i]->name;
    return topic->declared || strlen(topic->name) < 4 ? NULL : nearest_name(topic->name, names);
}

static void check_ends(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        bool emitted = check->emitted[i] || topic->is_dead_letter;
        if (topic->binding != NULL || topic->final || topic->watch_count > 0 || topic_tapped(pipeline, topic))
            continue;
        const char *near = emitted ? nearest_topic(pipeline, topic) : NULL;
        if (near != NULL)
            problem_add(check->problems, topic->place, "unhandled",
                        "events go to topic '%s', and nobody handles, taps or watches it; did you mean '%s'?",
                        topic->name, near);
        else if (emitted)
            problem_add(check->problems, topic->place, "unhandled",
                        "events go to topic '%s', and nobody handles, taps or watches it; give it a handler or a tap, "
                        "or say topics: {%s: {final: true}}",
                        topic->name, topic->name);
        else if (topic->declared)
            problem_warn(check->problems, topic->place, "unused",
                         "topic '%s' is declared, and nothing emits, handles, taps or watches it", topic->name);
    }
}

/* A tap on a topic to which nothing emits: its name is most likely misspelt. */
static void check_taps(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    const char **names = arena_array(pipeline->arena, const char *, pipeline->topic_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (pipeline->topics[i]->declared || check->emitted[i])
            names[count++] = pipeline->topics[i]->name;
    for (size_t i = 0; i < pipeline->tap_count; i++) {
        const struct tap *tap = &pipeline->taps[i];
        for (size_t t = 0; t < tap->topic_count; t++) {
            const struct topic *topic = pipeline_topic(pipeline, tap->topics[t]);
            const char *near = topic == NULL ? NULL : nearest_name(topic->name, names);
            if (topic != NULL && !topic->declared && !topic->is_dead_letter && !check->emitted[topic->number])
                problem_warn(check->problems, topic->place, "never_emitted",
                             "tap '%s' waits for topic '%s', to which nothing here emits%s%s%s", tap->name, topic->name,
                             near != NULL ? "; did you mean '"
                                          : "; if it comes from elsewhere, declare it under 'topics'",
                             near != NULL ? near : "", near != NULL ? "'?" : "");
        }
    }
}

/* Names that differ too little: for people in case, for Kafka's own metrics in '.' and '_'. */
void check_names(const struct check *check)
{
    for (size_t i = 0; i < check->topic_count; i++)
        for (size_t other = 0; other < i; other++) {
            const struct topic *a = check->topics[other].list[0], *b = check->topics[i].list[0];
            bool punctuation = strlen(a->name) == strlen(b->name);
            if (a->is_dead_letter || b->is_dead_letter)
                continue;
            if (strcasecmp(a->name, b->name) == 0)
                problem_warn(check->problems, b->place, "name_twins",
                             "topics '%s' and '%s' differ in case only, and are two", a->name, b->name);
            for (size_t at = 0; punctuation && a->name[at] != '\0'; at++)
                punctuation = a->name[at] == b->name[at] ||
                              (strchr("._", a->name[at]) != NULL && strchr("._", b->name[at]) != NULL);
            if (punctuation && check->pipelines[0]->bus.kind == BUS_CHOICE_KAFKA)
                problem_add(check->problems, b->place, "name_twins",
                            "topics '%s' and '%s' differ in '.' and '_' only, which Kafka refuses", a->name, b->name);
        }
}

/* What the brokers keep of groups, transactions and themselves. */
static bool is_brokers_own(const struct pipeline *pipeline, const char *name)
{
    static const char *const names[] = {"__consumer_offsets", "__transaction_state", "__cluster_metadata"};
    bool own = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        own = own || strcmp(name, names[i]) == 0;
    return own && pipeline->bus.kind == BUS_CHOICE_KAFKA;
}

/* Whether the engine keeps its notes of dead letters on the topic: without a store, under each name of the group. */
static bool is_notes_topic(const struct pipeline *pipeline, const char *name)
{
    bool own = strcmp(name, pipeline_notes_topic(pipeline->engine.group, pipeline->arena)) == 0;
    for (size_t i = 0; i < pipeline->answer_count && !own; i++)
        own = pipeline->answers[i].new_name != NULL &&
              strcmp(pipeline->answers[i].new_name, pipeline->engine.group) == 0 &&
              strcmp(name, pipeline_notes_topic(pipeline->answers[i].old, pipeline->arena)) == 0;
    return own && !pipeline->store.present;
}

/* Topics that somebody else writes to, in a form of their own. */
static void check_own_topics(const struct check *check)
{
    for (size_t i = 0; i < check->pipeline->topic_count; i++) {
        const struct topic *topic = check->pipeline->topics[i];
        if (is_brokers_own(check->pipeline, topic->name))
            problem_add(check->problems, topic->place, "own_topic",
                        "topic '%s' is Kafka's own, and no event is on it; give the topic another name", topic->name);
        if (is_notes_topic(check->pipeline, topic->name))
            problem_add(check->problems, topic->place, "own_topic",
                        "topic '%s' is the engine's own: without a store it notes there what became of dead letters; "
                        "give the topic another name",
                        topic->name);
    }
}

/* Options that only one bus has are reported when the pipeline is on another. */
static void check_bus(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    if (pipeline->bus.replication != 0 && pipeline->bus.kind != BUS_CHOICE_KAFKA)
        problem_warn(check->problems, pipeline->bus.place, "no_effect",
                     "bus.replication is for kafka; on this bus it does nothing");
    for (size_t i = 0; i < pipeline->topic_count && pipeline->bus.kind != BUS_CHOICE_KAFKA; i++)
        if (pipeline->topics[i]->partitions != 0 || pipeline->topics[i]->replication != 0)
            problem_warn(check->problems, pipeline->topics[i]->place, "no_effect",
                         "topic '%s': 'partitions' and 'replication' are for kafka; on this bus they do nothing",
                         pipeline->topics[i]->name);
}

/* A path parameter that its handler does not read is misspelt, or the handler ignores part of the request. */
static void check_requests(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    for (size_t i = 0; i < pipeline->request_count; i++) {
        const struct request *request = &pipeline->requests[i];
        for (size_t s = 0; s < request->segment_count; s++) {
            const char *names[257] = {NULL}, *segment = request->segments[s];
            size_t count = 0, length = strlen(segment);
            bool read = false;
            if (segment[0] != '{' || request->binding->emits)
                continue;
            for (const struct sluice_field *field = request->binding->input;
                 field != NULL && field->name != NULL && count < 256; field++) {
                if (field->nested != 0)
                    continue;
                names[count++] = field->name;
                read = read ||
                       (strlen(field->name) == length - 2 && strncmp(field->name, segment + 1, length - 2) == 0);
            }
            if (read)
                continue;
            const char *name = arena_string(pipeline->arena, (struct span){segment + 1, length - 2}),
                       *near = nearest_name(name, names);
            problem_warn(check->problems, request->place, "unread_parameter",
                         "\"%s %s\": handler %s reads no field '%s'%s%s%s", request->method, request->path,
                         request->binding->handler_name, name, near != NULL ? "; did you mean '" : "",
                         near != NULL ? near : "", near != NULL ? "'?" : "");
        }
    }
}

static void check_dependencies(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    for (size_t i = 0; i < pipeline->dependency_count; i++) {
        const struct dependency *dependency = &pipeline->dependencies[i];
        bool needed = false;
        for (size_t b = 0; b < pipeline->binding_count && !needed; b++)
            needed = pipeline->bindings[b]->dependency == dependency;
        if (!needed)
            problem_warn(check->problems, dependency->place, "unused",
                         "no topic depends on '%s'; say topics: {TOPIC: {dependency: %s}}", dependency->name,
                         dependency->name);
    }
}

enum { CHECK_IN_MEMORY_MS = 60000 };

/* What waits in memory keeps Kafka's position where it is. */
static void check_delays(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    char delay_text[32];
    for (size_t b = 0; b < pipeline->binding_count; b++)
        for (size_t r = 0; r < pipeline->bindings[b]->route_count; r++) {
            const struct route *route = &pipeline->bindings[b]->routes[r];
            int64_t longest_ms = route->kind == ROUTE_LADDER
                                     ? ladder_delay_ms(&route->ladder, route->ladder.max_retries - 1)
                                     : 0;
            for (size_t t = 0; t < route->target_count; t++)
                longest_ms = route->targets[t].delay_ms > longest_ms ? route->targets[t].delay_ms : longest_ms;
            if (longest_ms <= CHECK_IN_MEMORY_MS || pipeline->store.present || pipeline->bus.kind != BUS_CHOICE_KAFKA)
                continue;
            problem_warn(
                check->problems, route->place, "delay_in_memory",
                "'%s' of %s has a delay of %s, which is waited for in memory, as 'store' is missing: until then "
                "its position is not committed, and a restart handles again what came after it; add a store, "
                "or make the delay a minute at most",
                route->outcome, pipeline->bindings[b]->handler_name, duration_text(longest_ms, delay_text));
        }
}

static void check_outbox_table(const struct check *check)
{
    const struct pipeline *pipeline = check->pipeline;
    for (size_t i = 0; i < pipeline->outbox_table.topic_count; i++) {
        const struct topic *topic = pipeline_topic(pipeline, pipeline->outbox_table.topics[i]);
        if (topic != NULL && !topic->is_dead_letter && !check->emitted[topic->number])
            problem_warn(check->problems, pipeline->outbox_table.place, "never_emitted",
                         "outbox_table has topic '%s', to which nothing here emits: only what this pipeline emits is "
                         "written to it",
                         topic->name);
    }
}

void pipeline_check(const struct pipeline *pipeline, struct problems *problems)
{
    struct check check;
    check_begin(&pipeline, 1, problems, &check);
    check.pipeline = pipeline;
    check_ends(&check);
    check_taps(&check);
    check_names(&check);
    check_own_topics(&check);
    check_bus(&check);
    check_requests(&check);
    check_dependencies(&check);
    check_outbox_table(&check);
    check_delays(&check);
    check_answers(&check);
    check_cycles(&check);
    check_fan_out(&check);
    check_keys(&check);
    check_chains(&check);
    check_retains(&check);
    check_holds(&check);
    check_timers(&check);
    check_fields(&check);
}
