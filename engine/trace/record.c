/*
 * record.c - see record.h.
 *
 * https://opentelemetry.io/docs/specs/otlp: ids are hexadecimal digits, 64-bit integers are texts, enums are numbers.
 */
#include "trace/record.h"

void trace_text(struct trace_span *span, const char *key, struct span text)
{
    if (text.length > 0 && span->attribute_count < TRACE_ATTRIBUTES_MAX)
        span->attributes[span->attribute_count++] = (struct trace_attribute){.key = key, .text = text};
}

void trace_number(struct trace_span *span, const char *key, int64_t number)
{
    if (span->attribute_count < TRACE_ATTRIBUTES_MAX)
        span->attributes[span->attribute_count++] = (struct trace_attribute){.key = key, .number = number};
}

void trace_link(struct trace_span *span, struct trace_context to, const char *why)
{
    if (span->link_count < TRACE_LINKS_MAX)
        span->links[span->link_count++] = (struct trace_link){to, why};
}

/* As every reader of JSON takes it: cut at a character, what is no UTF-8, and NUL, replaced. */
static void put_text(struct buffer *out, struct span text)
{
    char local[TRACE_TEXT_MAX];
    size_t length = 0;
    bool cut = text.length > sizeof local;
    if (cut)
        text.length = sizeof local;
    while (text.length > 0) {
        size_t good = span_utf8(text);
        memcpy(local + length, text.at, good);
        length += good;
        text = (struct span){text.at + good, text.length - good};
        if (text.length == 0 || (cut && text.length < 4))
            break;
        local[length++] = '?';
        text = (struct span){text.at + 1, text.length - 1};
    }
    for (size_t i = 0; i < length; i++)
        if (local[i] == '\0')
            local[i] = '?';
    buffer_json_string(out, (struct span){local, length});
}

static void put_hex(struct buffer *out, const uint8_t *bytes, size_t count)
{
    static const char hex[] = "0123456789abcdef";
    char *at = buffer_reserve(out, 2 * count);
    for (size_t i = 0; at != NULL && i < count; i++) {
        at[2 * i] = hex[bytes[i] >> 4];
        at[2 * i + 1] = hex[bytes[i] & 15];
    }
    if (at != NULL)
        out->length += 2 * count;
}

static void put_span_id(struct buffer *out, uint64_t span)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(span >> (56 - 8 * i));
    put_hex(out, bytes, sizeof bytes);
}

static void put_context(struct buffer *out, const struct trace_context *context)
{
    buffer_text(out, "{\"traceId\":\"");
    put_hex(out, context->trace.bytes, sizeof context->trace.bytes);
    buffer_text(out, "\",\"spanId\":\"");
    put_span_id(out, context->span);
    buffer_byte(out, '"');
}

static void put_time(struct buffer *out, const char *key, int64_t wall_ns)
{
    buffer_text(out, key);
    buffer_int64(out, wall_ns);
    buffer_byte(out, '"');
}

static void put_attribute(struct buffer *out, const struct trace_attribute *attribute)
{
    buffer_text(out, "{\"key\":\"");
    buffer_text(out, attribute->key);
    buffer_text(out, "\",\"value\":{\"");
    if (attribute->text.at != NULL) {
        buffer_text(out, "stringValue\":");
        put_text(out, attribute->text);
    } else {
        buffer_text(out, "intValue\":\"");
        buffer_int64(out, attribute->number);
        buffer_byte(out, '"');
    }
    buffer_text(out, "}}");
}

void trace_record_attributes(struct buffer *out, const struct trace_attribute *attributes, size_t count)
{
    buffer_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_byte(out, ',');
        put_attribute(out, &attributes[i]);
    }
    buffer_byte(out, ']');
}

static void put_link(struct buffer *out, const struct trace_link *link)
{
    put_context(out, &link->to);
    buffer_text(out, ",\"attributes\":");
    trace_record_attributes(out, &(struct trace_attribute){.key = "sluice.link", .text = span_of(link->why)}, 1);
    buffer_byte(out, '}');
}

static void put_name(struct buffer *out, const struct trace_span *span)
{
    char name[TRACE_TEXT_MAX + 1];
    size_t verb = span->name.length < 32 ? span->name.length : 32, length = verb;
    memcpy(name, span->name.at, verb);
    if (span->subject.length > 0) {
        size_t most = sizeof name - verb - 1;
        name[length++] = ' ';
        memcpy(name + length, span->subject.at, span->subject.length < most ? span->subject.length : most);
        length += span->subject.length < most ? span->subject.length : most;
    }
    put_text(out, (struct span){name, length});
}

void trace_record(struct buffer *out, const struct trace_span *span)
{
    put_context(out, &span->context);
    if (span->parent != 0) {
        buffer_text(out, ",\"parentSpanId\":\"");
        put_span_id(out, span->parent);
        buffer_byte(out, '"');
    }
    buffer_text(out, ",\"name\":");
    put_name(out, span);
    buffer_text(out, ",\"kind\":");
    buffer_int64(out, span->kind);
    put_time(out, ",\"startTimeUnixNano\":\"", span->began_ns);
    put_time(out, ",\"endTimeUnixNano\":\"", span->ended_ns);
    buffer_text(out, ",\"attributes\":");
    trace_record_attributes(out, span->attributes, span->attribute_count);
    for (size_t i = 0; i < span->link_count; i++) {
        buffer_text(out, i == 0 ? ",\"links\":[" : ",");
        put_link(out, &span->links[i]);
    }
    if (span->link_count > 0)
        buffer_byte(out, ']');
    buffer_text(out, ",\"status\":{");
    if (span->failed) {
        buffer_text(out, "\"code\":2,\"message\":");
        put_text(out, span->why);
    }
    buffer_text(out, "}}\n");
}
