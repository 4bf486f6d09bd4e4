/*
 * check_edges.c - the edges of the flow: where a binding emits to, and whether a tap sees a topic.
 */
#include "pipeline/check.h"

void binding_targets(const struct binding *binding, target_function each, void *context)
{
    for (size_t r = 0; r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        for (size_t t = 0; t < route->target_count; t++)
            each(route, route->targets[t].topic, context);
        if (route->kind == ROUTE_LADDER) {
            each(route, route->ladder.topic, context);
            each(route, route->ladder.exhausted, context);
        }
    }
}

void timer_targets(const struct topic *topic, target_function each, void *context)
{
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain *chain = topic->watches[w].chain;
        for (size_t t = 0; topic->watches[w].role == CHAIN_DONE && t < chain->timer_count; t++) {
            const struct route route = {.place = chain->timers[t].place, .outcome = "timer", .kind = ROUTE_TOPIC};
            if (chain->timers[t].from == topic)
                each(&route, chain->timers[t].emit, context);
        }
    }
}

/* A pattern matches a misspelt name too, so only a declared topic counts as tapped by one. */
bool topic_tapped(const struct pipeline *pipeline, const struct topic *topic)
{
    for (size_t i = 0; i < pipeline->tap_count; i++)
        for (size_t t = 0; t < pipeline->taps[i].topic_count; t++)
            if (strcmp(pipeline->taps[i].topics[t], topic->name) == 0 ||
                (topic->declared && tap_sees(&pipeline->taps[i], topic)))
                return true;
    return false;
}
