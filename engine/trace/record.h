/*
 * record.h - one span, and how it is written: OTLP's JSON, one line a span.
 *
 * Whoever records fills a struct trace_span on its stack, whose spans and strings need to live only until
 * trace_record() returns, and appends it to a buffer of its own. Texts are cut to TRACE_TEXT_MAX bytes, and bytes that
 * are no UTF-8, and NUL, become '?'. Any thread, a buffer each.
 */
#ifndef SLUICE_TRACE_RECORD_H
#define SLUICE_TRACE_RECORD_H

#include "base/buffer.h"
#include "trace/context.h"

enum { TRACE_TEXT_MAX = 256, TRACE_ATTRIBUTES_MAX = 20, TRACE_LINKS_MAX = 3 };

enum trace_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_CONSUMER = 5 }; /* OTLP's numbers */

struct trace_attribute {
    const char *key;
    struct span text;
    int64_t number; /* when text.at is NULL */
};

struct trace_link {
    struct trace_context to;
    const char *why; /* attribute sluice.link */
};

struct trace_span {
    struct trace_context context;
    uint64_t parent; /* 0: none */
    enum trace_kind kind;
    struct span name, subject;  /* "process" and "payment.try": written with a space between; subject may be empty */
    int64_t began_ns, ended_ns; /* wall time */
    struct trace_attribute attributes[TRACE_ATTRIBUTES_MAX];
    size_t attribute_count;
    struct trace_link links[TRACE_LINKS_MAX];
    size_t link_count;
    bool failed;
    struct span why; /* of a failed one */
};

/* Adds an attribute; an empty text is left out, and so is one beyond the most. */
void trace_text(struct trace_span *span, const char *key, struct span text);
void trace_number(struct trace_span *span, const char *key, int64_t number);
void trace_link(struct trace_span *span, struct trace_context to, const char *why);
/* Appends the span and a newline, which no JSON text holds inside. */
void trace_record(struct buffer *out, const struct trace_span *span);
/* Appends them as OTLP's list, in brackets. */
void trace_record_attributes(struct buffer *out, const struct trace_attribute *attributes, size_t count);

#endif
