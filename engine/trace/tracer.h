/*
 * tracer.h - where spans go: a bounded queue in memory, and one thread that sends what is in it to an OpenTelemetry
 * collector over OTLP/HTTP.
 *
 * Nothing waits for the collector: a thread that records appends the spans of a whole batch at once, and what there is
 * no room for is dropped and counted (METRIC_TRACE_SPANS). While the collector does not answer, the thread tries again
 * after pauses that double from 1 s to 30 s, or as long as it asks; the log has one line when that begins and one when
 * it is over. What the collector refuses for good is dropped. A process that ends otherwise than by tracer_destroy()
 * loses the spans that it had not sent, and nothing else.
 */
#ifndef SLUICE_TRACE_TRACER_H
#define SLUICE_TRACE_TRACER_H

#include "base/metrics.h"
#include "trace/record.h"
#include "trace/sender.h"

enum {
    TRACER_QUEUE_MAX = 8 * 1024 * 1024, /* bytes that wait; as many again may be on their way */
    TRACER_WAIT_MS = 1000,              /* from the first span of a request to its sending */
    TRACER_POST_SPANS = 512,            /* most of one request */
    TRACER_FLUSH_MS = 2000,             /* most of tracer_destroy() */
};

struct tracer_options { /* copied but for `messaging`, which outlives the tracer */
    const char *url;    /* of the collector's traces: http://HOST:4318/v1/traces */
    const struct trace_header *headers;
    size_t header_count;
    double sample;         /* share of the traces that begin here */
    const char *service;   /* name of the pipeline */
    const char *instance;  /* of this engine; NULL: none */
    const char *messaging; /* what carries events: messaging.system */
    struct metrics *metrics;
};

struct tracer;

/* 0, or negative with a sentence. Whether the collector answers is not looked at. */
int tracer_create(const struct tracer_options *options, struct tracer **ret, struct error *error);
/* Sends what waits, for at most TRACER_FLUSH_MS, and ends the thread. Nobody records any more. NULL is fine. */
void tracer_destroy(struct tracer *tracer);
/* Whether the collector takes a request without spans. 0, or negative with a sentence. */
int tracer_probe(const struct tracer_options *options, struct error *error);

double tracer_sample(const struct tracer *tracer);
const char *tracer_messaging(const struct tracer *tracer);
/* Takes the spans that trace_record() wrote, `count` of them. Any thread; it waits for nothing but another thread that
 * copies its own. */
void tracer_add(struct tracer *tracer, const struct buffer *spans, size_t count);

#endif
