/*
 * tracing.c - see tracing.h.
 */
#include "cli/tracing.h"

#include "trace/tracer.h"

static struct tracer_options tracing_options_of(const struct pipeline *pipeline, struct arena *arena)
{
    static const char *const messaging[] = {
        [BUS_CHOICE_MEMORY] = "memory", [BUS_CHOICE_POSTGRES] = "postgresql", [BUS_CHOICE_KAFKA] = "kafka"};
    struct trace_header *headers = arena_array(arena, struct trace_header, pipeline->tracing.header_count + 1);
    for (size_t i = 0; i < pipeline->tracing.header_count; i++)
        headers[i] = (struct trace_header){pipeline->tracing.header_names[i], pipeline->tracing.header_values[i]};
    return (struct tracer_options){.url = pipeline->tracing.url,
                                   .headers = headers,
                                   .header_count = pipeline->tracing.header_count,
                                   .sample = pipeline->tracing.sample,
                                   .service = pipeline->name,
                                   .messaging = messaging[pipeline->bus.kind]};
}

int tracing_open(const struct parts *parts, struct tracer **ret, struct error *error)
{
    if (parts->pipeline->tracing.url == NULL)
        return 0;
    struct tracer_options options = tracing_options_of(parts->pipeline, parts->arena);
    options.instance = parts->engine;
    options.metrics = parts->metrics;
    return tracer_create(&options, ret, error);
}

void tracing_connect(const struct pipeline *pipeline, struct problems *problems)
{
    struct error error = {0};
    if (pipeline->tracing.url == NULL)
        return;
    struct tracer_options options = tracing_options_of(pipeline, problems->arena);
    if (tracer_probe(&options, &error) != 0)
        problem_warn(problems, pipeline->tracing.place, "tracing", "tracing: %s", error.text);
}
