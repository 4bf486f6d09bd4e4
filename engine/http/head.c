/*
 * head.c - see head.h. The grammar is RFC 9110 section 5 and RFC 9112 section 6, without what they allow for old
 * senders.
 */
#include "http/head.h"

#include "event/event.h"

#include <strings.h>

void refusal_set(struct refusal *refusal, int status, const char *word, const char *message)
{
    if (refusal->status == 0)
        *refusal = (struct refusal){.status = status, .word = word, .message = message};
}

/* For what makes the end of the request uncertain. It wins over a milder refusal: the connection must not be used
 * again. */
static void refusal_close(struct refusal *refusal, int status, const char *word, const char *message)
{
    if (!refusal->close)
        *refusal = (struct refusal){.status = status, .word = word, .message = message, .close = true};
}

static bool text_is(struct span text, const char *word) /* in any case */
{
    return text.length == strlen(word) && strncasecmp(text.at, word, text.length) == 0;
}

static struct span text_trim(struct span text)
{
    while (text.length > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.length--;
    }
    while (text.length > 0 && (text.at[text.length - 1] == ' ' || text.at[text.length - 1] == '\t'))
        text.length--;
    return text;
}

static bool name_valid(struct span name)
{
    for (size_t i = 0; i < name.length; i++) {
        char c = name.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return name.length > 0;
}

static bool value_valid(struct span value)
{
    for (size_t i = 0; i < value.length; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static void add_length(struct head *head, struct span value)
{
    uint64_t length = 0;
    bool valid = value.length > 0 && value.length <= 18;
    for (size_t i = 0; valid && i < value.length; i++) {
        valid = value.at[i] >= '0' && value.at[i] <= '9';
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    if (!valid)
        refusal_close(&head->refusal, 400, "bad_content_length", "Content-Length must be a decimal number.");
    else if (head->has_length)
        refusal_close(&head->refusal, 400, "bad_content_length", "Content-Length must be given once.");
    head->has_length = true;
    head->length = length;
}

static void add_encoding(struct head *head, struct span value)
{
    if (head->chunked || !text_is(value, "chunked"))
        refusal_close(&head->refusal, 400, "bad_transfer_encoding",
                      "The only Transfer-Encoding understood is chunked, once.");
    head->chunked = true;
}

static void add_idempotency_key(struct head *head, struct span value)
{
    bool valid = value.length >= 1 && value.length <= IDEMPOTENCY_KEY_MAX && head->idempotency_key.at == NULL;
    for (size_t i = 0; valid && i < value.length; i++)
        valid = value.at[i] >= 0x20 && value.at[i] <= 0x7e;
    if (!valid)
        refusal_set(&head->refusal, 400, "bad_idempotency_key",
                    "Idempotency-Key must be given once, as 1 to 128 printable ASCII characters.");
    else
        head->idempotency_key = value;
}

static void add_known(struct head *head, struct span name, struct span value)
{
    struct span trimmed = text_trim(value);
    if (text_is(name, "Content-Length")) {
        add_length(head, value);
    } else if (text_is(name, "Transfer-Encoding")) {
        add_encoding(head, value);
    } else if (text_is(name, "Host")) {
        if (head->host.at != NULL)
            refusal_close(&head->refusal, 400, "bad_host", "Host must be given once.");
        head->host = trimmed;
    } else if (text_is(name, "Origin")) {
        if (head->origin.at != NULL)
            refusal_set(&head->refusal, 400, "bad_header", "Origin must be given once.");
        head->origin = trimmed;
    } else if (text_is(name, "Content-Type")) {
        if (head->has_content_type)
            refusal_set(&head->refusal, 400, "bad_header", "Content-Type must be given once.");
        head->has_content_type = true;
        head->content_type = trimmed;
    } else if (text_is(name, "Content-Encoding")) {
        if (!text_is(trimmed, "identity"))
            refusal_set(&head->refusal, 415, "unsupported_encoding", "A body must be sent without Content-Encoding.");
    } else if (text_is(name, "Expect")) {
        head->expects_continue = head->expects_continue || text_is(trimmed, "100-continue");
    } else if (text_is(name, "Idempotency-Key")) {
        add_idempotency_key(head, trimmed);
    } else if (text_is(name, "Authorization")) {
        if (head->authorization.at != NULL)
            refusal_set(&head->refusal, 400, "bad_header", "Authorization must be given once.");
        head->authorization = trimmed;
    } else if (text_is(name, "traceparent")) {
        head->traceparent_count++; /* one that is not valid, or several, are as good as none */
        head->traceparent = head->traceparent_count == 1 && traceparent_valid(trimmed) ? trimmed : (struct span){0};
    }
}

void head_add(struct head *head, struct span name, struct span value)
{
    head->field_count++;
    if (head->field_count > HEAD_FIELDS_MAX)
        refusal_close(&head->refusal, 431, "header_too_large", "A request may have at most 64 header fields.");
    else if (!name_valid(name) || !value_valid(value))
        refusal_close(&head->refusal, 400, "bad_header",
                      "A header field has a name or a value with characters that are not allowed.");
    else
        add_known(head, name, value);
}

bool head_shows_token(const struct head *head, const char *token)
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof scheme - 1, length = strlen(token);
    struct span shown = head->authorization;
    if (shown.length < skip || strncasecmp(shown.at, scheme, skip) != 0)
        return false;
    shown = text_trim((struct span){shown.at + skip, shown.length - skip});
    volatile unsigned char different = shown.length != length;
    for (size_t i = 0; i < shown.length; i++)
        different |= (unsigned char)(shown.at[i] ^ token[length == 0 ? 0 : i % length]);
    return !different && length > 0;
}

static bool json_type(struct span type)
{
    const char *end = type.length == 0 ? NULL : memchr(type.at, ';', type.length);
    return text_is(text_trim((struct span){type.at, end == NULL ? type.length : (size_t)(end - type.at)}),
                   "application/json");
}

void head_finish(struct head *head, bool http11, bool body_allowed, size_t size, bool in_order)
{
    struct refusal *refusal = &head->refusal;
    if (size > HEAD_SIZE_MAX)
        refusal_close(refusal, 431, "header_too_large", "The header of a request may have at most 8192 bytes.");
    if (!in_order)
        refusal_close(
            refusal, 400, "bad_header",
            "A header must be lines that end in CR LF, without NUL bytes, fields without a name, and lines that "
            "continue a field.");
    if (head->chunked && (head->has_length || !http11))
        refusal_close(refusal, 400, "bad_transfer_encoding",
                      "Transfer-Encoding needs HTTP/1.1 and excludes Content-Length.");
    if (http11 && head->host.at == NULL)
        refusal_close(refusal, 400, "bad_host", "An HTTP/1.1 request must have a Host.");
    if (!body_allowed && head_has_body(head))
        refusal_close(refusal, 400, "unexpected_body", "A GET or HEAD request must not have a body.");
    if (head_has_body(head) && !json_type(head->content_type))
        refusal_set(refusal, 415, "unsupported_media_type", "A body must have Content-Type: application/json.");
}
