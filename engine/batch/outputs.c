/*
 * outputs.c - what a batch emits: events on their routes, steps of a retry ladder, dead letters, undos.
 *
 * Values and keys are composed into one buffer of the lane; while it grows, outputs hold offsets. Ids are derived
 * from parent, handler, route and ordinal, so that a repeated emission repeats the id.
 */
#include "batch/batch.h"

#include "batch/request.h"
#include "batch/traced.h"
#include "flow/retry.h"

struct output *output_add(struct batch *batch, struct work *work, struct topic *topic)
{
    if (batch->output_count == batch->output_size) {
        size_t size = batch->output_size == 0 ? batch->count + 8 : batch->output_size * 2;
        struct output *grown = arena_array(batch->arena, struct output, size);
        if (batch->output_count > 0)
            memcpy(grown, batch->outputs, batch->output_count * sizeof *grown);
        batch->outputs = grown;
        batch->output_size = size;
    }
    struct output *output = &batch->outputs[batch->output_count++];
    *output = (struct output){
        .topic = topic, .work = work, .record = {.topic = span_of(topic->name), .timestamp_ms = batch->wall_ms}};
    return output;
}

void output_header(struct output *output, const char *name, struct span value)
{
    output->record.headers[output->record.header_count++] = (struct header){span_of(name), value};
}

static struct span number_span(struct batch *batch, int64_t number)
{
    return span_of(arena_format(batch->arena, "%lld", (long long)number));
}

enum { OUTPUT_HEADERS_MAX = 8 + FORMAT_HEADERS_MAX };

/* The trace of what the work came from, with the span of this try where that is recorded, else one of the emitted
 * event's own. Invalid: none is carried on. */
static void output_trace(struct batch *batch, const struct work *work, struct output *output, struct span id)
{
    const struct record *source = work->event.record;
    struct span parent = {NULL, 0}, state = {NULL, 0};
    if (work->item->request != NULL) {
        parent = work->item->request->traceparent;
    } else if (source != NULL) {
        parent = record_header(source, HEADER_TRACEPARENT);
        state = record_header(source, HEADER_TRACESTATE);
    }
    const char *own = traced_parent(batch, work);
    char *text = own == NULL && parent.length > 0 ? arena_alloc_raw(batch->arena, TRACEPARENT_TEXT + 1) : NULL;
    if (own == NULL && (text == NULL || !traceparent_derive(parent, id, text)))
        return;
    output_header(output, HEADER_TRACEPARENT, (struct span){own != NULL ? own : text, TRACEPARENT_TEXT});
    if (tracestate_valid(state))
        output_header(output, HEADER_TRACESTATE, state);
}

/* What an emitted event has. Its source's other headers speak of another value (ce_…, content-type): they stay
 * behind. */
static void output_headers(struct batch *batch, const struct work *work, struct output *output, struct span id,
                           struct span correlation)
{
    struct record *record = &output->record;
    record->headers = arena_array(batch->arena, struct header, OUTPUT_HEADERS_MAX);
    output_header(output, HEADER_HOPS, number_span(batch, work->event.hops + 1));
    output_header(output, HEADER_PARENT, work->event.id_text);
    if (correlation.length > 0)
        output_header(output, HEADER_CORRELATION, correlation);
    record->header_count += event_headers(batch->env->config->engine.event_format, id, record->topic, batch->wall_ms,
                                          batch->arena, record->headers + record->header_count);
    output_trace(batch, work, output, id);
}

/* One event to `topic`: the source's data with overlays, under an id of its own, the headers that travel. */
static struct output *output_as(struct batch *batch, struct work *work, struct topic *topic,
                                const struct json_object *data, const struct overlays *overlays, struct span id,
                                struct span correlation)
{
    struct buffer *bytes = &batch->env->bytes;
    const struct event *event = &work->event;
    struct error error = {0};

    if (event->hops + 1 > batch->env->config->engine.hop_limit) {
        work_condemn(batch, work, DEAD_HOPS, "event would make hop %d; engine.hop_limit is %d: is there a cycle?",
                     event->hops + 1, batch->env->config->engine.hop_limit);
        return NULL;
    }
    struct output *output = output_add(batch, work, topic);
    output->composed = true;
    output->key_at = bytes->length;
    if (topic->key != NULL) {
        if (key_template_apply(topic->key, data, overlays->list, overlays->count, batch->arena, bytes, &error) != 0) {
            work_condemn(batch, work, DEAD_BAD_OUTPUT, "no key for topic %s: %s", topic->name, error.text);
            return NULL;
        }
        output->has_key = true;
    } else if (event->record != NULL && event->record->key.at != NULL) {
        buffer_span(bytes, event->record->key);
        output->has_key = true;
    }
    output->key_length = bytes->length - output->key_at;
    output->value_at = bytes->length;
    output->id = id;
    output->data_at = event_compose(bytes, output->id, span_of(topic->name), batch->wall_ms,
                                    batch->env->config->engine.event_format, data, overlays->list, overlays->count);
    output->value_length = bytes->length - output->value_at;
    if (bytes->failed || output->value_length > (size_t)batch->env->config->engine.max_event_size ||
        output->key_length > EVENT_KEY_MAX) {
        work_condemn(batch, work, DEAD_BAD_OUTPUT,
                     "the event for topic %s would have %zu bytes and a key of %zu; the most are %lld and %d",
                     topic->name, output->value_length, output->key_length,
                     (long long)batch->env->config->engine.max_event_size, EVENT_KEY_MAX);
        return NULL;
    }
    output_headers(batch, work, output, output->id, correlation);
    return output;
}

static struct output *output_event(struct batch *batch, struct work *work, struct topic *topic,
                                   const struct json_object *data, const struct overlays *overlays, const char *handler,
                                   const char *route, uint32_t ordinal, struct span correlation)
{
    char *id = arena_alloc_raw(batch->arena, 37);
    event_id_derive(work->event.id_text, span_of(handler), span_of(route), ordinal, id);
    return output_as(batch, work, topic, data, overlays, (struct span){id, 36}, correlation);
}

static void output_ladder(struct batch *batch, struct work *work, const struct route *route, struct overlays *overlays)
{
    const struct ladder *ladder = &route->ladder;
    const char *handler = work->item->binding->id;
    struct span correlation = output_correlation(batch, work, overlays);
    int64_t delay = ladder_delay_ms(ladder, work->retry_count);

    if (delay < 0) {
        output_event(batch, work, ladder->exhausted, &work->event.data, overlays, handler, "exhausted", 0, correlation);
        return;
    }
    overlay_set(batch->arena, overlays, span_of(ladder->counter), number_span(batch, work->retry_count + 1));
    struct output *output = output_event(batch, work, ladder->topic, &work->event.data, overlays, handler,
                                         route->outcome, 0, correlation);
    if (output == NULL)
        return;
    output_header(output, HEADER_NOT_BEFORE, number_span(batch, batch->wall_ms + delay));
    if (work->trace != NULL)
        output_header(output, HEADER_FIRST_TRY, span_of(traced_first(batch, work)));
}

/* One of a list has its topic in its id's name of the route, so that each has an id of its own wherever it stands. */
static void output_target(struct batch *batch, struct work *work, const struct route *route,
                          const struct route_target *target, const struct json_object *data, struct overlays *overlays,
                          uint32_t ordinal)
{
    const char *name = route->target_count == 1
                           ? route->outcome
                           : arena_format(batch->arena, "%s %s", route->outcome, target->topic->name);
    struct output *output = output_event(batch, work, target->topic, data, overlays, work->item->binding->id, name,
                                         ordinal, output_correlation(batch, work, overlays));
    if (output != NULL && target->delay_ms > 0)
        output_header(output, HEADER_NOT_BEFORE, number_span(batch, batch->wall_ms + target->delay_ms));
}

static void output_route(struct batch *batch, struct work *work, size_t outcome, const struct json_object *data,
                         struct overlays *overlays, uint32_t ordinal)
{
    const struct route *route = work->item->binding->by_outcome[outcome];
    if (route == NULL || route->kind == ROUTE_DROP)
        return;
    if (route->kind == ROUTE_LADDER)
        output_ladder(batch, work, route, overlays);
    for (size_t t = 0; t < route->target_count && !batch->condemned; t++)
        output_target(batch, work, route, &route->targets[t], data, overlays, ordinal);
}

void outputs_of_work(struct batch *batch, struct work *work)
{
    static const struct json_object nothing = {.text = {"{}", 2}};
    if (work->verdict == VERDICT_OUTCOME)
        output_route(batch, work, work->outcome, &work->event.data, &work->overlays, 0);
    for (size_t i = 0; i < work->addition_count && !batch->condemned; i++) {
        struct addition *addition = &work->additions[i];
        output_route(batch, work, addition->outcome, &nothing, &addition->overlays, (uint32_t)i + 1);
    }
}

enum { UNDO_REASON_MAX = 1000 };

/* An undo is in the trace of the step: when what aborts the chain is in another one, or in none that is recorded (the
 * tick that found a hold too old), it goes on from the step itself. */
static void undo_trace(struct output *output, struct span step)
{
    struct record *record = &output->record;
    size_t at = 0;
    if (step.length != TRACEPARENT_TEXT)
        return;
    while (at < record->header_count && !span_is(record->headers[at].name, HEADER_TRACEPARENT))
        at++;
    bool known = at < record->header_count;
    if (!known || memcmp(record->headers[at].value.at, step.at, TRACEPARENT_TRACE) != 0) {
        record->header_count = known ? at : record->header_count; /* tracestate stands behind, and is of that trace */
        output_header(output, HEADER_TRACEPARENT, step);
    }
    output_header(output, HEADER_UNDOES, step);
}

void outputs_undo(struct batch *batch, struct work *work, const struct undo *undo)
{
    struct json_object object = {.text = {"{}", 2}};
    struct overlays overlays = {0};
    struct buffer json;
    struct span reason = undo->reason;
    if (undo->data.length > 0)
        json_members(undo->data, batch->arena, &object);
    if (reason.length > UNDO_REASON_MAX)
        /* for people; not in the middle of a letter */
        reason.length = span_utf8((struct span){reason.at, UNDO_REASON_MAX});
    buffer_init(&json, 6 * UNDO_REASON_MAX + 2);
    buffer_json_string(&json, reason);
    overlay_set(batch->arena, &overlays, SPAN("reason"), arena_span(batch->arena, buffer_view(&json)));
    buffer_free(&json);

    /* The id depends on the chain's correlation, its generation, the step, and how often that was done before: whatever
     * emits this undo again, it is the same event. */
    struct work of_chain = *work;
    of_chain.event.id_text = undo->correlation;
    of_chain.event.hops = 0; /* what is done must be undone, however long its way was */
    const char *handler = undo->generation == 0
                              ? arena_format(batch->arena, "chain/%s", undo->chain)
                              : arena_format(batch->arena, "chain/%s/%d", undo->chain, undo->generation);
    struct output *output = output_event(batch, &of_chain, undo->step->undo, &object, &overlays, handler,
                                         undo->step->name, undo->repeats, undo->correlation);
    if (output == NULL)
        return;
    output->work = work;
    output->record.headers[1].value = work->event.id_text;
    undo_trace(output, undo->traceparent);
    output_header(output, HEADER_UNDO, span_of(arena_format(batch->arena, "%d.%d", undo->generation, undo->doing)));
}

void outputs_timer(struct batch *batch, struct work *work)
{
    static const struct overlays nothing = {0};
    /* The event was made when the timer began; now it gets its time and key. It stands behind the one that began it. */
    struct work of_timer = *work;
    of_timer.event.id_text = record_header(&work->item->record, HEADER_PARENT);
    of_timer.event.hops = work->event.hops - 1;
    struct output *output = output_as(batch, &of_timer, work->item->topic, &work->event.data, &nothing,
                                      work->event.id_text, output_correlation(batch, work, &nothing));
    if (output != NULL)
        output->work = work;
}

struct record *outputs_finish(struct batch *batch)
{
    struct record *records = arena_array(batch->arena, struct record, batch->output_count + 1);
    for (size_t i = 0; i < batch->output_count; i++) {
        struct output *output = &batch->outputs[i];
        if (output->composed) {
            const char *bytes = batch->env->bytes.at;
            if (output->has_key)
                output->record.key = (struct span){bytes + output->key_at, output->key_length};
            output->record.value = (struct span){bytes + output->value_at, output->value_length};
        }
        records[i] = output->record;
    }
    return records;
}
