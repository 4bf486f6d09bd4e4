/*
 * pipeline.c - the pipeline of a run, as pipeline_resolve() would have made it: work with a retry ladder, what follows
 * it, and up to three chains whose steps, undos and waits are drawn from the seed.
 *
 * The names of topics begin with their index in two digits, so that a record's topic is found without a table.
 */
#include "sim.h"

#include <stdio.h>

/* verdict_rows is const, and a planted mistake is another row: the engine is given a copy that can be changed. */
#define verdict_rows verdict_rows_of_the_engine
#include "flow/verdict.c"
#undef verdict_rows
struct verdict_row pipeline_verdict_rows[VERDICT_COUNT] __asm__("verdict_rows");

void pipeline_plant(enum plant plant)
{
    memcpy(pipeline_verdict_rows, verdict_rows_of_the_engine, sizeof verdict_rows_of_the_engine);
    if (plant == PLANT_HELD_KEY_IGNORED)
        pipeline_verdict_rows[VERDICT_RETRY].holds_key = false;
    if (plant == PLANT_PASSES_A_REQUEUED_EVENT)
        pipeline_verdict_rows[VERDICT_REQUEUE].holds_key = false;
}

/* The kinds of events whose handler has outcomes, with their routes: see handler.c for who gives which. */
static const struct sluice_field input_fields[] = {
    SLUICE_META_TEXT(struct handler_input, id, SLUICE_META_EVENT_ID),
    SLUICE_TEXT(struct handler_input, key),
    {.name = NULL},
};

static struct topic *topic_add(struct sim_pipeline *p, enum kind kind, const char *word, uint32_t chain, uint32_t step)
{
    uint32_t index = (uint32_t)p->config.topic_count++;
    struct topic *topic = &p->topics[index];
    *topic = (struct topic){.index = index,
                            .name = arena_format(p->arena, "%02u.%s", index, word),
                            .declared = true,
                            .is_dead_letter = kind == KIND_DEAD};
    p->states[index] = (struct topic_state){kind, chain, step};
    p->topic_list[index] = topic;
    if (kind != KIND_DEAD)
        topic->dead_letter = p->first[KIND_DEAD];
    if (p->first[kind] == NULL)
        p->first[kind] = topic;
    return topic;
}

/* A handler whose outcomes go to these topics; NULL: dropped. */
static struct binding *binding_add(struct world *world, enum kind kind, size_t outcome_count,
                                   struct topic *const *topics)
{
    struct sim_pipeline *p = &world->pipeline;
    uint32_t index = (uint32_t)p->config.binding_count++;
    struct binding *binding = &p->bindings[index];
    p->handlers[index] = (struct sluice_handler){.name = "handle",
                                                 .input = input_fields,
                                                 .input_size = sizeof(struct handler_input),
                                                 .handle = handler_run,
                                                 .max_events = SIM_BATCH,
                                                 .uses_store = 1};
    *binding = (struct binding){.index = index,
                                .handler_name = "sim.handle",
                                .id = arena_format(p->arena, "sim.%u", index),
                                .plugin = &p->plugin,
                                .retry = world->settings.retry,
                                .timeout_ms = 60000,
                                .max_events = world->settings.max_events[kind],
                                .group = &p->group,
                                .handler = &p->handlers[index],
                                .input = input_fields,
                                .outcome_count = outcome_count};
    const struct route **by_outcome = arena_array(p->arena, const struct route *, outcome_count);
    struct route *routes = arena_array(p->arena, struct route, outcome_count);
    for (size_t i = 0; i < outcome_count; i++) {
        struct route_target *target = arena_new(p->arena, struct route_target);
        target->topic = topics[i];
        routes[i] = (struct route){.outcome = arena_format(p->arena, "outcome_%zu", i),
                                   .kind = topics[i] == NULL ? ROUTE_DROP : ROUTE_TOPIC,
                                   .targets = target,
                                   .target_count = topics[i] != NULL};
        by_outcome[i] = &routes[i];
    }
    binding->routes = routes;
    binding->by_outcome = by_outcome;
    p->binding_list[index] = binding;
    return binding;
}

static void watch_add(struct sim_pipeline *p, struct topic *topic, struct chain *chain, enum chain_role role,
                      int32_t step)
{
    topic->watches = arena_new(p->arena, struct chain_watch);
    topic->watches[0] = (struct chain_watch){.chain = chain, .role = role, .step = step};
    topic->watch_count = 1;
}

static void chain_step_add(struct world *world, uint32_t number, int32_t at, struct binding *done,
                           struct binding *undone)
{
    struct sim_pipeline *p = &world->pipeline;
    struct chain *chain = &p->chains[number];
    struct chain_step *step = &chain->steps[at];
    uint32_t bit = 1u << at;
    step->name = arena_format(p->arena, "step_%d", at);
    step->done = p->done[number][at] = topic_add(p, KIND_DONE, "done", number, (uint32_t)at);
    step->done->binding = done;
    watch_add(p, step->done, chain, CHAIN_DONE, at);
    if (!(p->shapes[number].has_undo & bit))
        return;
    step->undo = topic_add(p, KIND_UNDO, "undo", number, (uint32_t)at);
    watch_add(p, step->undo, chain, CHAIN_UNDO, at);
    if (p->shapes[number].waits & bit) {
        step->undone = topic_add(p, KIND_UNDONE, "undone", number, (uint32_t)at);
        step->undone->binding = undone;
        watch_add(p, step->undone, chain, CHAIN_STEP_UNDONE, at);
    }
    step->undo->binding = binding_add(world, KIND_UNDO, 1, &step->undone);
}

/* A third of the chains watch topics that nobody handles. */
static void chain_add(struct world *world, struct binding *done, struct binding *abort_binding, struct binding *undone)
{
    struct sim_pipeline *p = &world->pipeline;
    uint32_t number = (uint32_t)p->config.chain_count++, any = sim_below(world, 1u << SIM_STEPS);
    struct chain *chain = &p->chains[number];
    struct chain_shape *shape = &p->shapes[number];
    bool handled = sim_below(world, 3) != 0;
    *shape = (struct chain_shape){.step_count = 1 + (int32_t)sim_below(world, SIM_STEPS)};
    uint32_t mask = (1u << shape->step_count) - 1;
    shape->has_undo = (any | sim_below(world, mask + 1)) & mask;
    shape->waits = shape->has_undo & sim_below(world, mask + 1);
    *chain = (struct chain){.index = number,
                            .name = arena_format(p->arena, "chain_%u", number),
                            .correlate = "chain",
                            .steps = arena_array(p->arena, struct chain_step, (size_t)shape->step_count),
                            .step_count = (size_t)shape->step_count,
                            .abort_count = 1,
                            .on_undo_failure = sim_below(world, 3) == 0 ? UNDO_RETRY_FOREVER : UNDO_PAUSE};
    p->abort[number] = topic_add(p, KIND_ABORT, "abort", number, SIM_NONE);
    p->abort[number]->binding = handled ? abort_binding : NULL;
    chain->abort_on = &p->abort[number];
    watch_add(p, p->abort[number], chain, CHAIN_ABORT, -1);
    for (int32_t step = 0; step < shape->step_count; step++)
        chain_step_add(world, number, step, handled ? done : NULL, undone);
    p->chain_numbers[number] = (int16_t)(100 + number);
}

static void pipeline_head(struct world *world)
{
    struct sim_pipeline *p = &world->pipeline;
    struct pipeline *config = &p->config;
    config->name = "sim";
    config->engine.group = p->group.name = "sim";
    config->engine.hop_limit = 64;
    config->engine.max_event_size = 1 << 20;
    config->defaults.timeout_ms = 60000;
    config->defaults.retry = world->settings.retry;
    config->topics = p->topic_list;
    config->bindings = p->binding_list;
    config->chains = p->chains;
    config->groups = &p->group;
    config->group_count = 1;
    config->plugins = &p->plugin;
    config->plugin_count = 1;
    p->plugin.name = "sim";
    p->numbers = (struct batch_numbers){.groups = p->group_numbers,
                                        .chains = p->chain_numbers,
                                        .definitions = p->definitions,
                                        .chain_handler = SIM_BINDINGS + 1};
    p->group_numbers[0] = 1;
}

void pipeline_draw(struct world *world)
{
    struct sim_pipeline *p = &world->pipeline;
    struct arena *arena = arena_create(16384, SIZE_MAX);
    *p = (struct sim_pipeline){.arena = arena};
    pipeline_head(world);
    topic_add(p, KIND_DEAD, "dead", SIM_NONE, SIM_NONE);
    struct topic *work = topic_add(p, KIND_WORK, "work", SIM_NONE, SIM_NONE);
    struct topic *again = topic_add(p, KIND_RETRY, "again", SIM_NONE, SIM_NONE);
    struct topic *next = topic_add(p, KIND_NEXT, "next", SIM_NONE, SIM_NONE);
    struct topic *exhausted = topic_add(p, KIND_EXHAUSTED, "exhausted", SIM_NONE, SIM_NONE);
    struct topic *to[WORK_OUTCOMES] = {[WORK_NEXT] = next, [WORK_DROPPED] = NULL, [WORK_AGAIN] = NULL};
    work->binding = binding_add(world, KIND_WORK, WORK_OUTCOMES, to);
    struct route *ladder = &work->binding->routes[WORK_AGAIN];
    ladder->kind = ROUTE_LADDER;
    ladder->ladder = world->settings.ladder;
    ladder->ladder.topic = again;
    ladder->ladder.exhausted = exhausted;
    ladder->ladder.counter = "retryCount";
    work->binding->ladder = again->ladder = &ladder->ladder;
    again->binding = work->binding;
    again->ladder_of = work;
    next->key = key_template_create(SPAN("{key}"), arena, NULL);
    to[0] = NULL;
    next->binding = binding_add(world, KIND_NEXT, 1, to);
    exhausted->binding = binding_add(world, KIND_EXHAUSTED, 1, to);
    struct binding *done = binding_add(world, KIND_DONE, 1, to);
    struct binding *aborted = binding_add(world, KIND_ABORT, 1, to);
    struct binding *undone = binding_add(world, KIND_UNDONE, 1, to);
    for (uint32_t n = 1 + sim_below(world, SIM_CHAINS); n > 0; n--)
        chain_add(world, done, aborted, undone);
    p->topic_names = map_create(p->config.topic_count);
    for (size_t i = 0; i < p->config.topic_count; i++)
        map_set(p->topic_names, span_of(p->topics[i].name), &p->topics[i]);
}

int16_t pipeline_number(const struct binding *binding)
{
    return (int16_t)(binding->index + 1);
}

void pipeline_free(struct sim_pipeline *pipeline)
{
    map_destroy(pipeline->topic_names);
    pipeline->topic_names = NULL;
    arena_destroy(pipeline->arena);
    pipeline->arena = NULL;
}
