/*
 * context.c - see context.h.
 */
#include "trace/context.h"

enum { TRACE_AT = 3, SPAN_AT = 36, FLAGS_AT = 53, HANDLER_MAX = 256 };

static uint8_t digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static uint8_t byte_at(const char *text)
{
    return (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
}

uint64_t trace_span_parse(struct span text)
{
    uint64_t span = 0;
    if (text.length != 2 * sizeof span)
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        if (!((text.at[i] >= '0' && text.at[i] <= '9') || (text.at[i] >= 'a' && text.at[i] <= 'f')))
            return 0;
        span = span << 4 | digit(text.at[i]);
    }
    return span;
}

bool trace_parse(struct span traceparent, struct trace_context *ret, bool *ret_sampled)
{
    if (!traceparent_valid(traceparent))
        return false;
    for (size_t i = 0; i < sizeof ret->trace.bytes; i++)
        ret->trace.bytes[i] = byte_at(traceparent.at + TRACE_AT + 2 * i);
    ret->span = trace_span_parse((struct span){traceparent.at + SPAN_AT, 2 * sizeof ret->span});
    *ret_sampled = (byte_at(traceparent.at + FLAGS_AT) & 1) != 0;
    return true;
}

void trace_format(const struct trace_context *context, char ret_text[TRACEPARENT_TEXT + 1])
{
    static const char hex[] = "0123456789abcdef", form[] = "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-01";
    memcpy(ret_text, form, sizeof form);
    for (size_t i = 0; i < sizeof context->trace.bytes; i++) {
        ret_text[TRACE_AT + 2 * i] = hex[context->trace.bytes[i] >> 4];
        ret_text[TRACE_AT + 2 * i + 1] = hex[context->trace.bytes[i] & 15];
    }
    for (size_t i = 0; i < 2 * sizeof context->span; i++)
        ret_text[SPAN_AT + i] = hex[context->span >> (60 - 4 * i) & 15];
}

bool trace_is_sampled(const struct trace_id *trace, double ratio)
{
    uint64_t low = 0;
    if (ratio >= 1)
        return true;
    for (size_t i = 8; i < sizeof trace->bytes; i++)
        low = low << 8 | trace->bytes[i];
    return ratio > 0 && low >> 1 < (uint64_t)(ratio * 9223372036854775808.0);
}

static uint64_t not_zero(uint64_t id)
{
    return id == 0 ? 1 : id;
}

struct trace_id trace_of_event(const struct event_id *event)
{
    /* An id that is a UUID may begin with the time; ids of traces are random. */
    char tagged[6 + sizeof event->bytes] = "trace/";
    struct trace_id trace;
    memcpy(tagged + 6, event->bytes, sizeof event->bytes);
    span_hash128((struct span){tagged, sizeof tagged}, trace.bytes);
    trace.bytes[0] |= 1;
    return trace;
}

uint64_t trace_span_of(const struct event_id *event, const char *handler, uint32_t try)
{
    char bytes[sizeof event->bytes + sizeof try + HANDLER_MAX];
    size_t length = strnlen(handler, HANDLER_MAX);
    memcpy(bytes, event->bytes, sizeof event->bytes);
    for (size_t i = 0; i < sizeof try; i++)
        bytes[sizeof event->bytes + i] = (char)(try >> (8 * i));
    memcpy(bytes + sizeof event->bytes + sizeof try, handler, length);
    return not_zero(span_hash((struct span){bytes, sizeof event->bytes + sizeof try + length}));
}

/* splitmix64 */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t trace_span_salted(uint64_t span, uint64_t salt)
{
    return not_zero(mixed(span ^ mixed(salt + 0x9e3779b97f4a7c15u)));
}

struct trace_context trace_new(uint64_t *random)
{
    struct trace_context context;
    for (size_t i = 0; i < sizeof context.trace.bytes; i += 8) {
        uint64_t word = mixed(*random += 0x9e3779b97f4a7c15u);
        memcpy(context.trace.bytes + i, &word, sizeof word);
    }
    context.trace.bytes[0] |= 1;
    context.span = not_zero(mixed(*random += 0x9e3779b97f4a7c15u));
    return context;
}
