/*
 * traced.c - see traced.h.
 *
 * Attributes have the names of OpenTelemetry's semantic conventions for messaging; what is ours begins with "sluice.".
 */
#include "batch/traced.h"

#include "base/clock.h"
#include "batch/request.h"

enum { SPANS_MAX = TRACER_QUEUE_MAX }; /* bytes of one batch */

static struct span header_of(const struct work *work, const char *name)
{
    return work->event.record == NULL ? (struct span){NULL, 0} : record_header(work->event.record, name);
}

/* The trace that a work belongs to, and who is its parent there. False: it is not recorded.
 *
 * What the engine emits in a trace that is not recorded has no traceparent, so that it costs nothing: sluice-parent, or
 * the mark of a replay, says that no trace begins there. */
static bool trace_of(const struct batch *batch, const struct work *work, struct trace_context *ret)
{
    bool sampled = false, request = work->item->source == ITEM_REQUEST;
    struct span text = request ? work->item->request->traceparent : header_of(work, HEADER_TRACEPARENT);
    if (text.length > 0 && trace_parse(text, ret, &sampled))
        return sampled;
    if (request || work->event.hops > 0 || header_of(work, HEADER_PARENT).length > 0 ||
        header_of(work, HEADER_REPLAY_OF).length > 0)
        return false; /* the listener has decided about requests */
    *ret = (struct trace_context){.trace = trace_of_event(&work->event.id)};
    return trace_is_sampled(&ret->trace, tracer_sample(batch->env->tracer));
}

static const char *handler_of(const struct work *work)
{
    return work->item->binding == NULL ? "" : work->item->binding->id;
}

/* The span of the event's first try, as far as it is known here: carried by a step of a retry ladder, seen by this
 * process, or by the number of the try. */
static uint64_t first_of(const struct work *work)
{
    uint64_t carried = work->retry_count > 0 ? trace_span_parse(header_of(work, HEADER_FIRST_TRY)) : 0;
    if (carried != 0 || work->item->first_span != 0)
        return carried != 0 ? carried : work->item->first_span;
    return work->item->tries > 0 ? trace_span_of(&work->event.id, handler_of(work), 0) : work->trace->own.span;
}

void traced_begin(struct batch *batch)
{
    if (batch->env->tracer == NULL)
        return;
    for (size_t i = 0; i < batch->count; i++) {
        struct work *work = &batch->works[i];
        struct trace_context context;
        if (!trace_of(batch, work, &context))
            continue;
        work->trace = arena_new(batch->arena, struct work_trace);
        work->trace->parent = context.span;
        work->trace->own.trace = context.trace;
        work->trace->own.span = trace_span_of(&work->event.id, handler_of(work), work->item->tries);
        work->trace->first = first_of(work);
    }
}

void traced_called(struct work **works, size_t count, int64_t began_ns, int64_t ended_ns)
{
    for (size_t i = 0; i < count; i++)
        if (works[i]->trace != NULL) {
            works[i]->trace->began_ns = began_ns;
            works[i]->trace->ended_ns = ended_ns;
        }
}

const char *traced_parent(struct batch *batch, const struct work *work)
{
    if (work->trace == NULL)
        return NULL;
    char *text = arena_alloc_raw(batch->arena, TRACEPARENT_TEXT + 1);
    trace_format(&work->trace->own, text);
    work->trace->emitted = true;
    return text;
}

const char *traced_step(struct batch *batch, const struct work *work)
{
    if (work->trace == NULL)
        return NULL;
    struct trace_context step = work->trace->own;
    if (work->trace->parent != 0)
        step.span = work->trace->parent; /* who emitted it */
    char *text = arena_alloc_raw(batch->arena, TRACEPARENT_TEXT + 1);
    trace_format(&step, text);
    return text;
}

const char *traced_first(struct batch *batch, const struct work *work)
{
    return arena_format(batch->arena, "%016llx", (unsigned long long)work->trace->first);
}

/* ------------------------------------------------------------------------------------------------------------ spans */

/* What the word of an outcome is, for people and for searches. */
static const char *outcome_of(const struct work *work)
{
    return work->verdict == VERDICT_OUTCOME ? work->item->binding->outcomes[work->outcome].name : work_row(work)->word;
}

static void describe_place(const struct batch *batch, const struct work *work, struct trace_span *span)
{
    char place[96];
    int32_t partition = -1;
    int64_t offset = -1;
    if (!work_place(batch, work, place, sizeof place, &partition, &offset))
        return;
    trace_text(span, "messaging.destination.partition.id", span_of(arena_format(batch->arena, "%d", partition)));
    trace_number(span, batch->env->config->bus.kind == BUS_CHOICE_KAFKA ? "messaging.kafka.offset" : "sluice.position",
                 offset);
}

static void describe_event(struct batch *batch, const struct work *work, struct trace_span *span)
{
    static const struct overlays nothing = {0};
    const struct item *item = work->item;
    span->kind = TRACE_CONSUMER;
    span->name = SPAN("process");
    span->subject = item->record.topic;
    trace_text(span, "messaging.system", span_of(tracer_messaging(batch->env->tracer)));
    trace_text(span, "messaging.operation.name", SPAN("process"));
    trace_text(span, "messaging.operation.type", SPAN("process"));
    trace_text(span, "messaging.destination.name", item->record.topic);
    trace_text(span, "messaging.consumer.group.name", span_of(batch->env->group->name));
    trace_text(span, "messaging.message.id", work->event.id_text);
    trace_text(span, "messaging.message.conversation_id", output_correlation(batch, work, &nothing));
    describe_place(batch, work, span);
    trace_number(span, "sluice.try", item->tries + 1);
    if (work->retry_count > 0)
        trace_number(span, "sluice.retry_count", work->retry_count);
}

static void describe(struct batch *batch, const struct work *work, struct trace_span *span)
{
    const struct item *item = work->item;
    const struct verdict_row *row = work_row(work);
    if (item->topic != NULL && batch->env->group != NULL && item_is_event(item)) {
        describe_event(batch, work, span);
    } else {
        span->kind = TRACE_INTERNAL;
        span->name = item->timed_out != NULL ? SPAN("abort") : item->timer != 0 ? SPAN("timer") : SPAN("handle");
        span->subject = item->timed_out != NULL ? span_of(item->timed_out->chain->name)
                        : item->timer != 0      ? item->record.topic
                                                : span_of(handler_of(work));
    }
    trace_text(span, "sluice.handler", span_of(handler_of(work)));
    trace_text(span, "sluice.outcome", span_of(outcome_of(work)));
    span->failed = row->counts_try || work->verdict == VERDICT_DEAD || work->verdict == VERDICT_STUCK;
    span->why = span_of(work->why == NULL ? "" : work->why);
    if (span->failed)
        trace_text(span, "error.type",
                   span_of(work->verdict == VERDICT_DEAD ? event_dead_word(work->reason) : row->word));
    else
        trace_text(span, "sluice.why", span->why);
}

/* What the try stands beside: the first one, the event that this one replays, what it undoes, who emitted what has
 * waited. */
static void describe_links(const struct batch *batch, const struct work *work, struct trace_span *span)
{
    const struct work_trace *trace = work->trace;
    struct trace_context to = {.trace = trace->own.trace, .span = trace->first};
    struct span original = header_of(work, HEADER_REPLAY_OF);
    bool waited = work->item->source == ITEM_PARKED || work->item->source == ITEM_HELD;
    if (trace->first != trace->own.span)
        trace_link(span, to, "first_try");
    if (original.length > 0) {
        struct event_id id = event_id_of(original);
        to.span = trace_span_of(&id, handler_of(work), 0);
        trace_link(span, to, "replay_of");
    }
    struct trace_context undone;
    bool sampled;
    if (trace_parse(header_of(work, HEADER_UNDOES), &undone, &sampled) && batch->env->group->tap == NULL)
        trace_link(span, undone, "undoes");
    if (span->link_count == 0 && waited && trace->parent != 0) {
        to.span = trace->parent;
        trace_link(span, to, "delayed");
    }
}

/* The event comes again under the same number of tries, or may do so, as nothing records that it was handled: this span
 * must not have the id of that one. */
static bool comes_again(const struct batch *batch, const struct work *work)
{
    const struct verdict_row *row = work_row(work);
    const struct binding *binding = work->item->binding;
    if (work->verdict == VERDICT_OUTCOME)
        return !work->trace->emitted && !batch->env->bindings[binding->index].records;
    return !row->counts_try && (row->way != WAY_DONE || row->parking != PARKING_NONE);
}

/* Whether there is something to tell: a handler ran, or the event ended or lost a try. */
static bool is_told(const struct work *work)
{
    const struct verdict_row *row = work_row(work);
    if (work->trace == NULL || work->reply_pending)
        return false;
    return work->trace->began_ns != 0 || work->trace->emitted || row->output != OUTPUT_NOTHING || row->counts_try ||
           work->verdict == VERDICT_STUCK;
}

static void record(struct batch *batch, struct buffer *out, struct work *work, int64_t wall_ns, int64_t now_ns)
{
    struct trace_span span = {.context = work->trace->own, .parent = work->trace->parent};
    bool called = work->trace->began_ns != 0;
    if (comes_again(batch, work))
        span.context.span = trace_span_salted(span.context.span, /* the same event may be in the batch twice */
                                              (uint64_t)now_ns << 16 | (uint64_t)(work - batch->works));
    describe_links(batch, work, &span);
    if (work->item->first_span == 0)
        work->item->first_span = span.context.span;
    span.began_ns = wall_ns - (now_ns - (called ? work->trace->began_ns : batch->now_ms * 1000000));
    span.ended_ns = called ? wall_ns - (now_ns - work->trace->ended_ns) : wall_ns;
    if (span.ended_ns < span.began_ns)
        span.ended_ns = span.began_ns;
    describe(batch, work, &span);
    trace_record(out, &span);
}

void traced_end(struct batch *batch)
{
    struct buffer out;
    size_t count = 0;
    if (batch->env->tracer == NULL)
        return;
    int64_t wall_ns = 0, now_ns = 0;
    buffer_init(&out, SPANS_MAX);
    for (size_t i = 0; i < batch->count; i++) {
        if (!is_told(&batch->works[i]))
            continue;
        if (count++ == 0) {
            now_ns = clock_monotonic_ns();
            wall_ns = clock_wall_ns();
        }
        record(batch, &out, &batch->works[i], wall_ns, now_ns);
    }
    if (count > 0)
        tracer_add(batch->env->tracer, &out, count);
    buffer_free(&out);
}
