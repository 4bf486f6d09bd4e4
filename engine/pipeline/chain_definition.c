/*
 * chain_definition.c - see chain_definition.h.
 */
#include "pipeline/chain_definition.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

static const char *topic_name(const struct topic *topic)
{
    return topic == NULL ? NULL : topic->name;
}

static json_t *write_timers(const struct chain *chain)
{
    json_t *timers = json_array();
    for (size_t i = 0; i < chain->timer_count; i++) {
        const struct chain_timer *timer = &chain->timers[i];
        json_array_append_new(timers, json_pack("{s:I, s:s, s:i, s:I}", "afterMs", (json_int_t)timer->after_ms, "emit",
                                                timer->emit_name, "fromStep", timer->from_step, "cancelSteps",
                                                (json_int_t)timer->cancel_steps));
    }
    return timers;
}

struct span chain_definition_write(const struct chain *chain, struct arena *arena)
{
    json_t *steps = json_array(), *abort_on = json_array();
    for (size_t i = 0; i < chain->step_count; i++) {
        const struct chain_step *step = &chain->steps[i];
        json_array_append_new(steps, json_pack("{s:s, s:s, s:s?, s:s?}", "name", step->name, "done", step->done->name,
                                               "undo", topic_name(step->undo), "undone", topic_name(step->undone)));
    }
    for (size_t i = 0; i < chain->abort_count; i++)
        json_array_append_new(abort_on, json_string(chain->abort_on[i]->name));
    json_t *json = json_pack("{s:s, s:o, s:o, s:i}", "correlate", chain->correlate, "steps", steps, "abortOn", abort_on,
                             "onUndoFailure", (int)chain->on_undo_failure);
    if (chain->timer_count > 0) /* else its text, and so its number, is what it was before there were any */
        json_object_set_new(json, "timers", write_timers(chain));
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    struct span ret = arena_span(arena, span_of(text == NULL ? "{}" : text));
    free(text);
    json_decref(json);
    return ret;
}

/* A topic of the pipeline; false with a sentence when it must be known and is not. */
static bool find_topic(const struct pipeline *pipeline, const char *chain, const char *name, bool needed,
                       struct topic **ret, struct error *error)
{
    *ret = name == NULL ? NULL : pipeline_topic(pipeline, name);
    for (size_t i = 0; *ret == NULL && name != NULL && i < pipeline->answer_count; i++)
        if (pipeline->answers[i].new_name != NULL && strcmp(pipeline->answers[i].old, name) == 0)
            *ret = pipeline_topic(pipeline, pipeline->answers[i].new_name);
    if (*ret != NULL || name == NULL || !needed)
        return true;
    error_set(error, ENOENT,
              "chain '%s' began with a definition that undoes a step on topic '%s', and this file has no such topic; "
              "declare it, or say renamed: {%s: NEW}",
              chain, name, name);
    return false;
}

static bool read_step(const struct pipeline *pipeline, const struct chain *current, json_t *json,
                      struct chain_step *ret, struct arena *arena, struct error *error)
{
    const char *name = json_string_value(json_object_get(json, "name")),
               *done = json_string_value(json_object_get(json, "done")),
               *undo = json_string_value(json_object_get(json, "undo")),
               *undone = json_string_value(json_object_get(json, "undone"));
    if (name == NULL || done == NULL) {
        error_set(error, EBADMSG, "a definition of chain '%s' in sluice.chain_definition is damaged", current->name);
        return false;
    }
    ret->name = arena_string(arena, span_of(name));
    return find_topic(pipeline, current->name, done, false, &ret->done, error) &&
           find_topic(pipeline, current->name, undo, true, &ret->undo, error) &&
           find_topic(pipeline, current->name, undone, true, &ret->undone, error);
}

/* A timer emits under its name, whatever the file says of that now: what waits for a name that left the file waits for
 * what it says. */
static bool read_timers(const struct pipeline *pipeline, struct chain *chain, json_t *list, struct arena *arena,
                        struct error *error)
{
    size_t count = json_array_size(list);
    bool good = count <= CHAIN_TIMERS_MAX;
    chain->timers = arena_array(arena, struct chain_timer, count + 1);
    chain->timer_count = good ? count : 0;
    for (size_t i = 0; good && i < count; i++) {
        json_t *json = json_array_get(list, i);
        const char *emit = json_string_value(json_object_get(json, "emit"));
        struct chain_timer *timer = &chain->timers[i];
        *timer = (struct chain_timer){
            .after_ms = json_integer_value(json_object_get(json, "afterMs")),
            .from_step = (int32_t)json_integer_value(json_object_get(json, "fromStep")),
            .cancel_steps = (uint32_t)json_integer_value(json_object_get(json, "cancelSteps"))};
        good = emit != NULL && timer->after_ms > 0 && timer->from_step >= 0 &&
               (size_t)timer->from_step < chain->step_count;
        if (good && find_topic(pipeline, chain->name, emit, false, &timer->emit, error))
            timer->emit_name = timer->emit != NULL ? timer->emit->name : arena_string(arena, span_of(emit));
    }
    if (!good)
        error_set(error, EBADMSG, "a definition of chain '%s' in sluice.chain_definition is damaged", chain->name);
    return good;
}

struct chain *chain_definition_read(const struct pipeline *pipeline, const struct chain *current, struct span text,
                                    struct arena *arena, struct error *error)
{
    json_t *json = json_loadb(text.at, text.length, 0, NULL), *steps = json_object_get(json, "steps");
    size_t count = json_array_size(steps);
    struct chain *chain = arena_new(arena, struct chain);
    *chain = *current;
    chain->steps = arena_array(arena, struct chain_step, count + 1);
    chain->step_count = count;
    int failure = (int)json_integer_value(json_object_get(json, "onUndoFailure"));
    chain->on_undo_failure = failure >= UNDO_PAUSE && failure <= UNDO_DEAD_LETTER ? (enum undo_failure)failure
                                                                                  : UNDO_PAUSE;
    bool good = count > 0 && count <= CHAIN_STEPS_MAX;
    if (!good)
        error_set(error, EBADMSG, "a definition of chain '%s' in sluice.chain_definition is damaged", current->name);
    for (size_t i = 0; good && i < count; i++)
        good = read_step(pipeline, current, json_array_get(steps, i), &chain->steps[i], arena, error);
    json_t *abort_on = json_object_get(json, "abortOn");
    chain->abort_on = arena_array(arena, struct topic *, json_array_size(abort_on) + 1);
    chain->abort_count = 0;
    for (size_t i = 0; good && i < json_array_size(abort_on); i++)
        if (find_topic(pipeline, current->name, json_string_value(json_array_get(abort_on, i)), false,
                       &chain->abort_on[chain->abort_count], error) &&
            chain->abort_on[chain->abort_count] != NULL)
            chain->abort_count++;
    good = good && read_timers(pipeline, chain, json_object_get(json, "timers"), arena, error);
    json_decref(json);
    return good ? chain : NULL;
}

struct watching {
    const struct pipeline *pipeline;
    struct chain *chain;
    struct arena *arena;
    void (*each)(void *context, const struct topic *topic);
    void *context;
};

/* `now` is the role that a topic has which is the same to the definition of now. */
static void watch(const struct watching *watching, const json_t *name, enum chain_role now, enum chain_role role)
{
    struct topic *topic = NULL;
    struct error ignored;
    (void)find_topic(watching->pipeline, watching->chain->name, json_string_value(name), false, &topic, &ignored);
    if (topic == NULL)
        return;
    for (size_t w = 0; w < topic->watch_count; w++)
        if (topic->watches[w].chain == watching->chain &&
            (topic->watches[w].role == now || topic->watches[w].role == role))
            return;
    topic->watches = arena_grown(watching->arena, topic->watches, topic->watch_count, sizeof *topic->watches);
    topic->watches[topic->watch_count++] = (struct chain_watch){watching->chain, role, -1};
    watching->each(watching->context, topic);
}

void chain_definition_watch(const struct pipeline *pipeline, struct chain *current, struct span text,
                            struct arena *arena, void (*each)(void *context, const struct topic *topic), void *context)
{
    const struct watching watching = {pipeline, current, arena, each, context};
    json_t *json = json_loadb(text.at, text.length, 0, NULL), *steps = json_object_get(json, "steps"),
           *abort_on = json_object_get(json, "abortOn");
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        watch(&watching, json_object_get(step, "done"), CHAIN_DONE, CHAIN_DONE_BEFORE);
        watch(&watching, json_object_get(step, "undo"), CHAIN_UNDO, CHAIN_UNDO);
        watch(&watching, json_object_get(step, "undone"), CHAIN_STEP_UNDONE, CHAIN_STEP_UNDONE);
    }
    for (size_t i = 0; i < json_array_size(abort_on); i++)
        watch(&watching, json_array_get(abort_on, i), CHAIN_ABORT, CHAIN_ABORT_BEFORE);
    if (json_array_size(json_object_get(json, "timers")) > 0 && !current->timed_before) {
        bool followed = chain_followed(current);
        current->timed_before = true;
        for (size_t i = 0; !followed && i < current->step_count; i++) /* now each of its steps is written down */
            each(context, current->steps[i].done);
    }
    json_decref(json);
}

struct span chain_followed_undos(const struct chain *chain, struct arena *arena)
{
    char *steps = arena_alloc(arena, chain->step_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < chain->step_count; i++)
        if (chain->steps[i].undo != NULL && chain->steps[i].undo->binding != NULL)
            steps[count++] = (char)i;
    return (struct span){steps, count};
}

struct chain_shape chain_shape_of(const struct chain *chain)
{
    struct chain_shape shape = {.step_count = (int32_t)chain->step_count};
    for (size_t i = 0; i < chain->step_count; i++) {
        if (chain->steps[i].undo == NULL)
            continue;
        shape.has_undo |= 1u << i;
        if (chain->steps[i].undone != NULL)
            shape.waits |= 1u << i;
    }
    return shape;
}
