/*
 * traceparent.c - the trace that an event belongs to, by W3C Trace Context level 1: version-traceid-parentid-flags.
 *
 * The engine continues the trace of the event that it received and begins none. Each emitted event is a span of its
 * own, whose id is a hash of the event's: an emission that is repeated after a crash names the same span. What is not
 * valid is not carried on, and no event fails for it.
 */
#include "event/event.h"

enum { TRACE_AT = 3, TRACE_DIGITS = 32, SPAN_AT = 36, SPAN_BYTES = 8, FLAGS_AT = 53 };

static int trace_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether `length` bytes are hexadecimal digits in lower case. */
static bool trace_is_hex(const char *at, size_t length, bool *ret_zero)
{
    *ret_zero = true;
    for (size_t i = 0; i < length; i++) {
        if (trace_digit(at[i]) < 0)
            return false;
        *ret_zero = *ret_zero && at[i] == '0';
    }
    return true;
}

bool traceparent_valid(struct span text)
{
    bool zero, trace_zero, span_zero;
    return text.length == TRACEPARENT_TEXT && text.at[TRACE_AT - 1] == '-' && text.at[SPAN_AT - 1] == '-' &&
           text.at[FLAGS_AT - 1] == '-' && trace_is_hex(text.at, 2, &zero) && memcmp(text.at, "ff", 2) != 0 &&
           trace_is_hex(text.at + TRACE_AT, TRACE_DIGITS, &trace_zero) && !trace_zero &&
           trace_is_hex(text.at + SPAN_AT, 2 * SPAN_BYTES, &span_zero) && !span_zero &&
           trace_is_hex(text.at + FLAGS_AT, 2, &zero);
}

bool traceparent_derive(struct span received, struct span event_id, char ret_text[TRACEPARENT_TEXT + 1])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t hash[16];
    if (!traceparent_valid(received))
        return false;
    memcpy(ret_text, received.at, TRACEPARENT_TEXT);
    ret_text[TRACEPARENT_TEXT] = '\0';
    /* Of a version that is not known only the sampled flag means what we know, and what we write is version 00. */
    if (memcmp(received.at, "00", 2) != 0) {
        memcpy(ret_text, "00", 2);
        ret_text[FLAGS_AT] = '0';
        ret_text[FLAGS_AT + 1] = hex[trace_digit(received.at[FLAGS_AT + 1]) & 1];
    }
    span_hash128(event_id, hash);
    hash[SPAN_BYTES - 1] |= 1; /* a span id is never zero */
    for (size_t i = 0; i < SPAN_BYTES; i++) {
        ret_text[SPAN_AT + 2 * i] = hex[hash[i] >> 4];
        ret_text[SPAN_AT + 2 * i + 1] = hex[hash[i] & 15];
    }
    return true;
}

bool tracestate_valid(struct span text)
{
    if (text.length == 0 || text.length > TRACESTATE_MAX)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] < ' ' || text.at[i] > '~')
            return false;
    return true;
}
