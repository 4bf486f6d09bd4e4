/*
 * reply.c - answers: their headers, the bodies of errors, and what is counted.
 */
#include "http/exchange.h"

#include "base/clock.h"
#include "event/json.h"

#include <stdio.h>

void reply_count(struct exchange *exchange, int status)
{
    exchange->counted = true;
    struct http_series *series = exchange->series;
    if (series->by_code[status] == NULL) {
        char code[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), '\0'};
        series->by_code[status] = metrics_series(exchange->http->metrics, METRIC_REQUESTS, series->route, code);
    }
    series_add(series->by_code[status], 1);
    series_observe(series->seconds, (double)(clock_monotonic_ns() - exchange->since_ns) / 1e9);
    traced_answer(exchange, status);
}

static bool reply_headers(struct exchange *exchange, int status, const char *type, struct MHD_Response *response)
{
    bool ok = MHD_add_response_header(response, "Content-Type", type) == MHD_YES &&
              MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
              MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
              MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin") == MHD_YES;
    if (exchange->policy != NULL)
        ok = ok && MHD_add_response_header(response, "Content-Security-Policy", exchange->policy) == MHD_YES &&
             MHD_add_response_header(response, "Referrer-Policy", "no-referrer") == MHD_YES &&
             MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin") == MHD_YES;
    if (status == 503) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d",
                 exchange->gateway.retry_after_s > 0 ? (int)exchange->gateway.retry_after_s : 1);
        ok = ok && MHD_add_response_header(response, "Retry-After", seconds) == MHD_YES;
    }
    if (status == 401)
        ok = ok && MHD_add_response_header(response, "WWW-Authenticate",
                                           exchange->head.authorization.at == NULL
                                               ? "Bearer realm=\"sluice\""
                                               : "Bearer realm=\"sluice\", error=\"invalid_token\"") == MHD_YES;
    if (exchange->allow != NULL && (status == 405 || status == 204))
        ok = ok && MHD_add_response_header(response, "Allow", exchange->allow) == MHD_YES;
    if (exchange->refusal.close || atomic_load(&exchange->http->quiescing))
        ok = ok && MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    return ok;
}

enum MHD_Result reply_send(struct exchange *exchange, int status, const char *type, struct buffer *body)
{
    enum MHD_Result result = MHD_NO;
    if (status < 200 || status > 599)
        status = 500;
    if (status == 204 || status == 304)
        buffer_free(body);
    struct MHD_Response *response = MHD_create_response_from_buffer(body->length, body->at, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        buffer_free(body);
        return MHD_NO;
    }
    memset(body, 0, sizeof *body); /* the response frees it */
    if (exchange->peer != NULL)
        watch_client(&exchange->http->watch, exchange->peer, clock_monotonic_ms() + exchange->http->timeout_ms);
    if (reply_headers(exchange, status, type, response))
        result = MHD_queue_response(exchange->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    if (result == MHD_YES)
        reply_count(exchange, status);
    return result;
}

void reply_error_body(struct buffer *out, const char *word, const char *message, struct span reasons)
{
    json_error(out, word, message);
    if (reasons.length > 0) {
        const char *separator = ",\"reasons\":[";
        while (reasons.length > 0) {
            const char *end = memchr(reasons.at, '\n', reasons.length);
            struct span line = {reasons.at, end == NULL ? reasons.length : (size_t)(end - reasons.at)};
            size_t step = line.length + (end == NULL ? 0 : 1);
            reasons = (struct span){reasons.at + step, reasons.length - step};
            buffer_text(out, separator);
            buffer_json_string(out, text_is_utf8(line) ? line : SPAN("(not readable)"));
            separator = ",";
        }
        buffer_text(out, "]");
    }
    buffer_text(out, "}\n");
}

enum MHD_Result reply_refusal(struct exchange *exchange)
{
    const struct refusal *refusal = &exchange->refusal;
    struct buffer body;
    buffer_init(&body, HTTP_PAGE_MAX);
    if (exchange->options && refusal->status == 405)
        return reply_send(exchange, 204, "application/json", &body);
    reply_error_body(&body, refusal->word, refusal->message, (struct span){0});
    return reply_send(exchange, refusal->status, "application/json", &body);
}
