/*
 * check_ways.c - how long an event may be on its way to a step of a chain: what retry ladders and delays on routes add
 * up to, in all files together. Tries in place are not counted: they are short, or an outage.
 */
#include "pipeline/check.h"

#include "base/backoff.h"

enum way_state { WAY_NEW = 0, WAY_OPEN, WAY_KNOWN };

struct ways {
    const struct check *check;
    const struct chain *chain;
    struct way_from *from; /* by number */
};

/* From a topic on: the longest, and where it goes first. */
struct way_from {
    enum way_state state;
    bool leads;                    /* to a step at all */
    int64_t total_ms;              /* 0: it ends here, or nothing on it takes time */
    const struct binding *binding; /* NULL: it ends here */
    const struct route *route;
    const struct route_target *target; /* NULL: by way of the ladder's `exhausted` */
};

int64_t ladder_total_ms(const struct ladder *ladder)
{
    return backoff_total_ms(ladder->initial_interval_ms, ladder->multiplier, ladder->max_interval_ms,
                            ladder->max_retries);
}

static int64_t ladder_ms(const struct binding *binding)
{
    return binding->ladder == NULL ? 0 : ladder_total_ms(binding->ladder);
}

static const struct way_from *ways_visit(struct ways *ways, const struct topic *topic);

static void ways_follow(struct ways *ways, struct way_from *best, const struct binding *binding,
                        const struct route *route, const struct route_target *target)
{
    const struct topic *to = target != NULL ? target->topic : route->ladder.exhausted;
    const struct way_from *rest = ways_visit(ways, to);
    int64_t total_ms = ladder_ms(binding) + (target != NULL ? target->delay_ms : 0) + rest->total_ms;
    if (rest->state != WAY_KNOWN || !rest->leads || (best->leads && total_ms <= best->total_ms))
        return; /* a cycle is a problem of its own */
    best->leads = true;
    best->total_ms = total_ms;
    best->binding = binding;
    best->route = route;
    best->target = target;
}

static const struct way_from *ways_visit(struct ways *ways, const struct topic *topic)
{
    struct way_from *best = &ways->from[topic->number];
    const struct shared_topic *shared = &ways->check->topics[topic->number];
    if (best->state != WAY_NEW)
        return best;
    best->state = WAY_OPEN;
    for (size_t s = 0; s < ways->chain->step_count; s++)
        best->leads = best->leads || ways->chain->steps[s].done->number == topic->number;
    for (size_t i = 0; i < shared->count; i++) {
        const struct binding *binding = shared->list[i]->binding;
        for (size_t r = 0; binding != NULL && r < binding->route_count; r++) {
            const struct route *route = &binding->routes[r];
            for (size_t t = 0; t < route->target_count; t++)
                ways_follow(ways, best, binding, route, &route->targets[t]);
            if (route->kind == ROUTE_LADDER)
                ways_follow(ways, best, binding, route, NULL);
        }
    }
    best->state = WAY_KNOWN;
    return best;
}

static void way_part(const struct check *check, struct way *way, const char *text)
{
    way->text = way->parts == 0 ? text : arena_format(check->arena, "%s, %s", way->text, text);
    way->parts++;
}

/* In words: what of it takes time. */
static void way_describe(const struct ways *ways, const struct topic *topic, struct place place, struct way *way)
{
    const struct check *check = ways->check;
    char text[32];
    for (const struct way_from *at = &ways->from[topic->number]; at->binding != NULL;
         at = &ways->from[(at->target != NULL ? at->target->topic : at->route->ladder.exhausted)->number]) {
        const char *file = check_other_file(check, place, at->binding->place);
        if (at->binding->ladder != NULL) {
            way->ladder = at->binding;
            way_part(check, way,
                     arena_format(check->arena, "%s on the retry ladder on '%s'%s",
                                  duration_text(ladder_ms(at->binding), text), at->binding->ladder->topic->name, file));
        }
        if (at->target != NULL && at->target->delay_ms > 0)
            way_part(check, way,
                     arena_format(check->arena, "%s on the route '%s' of %s%s to '%s'",
                                  duration_text(at->target->delay_ms, text), at->route->outcome,
                                  at->binding->handler_name, file, at->target->topic->name));
    }
}

struct way check_longest_way(const struct check *check, const struct chain *chain, const struct topic *from,
                             struct place place)
{
    struct ways ways = {
        .check = check, .chain = chain, .from = arena_array(check->arena, struct way_from, check->topic_count + 1)};
    const struct topic *longest = from;
    struct way way = {0};
    if (from != NULL)
        (void)ways_visit(&ways, from);
    for (size_t i = 0; from == NULL && i < check->topic_count; i++) {
        const struct topic *topic = check->topics[i].list[0];
        if (ways_visit(&ways, topic)->total_ms > (longest == NULL ? 0 : ways.from[longest->number].total_ms))
            longest = topic;
    }
    if (longest == NULL)
        return way;
    way.total_ms = ways.from[longest->number].total_ms;
    way_describe(&ways, longest, place, &way);
    return way;
}
