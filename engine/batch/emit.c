/*
 * emit.c - a request without a handler: what it is sent becomes an event, when the topic's handler would take it.
 *
 * The event is judged here, where somebody waits for the answer, and not when it is a dead letter.
 */
#include "batch/host.h"

#include "batch/request.h"
#include "event/json.h"

enum { EMIT_KEY_MAX = 64 * 1024, EMIT_ANSWER_MAX = 16 * 1024 };

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
    struct buffer json;
    const char **names = arena_array(call->batch->arena, const char *, call->binding->outcome_count + 1);
    for (size_t i = 0; i < call->binding->outcome_count; i++)
        names[i] = call->binding->outcomes[i].name;
    const char *near = nearest_name(arena_string(call->batch->arena, name), names);
    buffer_init(&json, EMIT_ANSWER_MAX);
    json_error(&json, "unknown_topic",
               arena_format(call->batch->arena, "'%.*s' is no topic that events may be sent to here%s%s%s",
                            name.length > 249 ? 249 : (int)name.length, name.at, near != NULL ? "; did you mean '" : "",
                            near != NULL ? near : "", near != NULL ? "'?" : ""));
    buffer_byte(&json, '}');
    work->status = 404;
    work->reply = arena_span(call->batch->arena, buffer_view(&json));
    buffer_free(&json);
}

/* Whether the topic has a key for the event, and its handler here takes it; else the work is dead, which is a 400. */
static bool emit_fits(struct batch *batch, struct work *work, const struct topic *topic)
{
    const struct binding *reader = topic->binding;
    const struct input_meta meta = {.attempt = 1, .retries_left = -1};
    struct error error = {0};
    struct buffer key;
    buffer_init(&key, EMIT_KEY_MAX);
    int code = topic->key == NULL
                   ? 0
                   : key_template_apply(topic->key, &work->event.data, NULL, 0, batch->arena, &key, &error);
    buffer_free(&key);
    if (code != 0) {
        work_dead(batch, work, DEAD_BAD_FIELD, "topic %s has no key for this event: %s", topic->name, error.text);
        return false;
    }
    if (reader == NULL || reader->input == NULL)
        return true;
    void *input = arena_alloc(batch->arena, reader->handler->input_size);
    if (input_fill(reader->input, &work->event, &meta, batch->arena, input, &error) == 0)
        return true;
    work_dead(batch, work, DEAD_BAD_FIELD, "handler %s of topic %s would not take this event: %s", reader->handler_name,
              topic->name, error.text);
    return false;
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
