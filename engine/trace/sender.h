/*
 * sender.h - one POST of JSON at a time, by libcurl, and what its answer means to OTLP/HTTP; `sluice reload` and
 * `sluice doctor` ask an engine with it, too.
 *
 * A post takes at most SENDER_TIMEOUT_MS, whatever the collector does, or as long as sender_create_engine() says.
 * Redirects are not followed; certificates and names are verified. The URL in sentences has no user, password or query,
 * and headers are in none. One thread, but for sender_hurry().
 */
#ifndef SLUICE_TRACE_SENDER_H
#define SLUICE_TRACE_SENDER_H

#include "base/error.h"
#include "base/span.h"

enum { SENDER_TIMEOUT_MS = 10000, SENDER_CONNECT_MS = 5000, SENDER_WHY_MAX = 300 };

struct trace_header {
    const char *name, *value;
};

struct sender;

enum sender_result {
    SENDER_TAKEN,   /* 2xx */
    SENDER_REFUSED, /* the same again would be refused again */
    SENDER_AGAIN,   /* no answer, or 429, 502, 503, 504: later */
};

struct sender_answer {
    int status; /* of HTTP; 0: there was no answer */
    enum sender_result result;
    int64_t retry_after_ms;   /* 0: it says nothing */
    int64_t rejected;         /* spans of a post that was taken, without these */
    char why[SENDER_WHY_MAX]; /* unless it was taken whole: what it said, or what kept it from answering */
};

/* 0, or negative with a sentence: libcurl takes no such URL or header, or there is no memory. */
int sender_create(const char *url, const struct trace_header *headers, size_t header_count, struct sender **ret,
                  struct error *error);
/* One for an engine: it shows http.token (NULL: there is none), waits at most so long, and goes to the host itself,
 * whatever proxy the environment names. */
int sender_create_engine(const char *url, const char *token, int64_t timeout_ms, struct sender **ret,
                         struct error *error);
void sender_destroy(struct sender *sender);          /* NULL is fine */
const char *sender_url(const struct sender *sender); /* for sentences */
void sender_post(struct sender *sender, struct span body, struct sender_answer *ret);
void sender_get(struct sender *sender, struct sender_answer *ret);
/* The body of the latest answer, up to 128 KiB; until the next post. */
struct span sender_body(const struct sender *sender);
/* From now on every post, the one under way too, ends by then (monotonic). Any thread. */
void sender_hurry(struct sender *sender, int64_t until_ms);

#endif
