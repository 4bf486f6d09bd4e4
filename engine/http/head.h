/*
 * head.h - what a request's header fields say, checked.
 *
 * libmicrohttpd takes the first of two contradicting fields and goes on; a proxy in front might take the second, and
 * then one request is two. So everything about the framing of a body is checked here again, strictly, before a byte
 * of it is believed. Pure: spans in, a refusal or none out; nothing is copied.
 */
#ifndef SLUICE_HTTP_HEAD_H
#define SLUICE_HTTP_HEAD_H

#include "base/span.h"

enum {
    HEAD_SIZE_MAX = 8 * 1024, /* bytes of the request line and the fields */
    HEAD_FIELDS_MAX = 64,
    IDEMPOTENCY_KEY_MAX = 128,
};

/* Why a request is not served: an answer ready to be sent. */
struct refusal {
    int status;          /* 0: it is served */
    const char *word;    /* "not_found" */
    const char *message; /* a sentence; static */
    bool close;          /* where the next request begins is not certain: answer and hang up */
};

struct head {
    size_t field_count;
    bool has_length, chunked, has_content_type, expects_continue;
    uint64_t length; /* of the body, with has_length */
    struct span content_type, idempotency_key, traceparent, authorization, host, origin; /* {NULL, 0}: none */
    size_t traceparent_count;
    struct refusal refusal; /* the first one counts */
};

void refusal_set(struct refusal *refusal, int status, const char *word, const char *message); /* the first one counts */
/* One field, in the order of the request. */
void head_add(struct head *head, struct span name, struct span value);
/* After the last one: what only the whole can tell. `size` is that of the header in bytes; `in_order`: layout.h says
 * so. */
void head_finish(struct head *head, bool http11, bool body_allowed, size_t size, bool in_order);
/* Whether it shows this bearer token. Takes as long for any wrong one of the same length. */
bool head_shows_token(const struct head *head, const char *token);
static inline bool head_has_body(const struct head *head)
{
    return head->chunked || (head->has_length && head->length > 0);
}

#endif
