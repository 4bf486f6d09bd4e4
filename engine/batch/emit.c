/*
 * emit.c - a request without a handler: what it is sent becomes an event, when the topic's handler would take it.
 *
 * The event is judged here, where somebody waits for the answer, and not when it is a dead letter.
 */
#include "batch/host.h"

#include "batch/after.h"
#include "batch/request.h"
#include "event/json.h"

enum { EMIT_NAME_SHOWN = 249 }; /* bytes */

/* The outcome of the topic that the path names; `outcome_count` when it is none of them. */
static size_t emit_outcome(const struct binding *binding, const struct gateway_request *request, struct span *ret_name)
{
    size_t outcome = 0;
    if (binding->emit_parameter == NULL)
        return outcome;
    for (size_t i = 0; i < request->param_count; i++)
        if (span_is(request->params[i].name, binding->emit_parameter))
            *ret_name = request->params[i].value;
    while (outcome < binding->outcome_count && !span_is(*ret_name, binding->outcomes[outcome].name))
        outcome++;
    return outcome;
}

static void emit_unknown(struct call *call, struct work *work, struct span name)
{
    static const struct request_refusal refusal = {404, "unknown_topic"};
    struct arena *arena = call->batch->arena;
    const char **names = arena_array(arena, const char *, call->binding->outcome_count + 1);
    for (size_t i = 0; i < call->binding->outcome_count; i++)
        names[i] = call->binding->outcomes[i].name;
    const char *near = nearest_name(arena_string(arena, name), names);
    if (name.length > EMIT_NAME_SHOWN)
        name.length = span_utf8((struct span){name.at, EMIT_NAME_SHOWN});
    work_dead(call->batch, work, DEAD_BAD_FIELD, "'%.*s' is no topic that events may be sent to here%s%s%s",
              (int)name.length, name.at, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
              near != NULL ? "'?" : "");
    work->refusal = &refusal;
}

/* Whether the topic has a key for the event, and room for its bytes; else the work is dead. */
static bool emit_composes(struct batch *batch, struct work *work, const struct topic *topic, struct buffer *bytes)
{
    const struct pipeline *config = batch->env->config;
    struct error error = {0};
    if (topic->key != NULL &&
        key_template_apply(topic->key, &work->event.data, NULL, 0, batch->arena, bytes, &error) != 0) {
        work_dead(batch, work, DEAD_BAD_FIELD, "topic %s has no key for this event: %s", topic->name, error.text);
        return false;
    }
    buffer_clear(bytes);
    event_compose(bytes, work->event.id_text, span_of(topic->name), batch->wall_ms, config->engine.event_format,
                  &work->event.data, NULL, 0);
    if (!bytes->failed)
        return true;
    work_dead(batch, work, DEAD_TOO_LARGE,
              "the event on topic %s would have more than %lld bytes: engine.max_event_size", topic->name,
              (long long)config->engine.max_event_size);
    return false;
}

/* Whether chains and `after` of the topic find what they look for; else the work is dead. */
static bool emit_correlates(struct batch *batch, struct work *work, const struct topic *topic)
{
    struct span value;
    const char *why = chain_refusal(topic, &work->event.data, batch->arena);
    if (why == NULL && topic->after != NULL)
        why = after_refusal(topic->after, &work->event.data, batch->arena, &value);
    if (why != NULL)
        work_dead(batch, work, DEAD_BAD_CORRELATION, "topic %s: %s", topic->name, why);
    return why == NULL;
}

/* Whether the topic's handler here takes the event; else the work is dead. */
static bool emit_fills(struct batch *batch, struct work *work, const struct topic *topic)
{
    const struct binding *reader = topic->binding;
    const struct input_meta meta = {.attempt = 1, .retries_left = -1};
    struct error error = {0};
    if (reader == NULL || reader->input == NULL)
        return true;
    void *input = arena_alloc(batch->arena, reader->handler->input_size);
    if (input_fill(reader->input, &work->event, &meta, batch->arena, input, &error) == 0)
        return true;
    work_dead(batch, work, DEAD_BAD_FIELD, "handler %s of topic %s would not take this event: %s", reader->handler_name,
              topic->name, error.text);
    return false;
}

/* Whether the event would pass on its topic; else the work is dead, and the client at fault. */
static bool emit_fits(struct batch *batch, struct work *work, const struct topic *topic)
{
    struct buffer bytes;
    buffer_init(&bytes, (size_t)batch->env->config->engine.max_event_size);
    bool composes = emit_composes(batch, work, topic, &bytes);
    buffer_free(&bytes);
    return composes && emit_correlates(batch, work, topic) && emit_fills(batch, work, topic);
}

static void emit_one(struct call *call, struct work *work)
{
    struct batch *batch = call->batch;
    struct span name = {NULL, 0};
    size_t outcome = emit_outcome(call->binding, work->item->request, &name);
    if (outcome == call->binding->outcome_count) {
        emit_unknown(call, work, name);
        return;
    }
    const struct route *route = call->binding->by_outcome[outcome];
    if (!emit_fits(batch, work, route->targets[0].topic))
        return;
    char *id = arena_alloc_raw(batch->arena, 37);
    event_id_derive(work->event.id_text, span_of(call->binding->id), span_of(route->outcome), 0, id);
    work->status = 202;
    work->reply = span_of(arena_format(batch->arena, "{\"id\":\"%s\",\"topic\":\"%s\"}", id, route->outcome));
    work->verdict = VERDICT_OUTCOME;
    work->outcome = outcome;
}

void emit_call(struct call *call)
{
    for (size_t i = 0; i < call->count; i++)
        emit_one(call, call->works[i]);
}
