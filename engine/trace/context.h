/*
 * context.h - which trace something belongs to, and whether that trace is recorded: W3C Trace Context.
 *
 * A trace that comes in with a `traceparent` is recorded when its sampled flag says so. One that begins here is decided
 * by its id, as TraceIdRatioBased of the OpenTelemetry specification does: whoever sees the id decides the same. The
 * ids of an event's trace and of a handler's span are hashes of the event's id, so that every process, and every time
 * that the event is handled, finds the same ones. Pure functions over plain data; any thread.
 */
#ifndef SLUICE_TRACE_CONTEXT_H
#define SLUICE_TRACE_CONTEXT_H

#include "event/event.h"

struct trace_id {
    uint8_t bytes[16]; /* never all zero */
};

struct trace_context {
    struct trace_id trace;
    uint64_t span; /* never 0 but where a header says that there is none */
};

/* Reads a traceparent. False, and nothing is written, when it is not valid. */
bool trace_parse(struct span traceparent, struct trace_context *ret, bool *ret_sampled);
/* Writes the traceparent of a sampled span. */
void trace_format(const struct trace_context *context, char ret_text[TRACEPARENT_TEXT + 1]);
/* Whether a trace that begins here is recorded. ratio: 0 to 1, the share of all traces. */
bool trace_is_sampled(const struct trace_id *trace, double ratio);

/* The trace that begins with an event. */
struct trace_id trace_of_event(const struct event_id *event);
/* The span of one try (from 0) of an event by a handler. */
uint64_t trace_span_of(const struct event_id *event, const char *handler, uint32_t try);
/* A span's id of 16 hexadecimal digits; 0: it is none. */
uint64_t trace_span_parse(struct span text);
/* Another id, for what must not share one: `salt` tells them apart. */
uint64_t trace_span_salted(uint64_t span, uint64_t salt);
/* A new trace with a new span in it, from a state word that the caller owns and that only one thread uses. */
struct trace_context trace_new(uint64_t *random);

#endif
