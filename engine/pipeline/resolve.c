/*
 * resolve.c - joins what the file says with what the plugins declare, and finds which topics each group has work on.
 */
#include "pipeline/chain_definition.h"

#include <math.h>

/* Rows of a plugin's table are as long as its header said; the loader has copied them to ours. */
static size_t outcome_count_of(const struct sluice_outcome *outcomes)
{
    size_t count = 0;
    while (outcomes != NULL && outcomes[count].name != NULL)
        count++;
    return count;
}

static const char *kind_word(uint32_t kind)
{
    return kind == SLUICE_REQUEST ? "requests" : kind == SLUICE_SCHEDULE ? "schedules" : "events";
}

static void resolve_handler(struct pipeline *pipeline, struct binding *binding, uint32_t kind,
                            struct problems *problems)
{
    const struct sluice_plugin *plugin = binding->plugin == NULL ? NULL : binding->plugin->plugin;
    const char *names[256] = {NULL}, *word = strchr(binding->handler_name, '.');
    size_t count = 0;
    if (plugin == NULL || word == NULL) {
        pipeline->whole = false; /* the problem is reported at the plugin */
        return;
    }
    for (const struct sluice_handler *handler = plugin->handlers;
         handler != NULL && handler->name != NULL && count < 255; handler++) {
        names[count++] = handler->name;
        if (strcmp(handler->name, word + 1) == 0)
            binding->handler = handler;
    }
    if (binding->handler == NULL) {
        const char *near = nearest_name(word + 1, names);
        problem_add(problems, binding->place, "unknown_handler", "plugin '%s' has no handler '%s'%s%s%s", plugin->name,
                    word + 1, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                    near != NULL ? "'?" : "");
        return;
    }
    if (binding->handler->kind != kind) {
        problem_add(problems, binding->place, "wrong_kind", "handler %s is for %s; here stands one for %s",
                    binding->handler_name, kind_word(binding->handler->kind), kind_word(kind));
        binding->handler = NULL;
        return;
    }
    if (binding->handler->uses_store && !pipeline->store.present)
        problem_add(problems, binding->place, "missing_key", "handler %s works in the database; 'store' is missing",
                    binding->handler_name);
    binding->input = binding->handler->input;
    binding->outcomes = binding->handler->outcomes;
    binding->sets = binding->handler->sets;
    binding->outcome_count = outcome_count_of(binding->outcomes);
}

/* Every outcome has a route; nothing is ever dropped by default, but by a tap: it watches, and its outcomes lead
 * nowhere unless a route says where. */
static void resolve_routes(struct pipeline *pipeline, struct binding *binding, bool optional, struct problems *problems)
{
    static const struct route drop = {.kind = ROUTE_DROP};
    const char **names = arena_array(pipeline->arena, const char *, binding->outcome_count + 1);
    binding->by_outcome = arena_array(pipeline->arena, const struct route *, binding->outcome_count + 1);
    for (size_t o = 0; o < binding->outcome_count; o++)
        names[o] = binding->outcomes[o].name;
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        bool found = false;
        for (size_t o = 0; o < binding->outcome_count; o++)
            if (strcmp(names[o], route->outcome) == 0) {
                binding->by_outcome[o] = route;
                found = true;
            }
        if (!found && binding->handler != NULL) {
            const char *near = nearest_name(route->outcome, names);
            problem_add(problems, route->place, "unknown_outcome", "handler %s has no outcome '%s'%s%s%s",
                        binding->handler_name, route->outcome, near != NULL ? "; did you mean '" : "",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
        }
        if (route->kind == ROUTE_LADDER && binding->ladder == NULL)
            binding->ladder = &route->ladder;
        else if (route->kind == ROUTE_LADDER)
            problem_add(problems, route->place, "second_ladder",
                        "handler %s has a second retry ladder here; one of its outcomes may climb",
                        binding->handler_name);
        if (route->kind == ROUTE_LADDER && optional)
            problem_add(problems, route->place, "ladder_place", "a retry ladder belongs to a topic's handler");
    }
    for (size_t o = 0; o < binding->outcome_count; o++)
        if (binding->by_outcome[o] == NULL && optional)
            binding->by_outcome[o] = &drop;
        else if (binding->by_outcome[o] == NULL)
            problem_add(problems, binding->place, "missing_route",
                        "outcome '%s' of %s (%s) has no route; say a topic, drop, or a retry ladder", names[o],
                        binding->handler_name, binding->outcomes[o].help == NULL ? "" : binding->outcomes[o].help);
}

bool binding_is_recorded(const struct binding *binding)
{
    if (binding->group == NULL || binding->group->tap == NULL || binding->handler->uses_store)
        return true;
    for (size_t i = 0; i < binding->outcome_count; i++)
        if (binding->by_outcome[i] != NULL && binding->by_outcome[i]->kind != ROUTE_DROP)
            return true;
    return false;
}

bool topics_have(const char *const *list, size_t count, const struct topic *topic)
{
    for (size_t t = 0; t < count; t++) {
        size_t length = strlen(list[t]);
        bool prefix = length > 0 && list[t][length - 1] == '*';
        if (prefix ? !topic->is_dead_letter && strncmp(list[t], topic->name, length - 1) == 0
                   : strcmp(list[t], topic->name) == 0)
            return true;
    }
    return false;
}

bool tap_sees(const struct tap *tap, const struct topic *topic)
{
    return topics_have(tap->topics, tap->topic_count, topic);
}

int64_t pipeline_longest_call_ms(const struct pipeline *pipeline)
{
    int64_t longest_ms = 0;
    for (size_t i = 0; i < pipeline->binding_count; i++)
        if (pipeline->bindings[i]->timeout_ms > longest_ms)
            longest_ms = pipeline->bindings[i]->timeout_ms;
    return longest_ms;
}

int64_t pipeline_longest_delay_ms(const struct pipeline *pipeline)
{
    int64_t longest = 0;
    for (size_t u = 0; u < pipeline->binding_count; u++) {
        const struct binding *binding = pipeline->bindings[u];
        double delay = binding->retry.max_retries == 0 ? 0 : (double)binding->retry.max_interval_ms;
        for (size_t r = 0; r < binding->route_count; r++) {
            const struct ladder *ladder = &binding->routes[r].ladder;
            if (binding->routes[r].kind != ROUTE_LADDER)
                continue;
            double last = (double)ladder->initial_interval_ms * pow(ladder->multiplier, ladder->max_retries - 1);
            last = last > (double)ladder->max_interval_ms ? (double)ladder->max_interval_ms : last;
            delay = last > delay ? last : delay;
        }
        longest = delay > (double)longest ? (int64_t)delay : longest;
    }
    return longest;
}

static bool chain_has_work(const struct topic *topic)
{
    for (size_t i = 0; i < topic->watch_count; i++) {
        const struct chain_watch *watch = &topic->watches[i];
        if (watch->role == CHAIN_ABORT || watch->role == CHAIN_STEP_UNDONE ||
            (watch->role == CHAIN_DONE &&
             (watch->chain->steps[watch->step].undo != NULL || chain_followed(watch->chain))))
            return true;
    }
    return false;
}

const char *pipeline_notes_topic(const char *group, struct arena *arena)
{
    return arena_format(arena, "%s.dead-letters", group);
}

const char *pipeline_url(const struct pipeline *pipeline, struct arena *arena)
{
    const char *host = pipeline->http.host;
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    if (strcmp(host, "::") == 0)
        host = "::1";
    bool brackets = strchr(host, ':') != NULL;
    return arena_format(arena, "http://%s%s%s:%d", brackets ? "[" : "", host, brackets ? "]" : "",
                        (int)pipeline->http.port);
}

/* `name`, or what `renamed` says that its new name is. */
static bool is_called(const struct pipeline *pipeline, const char *now, struct span name)
{
    bool called = span_is(name, now);
    for (size_t i = 0; i < pipeline->answer_count && !called; i++)
        called = pipeline->answers[i].new_name != NULL && strcmp(pipeline->answers[i].new_name, now) == 0 &&
                 span_is(name, pipeline->answers[i].old);
    return called;
}

bool group_is_called(const struct pipeline *pipeline, const struct group *group, struct span name)
{
    if (span_is(name, group->name))
        return true;
    if (group->tap == NULL)
        return group->retired == NULL && is_called(pipeline, group->name, name);
    for (size_t i = 0; i < name.length; i++)
        if (name.at[i] == '.' && is_called(pipeline, pipeline->engine.group, (struct span){name.at, i}) &&
            is_called(pipeline, group->tap->name, (struct span){name.at + i + 1, name.length - i - 1}))
            return true;
    return false;
}

static void resolve_groups(struct pipeline *pipeline)
{
    pipeline->group_count = pipeline->tap_count + 1;
    pipeline->groups = arena_array(pipeline->arena, struct group, pipeline->group_count + pipeline->retired_count);
    struct group *own = &pipeline->groups[0];
    own->name = pipeline->engine.group;
    own->lanes = (uint32_t)pipeline->engine.lanes;
    own->topics = arena_array(pipeline->arena, const char *, pipeline->topic_count + 1);
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        if (topic->binding != NULL)
            topic->binding->group = own;
        if (topic->binding != NULL || chain_has_work(topic))
            own->topics[own->topic_count++] = topic->name;
    }
    for (size_t i = 0; i < pipeline->tap_count; i++) {
        struct tap *tap = &pipeline->taps[i];
        struct group *group = &pipeline->groups[i + 1];
        *group = (struct group){.index = (uint32_t)i + 1,
                                .name = arena_format(pipeline->arena, "%s.%s", own->name, tap->name),
                                .tap = tap,
                                .topics = (const char **)tap->topics,
                                .topic_count = tap->topic_count,
                                .lanes = tap->lanes};
        tap->binding->group = group;
    }
    for (size_t i = 0; i < pipeline->answer_count; i++) {
        const struct name_answer *answer = &pipeline->answers[i];
        if (answer->new_name != NULL)
            continue;
        pipeline->groups[pipeline->group_count] = (struct group){
            .index = (uint32_t)pipeline->group_count,
            .name = arena_format(pipeline->arena, "%s.%s", own->name, answer->old),
            .retired = answer,
            .topics = arena_array(pipeline->arena, const char *, 1),
            .lanes = 1};
        pipeline->group_count++;
    }
}

void pipeline_resolve(struct pipeline *pipeline, struct problems *problems)
{
    size_t before = problems->errors;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        struct topic *topic = pipeline->topics[i];
        if (topic->binding == NULL || topic->ladder_of != NULL)
            continue;
        resolve_handler(pipeline, topic->binding, SLUICE_EVENT, problems);
        resolve_routes(pipeline, topic->binding, false, problems);
    }
    for (size_t i = 0; i < pipeline->tap_count; i++) {
        resolve_handler(pipeline, pipeline->taps[i].binding, SLUICE_EVENT, problems);
        resolve_routes(pipeline, pipeline->taps[i].binding, true, problems);
    }
    for (size_t i = 0; i < pipeline->schedule_count; i++) {
        resolve_handler(pipeline, pipeline->schedules[i].binding, SLUICE_SCHEDULE, problems);
        resolve_routes(pipeline, pipeline->schedules[i].binding, false, problems);
    }
    for (size_t i = 0; i < pipeline->request_count; i++) {
        if (pipeline->requests[i].binding->emits)
            resolve_emit(pipeline, pipeline->requests[i].binding);
        else
            resolve_handler(pipeline, pipeline->requests[i].binding, SLUICE_REQUEST, problems);
        resolve_routes(pipeline, pipeline->requests[i].binding, false, problems);
    }
    resolve_groups(pipeline);
    pipeline->whole = pipeline->whole && problems->errors == before;
    for (size_t i = 0; pipeline->whole && i < pipeline->chain_count; i++)
        pipeline->chains[i].definition = chain_definition_write(&pipeline->chains[i], pipeline->arena);
}
