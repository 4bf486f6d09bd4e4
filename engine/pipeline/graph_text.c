/*
 * graph_text.c - the flow in lines, a block for each file: topics with their handlers and routes, and beside a topic
 * of several files, who emits to it and who reads it.
 */
#include "pipeline/graph.h"

#include "base/number.h"

static void text_targets(const struct route *route, struct buffer *out)
{
    char delay[32];
    for (size_t t = 0; t < route->target_count; t++) {
        const struct route_target *target = &route->targets[t];
        buffer_format(out, "%s→ %s%s%s", t > 0 ? ", " : "", target->topic->name, target->delay_ms > 0 ? " after " : "",
                      target->delay_ms > 0 ? duration_text(target->delay_ms, delay) : "");
    }
    buffer_byte(out, '\n');
}

static void text_routes(const struct binding *binding, struct buffer *out)
{
    char delay[32], factor[NUMBER_TEXT_MAX];
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        const struct ladder *ladder = &route->ladder;
        buffer_format(out, "      %-12s ", route->outcome);
        if (route->kind == ROUTE_DROP)
            buffer_text(out, "nothing\n");
        else if (route->kind == ROUTE_TOPIC)
            text_targets(route, out);
        else
            buffer_format(out, "→ %s, again after %s (× %s), %d times, then → %s\n", ladder->topic->name,
                          duration_text(ladder->initial_interval_ms, delay), number_text(ladder->multiplier, 6, factor),
                          ladder->max_retries, ladder->exhausted->name);
    }
}

static void text_timers(const struct topic *topic, struct buffer *out)
{
    char after[32];
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain *chain = topic->watches[w].chain;
        for (size_t t = 0; topic->watches[w].role == CHAIN_DONE && t < chain->timer_count; t++) {
            const struct chain_timer *timer = &chain->timers[t];
            if (timer->from != topic)
                continue;
            buffer_format(out, "      chain %s: timer, after %s → %s", chain->name,
                          duration_text(timer->after_ms, after), timer->emit->name);
            for (size_t i = 0; i < timer->cancel_count; i++)
                buffer_format(out, "%s%s", i == 0 ? ", unless " : " or ", timer->cancel_on[i]->name);
            buffer_byte(out, '\n');
        }
    }
}

static void text_emitted(const struct binding *binding, struct buffer *out)
{
    for (size_t r = 0; r < binding->route_count; r++)
        buffer_format(out, "      → %s\n", binding->routes[r].targets[0].topic->name);
}

static void text_requests(const struct pipeline *pipeline, struct buffer *out)
{
    for (size_t i = 0; i < pipeline->request_count; i++) {
        buffer_format(out, "\n  %s  %s\n", pipeline->requests[i].binding->id,
                      pipeline->requests[i].binding->handler_name);
        if (pipeline->requests[i].binding->emits)
            text_emitted(pipeline->requests[i].binding, out);
        else
            text_routes(pipeline->requests[i].binding, out);
    }
}

static void text_schedules(const struct pipeline *pipeline, struct buffer *out)
{
    char every[32];
    for (size_t i = 0; i < pipeline->schedule_count; i++) {
        const struct schedule *schedule = &pipeline->schedules[i];
        if (schedule->every_ms > 0)
            buffer_format(out, "\n  every %s", duration_text(schedule->every_ms, every));
        else
            buffer_format(out, "\n  cron %s %s", schedule->cron_text, schedule->timezone);
        buffer_format(out, "  %s  %s\n", schedule->name, schedule->binding->handler_name);
        text_routes(schedule->binding, out);
    }
}

static void text_handler(const struct topic *topic, struct buffer *out)
{
    const struct binding *binding = topic->binding;
    buffer_format(out, "\n  [%s]%s%s", topic->name, topic->key_text != NULL ? "  key " : "",
                  topic->key_text != NULL ? topic->key_text : "");
    if (topic->ladder_of != NULL)
        buffer_format(out, "  retries of %s, same handler\n", topic->ladder_of->name);
    else if (binding != NULL)
        buffer_format(out, "  %s%s%s\n", binding->handler_name, binding->dependency != NULL ? "  needs " : "",
                      binding->dependency != NULL ? binding->dependency->name : "");
    else
        buffer_text(out, topic->elsewhere ? "  elsewhere\n" : topic->final ? "  final\n" : "  no handler\n");
}

/* Which of the files emit to the topic or read it, when several name it. */
static void text_files(const struct graph *graph, const struct topic *topic, struct buffer *out)
{
    static bool (*const does[])(const struct graph *, size_t, size_t) = {graph_emits, graph_reads};
    static const char *const what[] = {"emitted by", "read by"};
    size_t box = graph_topic(graph, topic->name);
    for (size_t d = 0; graph_is_shared(graph, box) && d < 2; d++) {
        const char *before = arena_format(graph->arena, "      %-12s ", what[d]);
        for (size_t c = 0; c < graph->count; c++)
            if (does[d](graph, box, c)) {
                buffer_format(out, "%s%s", before, graph->pipelines[c]->name);
                before = ", ";
            }
        if (before[0] == ',')
            buffer_byte(out, '\n');
    }
}

static void text_topic(const struct graph *graph, const struct topic *topic, struct buffer *out)
{
    static const char *const roles[] = {"", "does step", "aborts", "says undone of step", "undoes step"};
    char at_most[32];
    bool own = topic->binding != NULL && topic->ladder_of == NULL;
    text_handler(topic, out);
    text_files(graph, topic, out);
    if (own && topic->binding->limit != NULL)
        buffer_format(out, "      at most     %s\n", topic->binding->limit->text);
    if (topic->after != NULL)
        buffer_format(out, "      after       %s with its %s, waits at most %s, then %s\n", topic->after->topic->name,
                      topic->after->correlate, duration_text(topic->after->at_most_ms, at_most),
                      topic->after->handle ? "is handled" : "dead letter");
    if (own)
        text_routes(topic->binding, out);
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain_watch *watch = &topic->watches[w];
        buffer_format(out, "      chain %s: %s %s\n", watch->chain->name, roles[watch->role],
                      watch->step >= 0 ? watch->chain->steps[watch->step].name : "it");
    }
    text_timers(topic, out);
}

static void text_lookers_on(const struct pipeline *pipeline, struct buffer *out)
{
    for (size_t t = 0; t < pipeline->tap_count; t++) {
        buffer_format(out, "\n  tap %s  %s  watches", pipeline->taps[t].name, pipeline->taps[t].binding->handler_name);
        for (size_t i = 0; i < pipeline->taps[t].topic_count; i++)
            buffer_format(out, " %s", pipeline->taps[t].topics[i]);
        buffer_byte(out, '\n');
    }
    if (pipeline->outbox_table.name == NULL)
        return;
    buffer_format(out, "\n  outbox table %s  gets", pipeline->outbox_table.name);
    for (size_t i = 0; i < pipeline->outbox_table.topic_count; i++)
        buffer_format(out, " %s", pipeline->outbox_table.topics[i]);
    buffer_byte(out, '\n');
}

void graph_text(const struct graph *graph, struct buffer *out)
{
    for (size_t c = 0; c < graph->count; c++) {
        const struct pipeline *pipeline = graph->pipelines[c];
        buffer_format(out, "%s%s\n", c > 0 ? "\n" : "", pipeline->name);
        text_requests(pipeline, out);
        text_schedules(pipeline, out);
        for (size_t i = 0; i < pipeline->topic_count; i++)
            if (!pipeline->topics[i]->is_dead_letter)
                text_topic(graph, pipeline->topics[i], out);
        text_lookers_on(pipeline, out);
    }
}
