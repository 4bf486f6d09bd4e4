/*
 * traced.c - see traced.h. Attributes have the names of OpenTelemetry's semantic conventions for HTTP servers.
 */
#include "http/traced.h"

#include "base/clock.h"
#include "http/exchange.h"
#include "trace/tracer.h"

enum { SPAN_MAX = 32 * 1024 };

void traced_request(struct exchange *exchange)
{
    struct http *http = exchange->http;
    struct gateway_request *request = &exchange->gateway;
    struct trace_context context = {0};
    bool sampled = false;
    if (http->tracer == NULL || exchange->admin != NULL || exchange->management.gateway != NULL)
        return;
    exchange->trace = trace_new(&http->trace_random);
    if (trace_parse(request->traceparent, &context, &sampled)) {
        exchange->trace.trace = context.trace;
        exchange->trace_parent = context.span;
    } else {
        sampled = trace_is_sampled(&exchange->trace.trace, tracer_sample(http->tracer));
    }
    exchange->traced = sampled;
    if (!sampled)
        return;
    char *text = arena_alloc_raw(exchange->arena, TRACEPARENT_TEXT + 1);
    trace_format(&exchange->trace, text);
    request->traceparent = span_of(text);
}

void traced_answer(struct exchange *exchange, int status)
{
    struct tracer *tracer = exchange->http->tracer;
    const struct request *route = &exchange->http->pipeline->requests[exchange->gateway.route];
    struct span path = exchange->raw;
    struct buffer out;
    if (!exchange->traced)
        return;
    for (size_t i = 0; i < path.length; i++)
        if (path.at[i] == '?')
            path.length = i; /* a query may hold what is nobody's business */
    struct trace_span span = {.context = exchange->trace,
                              .parent = exchange->trace_parent,
                              .kind = TRACE_SERVER,
                              .name = span_of(route->method),
                              .subject = span_of(route->path),
                              .ended_ns = clock_wall_ns(),
                              .failed = status >= 500};
    span.began_ns = span.ended_ns - (clock_monotonic_ns() - exchange->since_ns);
    trace_text(&span, "http.request.method", span_of(route->method));
    trace_text(&span, "http.route", span_of(route->path));
    trace_text(&span, "url.path", path);
    trace_text(&span, "url.scheme", SPAN("http"));
    trace_number(&span, "http.response.status_code", status);
    if (span.failed)
        trace_text(&span, "error.type", span_of(arena_format(exchange->arena, "%d", status)));
    buffer_init(&out, SPAN_MAX);
    trace_record(&out, &span);
    tracer_add(tracer, &out, 1);
    buffer_free(&out);
    exchange->traced = false;
}
