/*
 * check.c - the saga-aware checks: what a file that reads well would still do wrong.
 *
 * Works on the resolved pipeline alone, offline. Each finding is a sentence with a place.
 */
#include "pipeline/check.h"

static bool tapped(const struct pipeline *pipeline, const char *name)
{
    for (size_t i = 0; i < pipeline->tap_count; i++)
        for (size_t t = 0; t < pipeline->taps[i].topic_count; t++) {
            const char *pattern = pipeline->taps[i].topics[t];
            size_t length = strlen(pattern);
            if (length > 0 && pattern[length - 1] == '*' ? strncmp(pattern, name, length - 1) == 0 : strcmp(pattern, name) == 0)
                return true;
        }
    return false;
}

/* Calls each(target) for every topic that a use emits to. */
void use_targets(const struct use *use, void (*each)(const struct route *route, struct topic *target, void *context), void *context)
{
    for (size_t r = 0; r < use->route_count; r++) {
        const struct route *route = &use->routes[r];
        if (route->kind == ROUTE_TOPIC)
            each(route, route->topic, context);
        if (route->kind == ROUTE_LADDER) {
            each(route, route->ladder.topic, context);
            each(route, route->ladder.exhausted, context);
        }
    }
}

struct walk {
    const struct pipeline *pipeline;
    struct problems *problems;
    bool *emitted;            /* by topic: something here emits to it */
    unsigned char *color;     /* by topic: 0 new, 1 on the path, 2 done */
    const struct topic **path;
    size_t depth;
};

static void mark_emitted(const struct route *route, struct topic *target, void *context)
{
    (void)route;
    ((struct walk *)context)->emitted[target->index] = true;
}

static void check_ends(struct walk *walk)
{
    const struct pipeline *pipeline = walk->pipeline;
    for (size_t i = 0; i < pipeline->use_count; i++)
        use_targets(pipeline->uses[i], mark_emitted, walk);
    for (size_t c = 0; c < pipeline->chain_count; c++)
        for (size_t s = 0; s < pipeline->chains[c].step_count; s++)
            if (pipeline->chains[c].steps[s].undo != NULL)
                walk->emitted[pipeline->chains[c].steps[s].undo->index] = true;
    for (size_t i = 0; i < pipeline->topic_count; i++) {
        const struct topic *topic = pipeline->topics[i];
        if (walk->emitted[i] && topic->use == NULL && !topic->final && !topic->is_dead_letter && topic->watch_count == 0 && !tapped(pipeline, topic->name))
            problem_add(walk->problems, topic->place, "unhandled",
                        "events go to topic '%s', and nobody handles, taps or watches it; give it a handler or a tap, or say topics.%s: {final: true}",
                        topic->name, topic->name);
        if (topic->declared && topic->use == NULL && !topic->final && !walk->emitted[i] && topic->watch_count == 0 && !tapped(pipeline, topic->name))
            problem_warn(walk->problems, topic->place, "unused", "topic '%s' is declared, and nothing emits, handles, taps or watches it", topic->name);
    }
}

/* ---------------------------------------------------------------------------------------------------------- cycles */

static void visit(struct walk *walk, const struct topic *topic);


static void visit_edge(const struct route *route, struct topic *target, void *context)
{
    struct walk *walk = context;
    if (route->kind == ROUTE_LADDER && target == route->ladder.topic)
        return; /* a ladder is a bound */
    if (walk->color[target->index] == 0) {
        visit(walk, target);
    } else if (walk->color[target->index] == 1) {
        struct buffer path;
        size_t first = 0;
        buffer_init(&path, 4096);
        while (walk->path[first] != target)
            first++;
        for (size_t i = first; i < walk->depth; i++)
            buffer_format(&path, "%s → ", walk->path[i]->name);
        buffer_format(&path, "%s", target->name);
        buffer_byte(&path, '\0');
        problem_add(walk->problems, route->place, "cycle", "a cycle without a bound: %s; break it with a retry ladder, which has max_retries, or another topic",
                    path.at);
        buffer_free(&path);
    }
}

static void visit(struct walk *walk, const struct topic *topic)
{
    walk->color[topic->index] = 1;
    walk->path[walk->depth++] = topic;
    if (topic->use != NULL)
        use_targets(topic->use, visit_edge, walk);
    for (size_t w = 0; w < topic->watch_count; w++) {
        const struct chain *chain = topic->watches[w].chain;
        for (size_t s = 0; topic->watches[w].role == CHAIN_ABORT && s < chain->step_count; s++)
            if (chain->steps[s].undo != NULL && walk->color[chain->steps[s].undo->index] == 0)
                visit(walk, chain->steps[s].undo);
    }
    walk->depth--;
    walk->color[topic->index] = 2;
}

/* ------------------------------------------------------------------------------------------------------------ keys */

static void need_key(const struct route *route, struct topic *target, void *context)
{
    struct walk *walk = context;
    if (target->key == NULL && target->use != NULL)
        problem_add(walk->problems, route->place, "no_key",
                    "events that start here go to topic '%s', which has no key, so nothing orders them; say topics.%s: {key: \"{field}\"}", target->name,
                    target->name);
}

static void check_keys(struct walk *walk)
{
    const struct pipeline *pipeline = walk->pipeline;
    for (size_t i = 0; i < pipeline->request_count; i++)
        use_targets(pipeline->requests[i].use, need_key, walk);
}

/* ---------------------------------------------------------------------------------------------------------- chains */

static void check_chain(struct walk *walk, const struct chain *chain)
{
    for (size_t s = 0; s < chain->step_count; s++) {
        const struct chain_step *step = &chain->steps[s];
        if (step->undo != NULL && step->undo->use == NULL && !step->undo->final && !tapped(walk->pipeline, step->undo->name))
            problem_add(walk->problems, step->place, "unhandled", "step '%s' is undone on topic '%s', and nobody handles that", step->name, step->undo->name);
        for (size_t other = 0; other < s; other++)
            if (chain->steps[other].done == step->done)
                problem_add(walk->problems, step->place, "same_step", "steps '%s' and '%s' are done by the same topic '%s'", chain->steps[other].name, step->name,
                            step->done->name);
        if (step->undone != NULL && step->undo == NULL)
            problem_add(walk->problems, step->place, "bad_value", "step '%s' waits for '%s', and has no undo", step->name, step->undone->name);
    }
    for (size_t a = 0; a < chain->abort_count; a++) {
        const struct topic *topic = chain->abort_on[a];
        for (size_t s = 0; s < chain->step_count; s++)
            if (chain->steps[s].done == topic)
                problem_add(walk->problems, chain->place, "bad_value", "topic '%s' both does step '%s' and aborts chain '%s'", topic->name, chain->steps[s].name,
                            chain->name);
        if (!walk->emitted[topic->index] && !topic->declared)
            problem_add(walk->problems, topic->place, "never_emitted",
                        "chain '%s' waits for topic '%s', to which nothing here emits; if it comes from elsewhere, declare it under 'topics'", chain->name,
                        topic->name);
    }
    for (size_t s = 0; s < chain->step_count; s++) {
        const struct topic *topic = chain->steps[s].done;
        if (!walk->emitted[topic->index] && !topic->declared)
            problem_add(walk->problems, topic->place, "never_emitted",
                        "chain '%s' waits for topic '%s', to which nothing here emits; if it comes from elsewhere, declare it under 'topics'", chain->name,
                        topic->name);
    }
}

void pipeline_check(const struct pipeline *pipeline, struct problems *problems)
{
    struct walk walk = {.pipeline = pipeline, .problems = problems,
                        .emitted = arena_array(pipeline->arena, bool, pipeline->topic_count + 1),
                        .color = arena_array(pipeline->arena, unsigned char, pipeline->topic_count + 1),
                        .path = arena_array(pipeline->arena, const struct topic *, pipeline->topic_count + 1)};
    check_ends(&walk);
    for (size_t i = 0; i < pipeline->topic_count; i++)
        if (walk.color[i] == 0)
            visit(&walk, pipeline->topics[i]);
    check_keys(&walk);
    for (size_t c = 0; c < pipeline->chain_count; c++)
        check_chain(&walk, &pipeline->chains[c]);
    check_fields(pipeline, problems);
    check_holds(pipeline, problems);
}
