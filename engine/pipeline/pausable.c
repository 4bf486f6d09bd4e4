/*
 * pausable.c - see pausable.h.
 */
#include "pipeline/pausable.h"

static bool has_handler_named(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->binding_count; i++)
        if (strcmp(pipeline->bindings[i]->handler_name, name) == 0)
            return true;
    return false;
}

bool pausable_exists(const struct pipeline *pipeline, enum pause_kind kind, const char *name, bool *ret_idle)
{
    const struct topic *topic = kind == PAUSE_TOPIC ? pipeline_topic(pipeline, name) : NULL;
    *ret_idle = topic != NULL && topic->binding == NULL;
    if (kind == PAUSE_TOPIC)
        return topic != NULL && topic->binding != NULL;
    for (size_t i = 0; kind == PAUSE_TAP && i < pipeline->tap_count; i++)
        if (strcmp(pipeline->taps[i].name, name) == 0)
            return true;
    for (size_t i = 0; kind == PAUSE_SCHEDULE && i < pipeline->schedule_count; i++)
        if (strcmp(pipeline->schedules[i].name, name) == 0)
            return true;
    for (size_t i = 0; (kind == PAUSE_DEPENDENCY || kind == PAUSE_BREAKER) && i < pipeline->dependency_count; i++)
        if (strcmp(pipeline->dependencies[i].name, name) == 0)
            return true;
    return kind == PAUSE_HANDLER && has_handler_named(pipeline, name);
}

const char **pausable_names(const struct pipeline *pipeline, struct arena *arena)
{
    size_t most = pipeline->topic_count + pipeline->binding_count + pipeline->tap_count + pipeline->schedule_count +
                  pipeline->dependency_count;
    const char **names = arena_array(arena, const char *, most + 1);
    size_t count = 0;
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (pipeline->topics[i]->binding != NULL)
            names[count++] = pipeline->topics[i]->name;
    for (size_t i = 0; i < pipeline->binding_count; i++)
        names[count++] = pipeline->bindings[i]->handler_name;
    for (size_t i = 0; i < pipeline->tap_count; i++)
        names[count++] = pipeline->taps[i].name;
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        names[count++] = pipeline->schedules[i].name;
    for (size_t i = 0; i < pipeline->dependency_count; i++)
        names[count++] = pipeline->dependencies[i].name;
    return names;
}

static bool covers_handler(const struct pause *pause, const struct binding *binding)
{
    return pause->kind == PAUSE_HANDLER && strcmp(pause->name, binding->handler_name) == 0;
}

/* What an operator pauses, and what its own breaker does. */
static bool covers_dependency(const struct pause *pause, const struct binding *binding)
{
    return (pause->kind == PAUSE_DEPENDENCY || pause->kind == PAUSE_BREAKER) && binding->dependency != NULL &&
           strcmp(pause->name, binding->dependency->name) == 0;
}

bool pause_covers_topic(const struct pause *pause, const struct topic *topic)
{
    return topic->binding != NULL &&
           ((pause->kind == PAUSE_TOPIC && strcmp(pause->name, topic->name) == 0) ||
            covers_handler(pause, topic->binding) || covers_dependency(pause, topic->binding));
}

bool pause_covers_tap(const struct pause *pause, const struct tap *tap)
{
    return (pause->kind == PAUSE_TAP && strcmp(pause->name, tap->name) == 0) || covers_handler(pause, tap->binding);
}

bool pause_covers_binding(const struct pause *pause, const struct pipeline *pipeline, const struct binding *binding)
{
    for (size_t i = 0; i < pipeline->schedule_count; i++)
        if (pipeline->schedules[i].binding == binding && pause->kind == PAUSE_SCHEDULE &&
            strcmp(pause->name, pipeline->schedules[i].name) == 0)
            return true;
    if (binding->group != NULL && binding->group->tap != NULL)
        return pause_covers_tap(pause, binding->group->tap);
    return covers_handler(pause, binding);
}
