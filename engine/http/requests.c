/*
 * requests.c - the life of an exchange: its header is judged, its body collected, then it is answered at once or
 * suspended until a lane has the answer.
 *
 * A request that is refused is still read to its end when that is cheap: an answer sent while the client is still
 * sending gets lost when the connection is reset. Where the end is uncertain, or far, the answer goes out at once
 * and the connection closes.
 */
#include "http/exchange.h"

#include "base/clock.h"
#include "http/site.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

enum { EXCHANGE_ARENA_MAX = 256 * 1024 }; /* holds a header three times over: as it came, decoded, and copied */

struct exchange *exchange_create(struct http *http, struct MHD_Connection *connection, const char *target)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct exchange *exchange = calloc(1, sizeof *exchange);
    struct arena *arena = arena_create(4096, EXCHANGE_ARENA_MAX);
    if (exchange == NULL || arena == NULL) {
        free(exchange);
        arena_destroy(arena);
        return NULL;
    }
    exchange->http = http;
    exchange->connection = connection;
    exchange->peer = info == NULL ? NULL : info->socket_context;
    atomic_init(&exchange->references, 1);
    atomic_init(&exchange->state, EXCHANGE_OPEN);
    exchange->arena = arena;
    exchange->raw = arena_span(arena,
                               (struct span){target, strnlen(target, HEAD_SIZE_MAX)}); /* longer ones are refused */
    exchange->since_ns = clock_monotonic_ns();
    buffer_init(&exchange->body, http->max_body);
    return exchange;
}

static void exchange_release(struct exchange *exchange)
{
    if (atomic_fetch_sub(&exchange->references, 1) != 1)
        return;
    buffer_free(&exchange->body);
    buffer_free(&exchange->answer);
    arena_destroy(exchange->arena);
    free(exchange);
}

static enum MHD_Result add_field(void *context, enum MHD_ValueKind kind, const char *name, size_t name_length,
                                 const char *value, size_t value_length)
{
    struct exchange *exchange = context;
    struct span name_span = {name, name_length}, value_span = {value == NULL ? "" : value, value_length};
    (void)kind;
    layout_field(&exchange->layout, name_span, value_span);
    head_add(&exchange->head, name_span, value_span);
    return MHD_YES;
}

static void exchange_find(struct exchange *exchange, struct span method)
{
    struct http *http = exchange->http;
    struct refusal *refusal = &exchange->refusal;
    struct target target;
    struct match match;
    if (!target_parse(exchange->raw, exchange->arena, &target, refusal))
        return;
    exchange->admin = admin_find(&target);
    if (exchange->admin != NULL) {
        exchange->series = http->series[http->pipeline->request_count + admin_index(exchange->admin)];
        if (!span_is(method, "GET") && !span_is(method, "HEAD")) {
            exchange->allow = "GET, HEAD, OPTIONS";
            refusal_set(refusal, 405, "method_not_allowed", "This path is served, but not with this method.");
        }
        return;
    }
    size_t managed, own = http->pipeline->request_count;
    const struct request *management = management_routes(http->management, &managed);
    bool manages = management_finds(http->management, &target);
    if (manages)
        exchange->management.gateway = &exchange->gateway;
    if (!match_request(manages ? management : http->pipeline->requests, manages ? managed : own, method, &target,
                       exchange->arena, &match, &exchange->allow, refusal))
        return;
    exchange->series = http->series[manages ? own + admin_index(NULL) + 1 + match.index : match.index];
    exchange->emits = !manages && http->pipeline->requests[match.index].binding->emits;
    exchange->gateway.route = match.index;
    exchange->gateway.params = match.params;
    exchange->gateway.param_count = match.param_count;
    exchange->gateway.wait_ms = target.wait_ms;
}

/* What changes something through the engine, and where other machines reach it everything but its health, is for who
 * shows the token. A request of the pipeline is its handler's to judge. */
static void exchange_authorize(struct exchange *exchange, struct span method)
{
    struct http *http = exchange->http;
    const char *token = http->pipeline->http.token;
    struct refusal *refusal = &exchange->refusal;
    bool changes = exchange->management.gateway != NULL && !span_is(method, "GET") && !span_is(method, "HEAD");
    if ((http->loopback && !changes) || admin_is_health(exchange->admin) || admin_is_page(exchange->admin) ||
        (token != NULL && head_shows_token(&exchange->head, token)))
        return;
    *refusal = (struct refusal){0}; /* who may not ask is not told what there is */
    if (token == NULL)
        refusal_set(refusal, 403, "no_token",
                    "http.token is not set in the pipeline, or is empty: nothing can be changed here; the commands of "
                    "`sluice` need none.");
    else
        refusal_set(refusal, 401, "unauthorized", "This needs http.token, as a header: Authorization: Bearer TOKEN.");
}

/* What operators see and move, and what emits events without a handler that could judge who asks, is not for the pages
 * of other sites, see site.h. */
static void exchange_guard(struct exchange *exchange)
{
    struct http *http = exchange->http;
    const struct head *head = &exchange->head;
    struct refusal *refusal = &exchange->refusal, none = {0};
    bool judged = exchange->admin == NULL && exchange->management.gateway == NULL && !exchange->emits;
    if (admin_is_health(exchange->admin) || judged)
        return;
    bool ours = !http->loopback || head->host.at == NULL || site_is_loopback(head->host, http->pipeline->http.host);
    bool same = head->origin.at == NULL || site_is_same(head->origin, head->host);
    if (ours && same)
        return;
    *refusal = none;
    if (!ours)
        refusal_set(refusal, 421, "wrong_host",
                    "The Host must be localhost, 127.0.0.1, [::1] or the host of http.listen, for this address.");
    else
        refusal_set(refusal, 403, "cross_site", "The Origin is another site than the Host: nothing is for it here.");
}

enum MHD_Result exchange_begin(struct exchange *exchange, const char *url, const char *method, const char *version)
{
    struct http *http = exchange->http;
    struct head *head = &exchange->head;
    struct refusal *refusal = &exchange->refusal;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(exchange->connection,
                                                                   MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct span verb = span_of(method);
    size_t size = info == NULL ? 0 : info->header_size;

    exchange->begun = true;
    exchange->options = span_is(verb, "OPTIONS");
    exchange->series = http->series[http->pipeline->request_count + admin_index(NULL)];
    layout_begin(&exchange->layout, url, exchange->raw, version);
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, add_field, exchange);
    head_finish(head, strcmp(version, "HTTP/1.0") != 0, !span_is(verb, "GET") && !span_is(verb, "HEAD"), size,
                layout_finish(&exchange->layout, method, size));
    if (head->refusal.close)
        *refusal = head->refusal;
    else {
        exchange_find(exchange, verb);
        exchange_authorize(exchange, verb);
        exchange_guard(exchange);
    }
    if (refusal->status == 0)
        *refusal = head->refusal;
    if (head->has_length && head->length > http->max_body) {
        refusal_set(refusal, 413, "body_too_large", "The body is larger than this listener takes.");
        refusal->close = refusal->close || head->length > http->max_body + HTTP_DRAIN_MAX;
    }
    /* The fields' bytes are the connection's; the gateway may keep the request for longer. */
    if (head->idempotency_key.at != NULL)
        exchange->gateway.idempotency_key = arena_span(exchange->arena, head->idempotency_key);
    if (head->traceparent.at != NULL)
        exchange->gateway.traceparent = arena_span(exchange->arena, head->traceparent);
    if (refusal->status == 0)
        traced_request(exchange);
    if (refusal->close || (refusal->status != 0 && head->expects_continue && head_has_body(head)))
        return reply_refusal(exchange);
    return MHD_YES;
}

static void body_drop(struct exchange *exchange)
{
    exchange->http->body_bytes -= exchange->body.length;
    buffer_free(&exchange->body);
}

enum MHD_Result exchange_take(struct exchange *exchange, const char *bytes, size_t length)
{
    struct http *http = exchange->http;
    struct refusal *refusal = &exchange->refusal;
    exchange->received += length;
    if (exchange->received > http->max_body + HTTP_DRAIN_MAX)
        return MHD_NO; /* a chunked body without an end: no answer can be sent inside of it */
    if (refusal->status != 0)
        return MHD_YES;
    if (exchange->received > http->max_body) {
        refusal_set(refusal, 413, "body_too_large", "The body is larger than this listener takes.");
        body_drop(exchange);
        return MHD_YES;
    }
    size_t before = exchange->body.length;
    if (http->body_bytes + length <= HTTP_BODIES_MAX + http->max_body)
        buffer_append(&exchange->body, bytes, length);
    http->body_bytes += exchange->body.length - before;
    if (exchange->body.length == before) {
        refusal_set(refusal, 503, "busy", "Too many requests are being received. Try again.");
        body_drop(exchange);
    }
    return MHD_YES;
}

static void waiting_add(struct exchange *exchange) /* with http->lock */
{
    struct http *http = exchange->http;
    exchange->previous = NULL;
    exchange->next = http->waiting;
    if (exchange->next != NULL)
        exchange->next->previous = exchange;
    http->waiting = exchange;
    http->waiting_count++;
    exchange->listed = true;
}

static void waiting_remove(struct exchange *exchange)
{
    struct http *http = exchange->http;
    pthread_mutex_lock(&http->lock);
    if (exchange->listed) {
        if (exchange->next != NULL)
            exchange->next->previous = exchange->previous;
        if (exchange->previous != NULL)
            exchange->previous->next = exchange->next;
        else
            http->waiting = exchange->next;
        http->waiting_count--;
        exchange->listed = false;
    }
    pthread_mutex_unlock(&http->lock);
}

static bool state_change(struct exchange *exchange, enum exchange_state from, enum exchange_state to)
{
    return atomic_compare_exchange_strong(&exchange->state, &from, to);
}

/* The gateway's answer, on a lane's thread. Once the exchange was abandoned, the listener may be freed: nothing of it
 * is touched. */
static void exchange_done(struct gateway_request *request, int status, struct span json)
{
    struct exchange *exchange = request->context;
    if (state_change(exchange, EXCHANGE_WAITING, EXCHANGE_ANSWERING)) {
        struct http *http = exchange->http;
        exchange->status = status;
        buffer_init(&exchange->answer, json.length + 1);
        buffer_span(&exchange->answer, json);
        atomic_fetch_add(&http->waking, 1);
        atomic_store(&exchange->state, EXCHANGE_ANSWERED);
        MHD_resume_connection(exchange->connection);
        atomic_fetch_sub(&http->waking, 1);
    }
    exchange_release(exchange);
}

void exchange_abandon(struct exchange *exchange)
{
    if (state_change(exchange, EXCHANGE_WAITING, EXCHANGE_ABANDONED))
        MHD_resume_connection(exchange->connection);
}

void exchange_left(void *request)
{
    struct exchange *exchange = request;
    struct http *http = exchange->http;
    atomic_fetch_add(&http->waking, 1);
    if (state_change(exchange, EXCHANGE_WAITING, EXCHANGE_LEFT)) {
        atomic_store(&exchange->gateway.left, true);
        MHD_resume_connection(exchange->connection);
    }
    atomic_fetch_sub(&http->waking, 1);
}

/* Refuses one request too many, of all or of its address. With http->lock. */
static void limit(struct exchange *exchange)
{
    const struct http_limits *limits = &exchange->http->limits;
    size_t of_address = 0, waits = 0, waits_of_address = 0;
    for (const struct exchange *other = exchange->http->waiting; other != NULL; other = other->next) {
        bool wait = other->gateway.wait_ms > 0, same = address_equal(&other->peer->address, &exchange->peer->address);
        of_address += same;
        waits += wait;
        waits_of_address += wait && same;
    }
    if (exchange->http->waiting_count >= limits->waiting || of_address >= limits->waiting_of_address)
        refusal_set(&exchange->refusal, 503, "busy", "Too many requests are waiting. Try again.");
    else if (exchange->gateway.wait_ms > 0 && (waits >= limits->waits || waits_of_address >= limits->waits_of_address))
        refusal_set(&exchange->refusal, 503, "busy", "Too many requests wait. Ask without `wait`, or try again.");
}

static const char *client_address(const struct exchange *exchange)
{
    char text[INET6_ADDRSTRLEN] = "?";
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(exchange->connection,
                                                                   MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info == NULL ? NULL : info->client_addr;
    if (address != NULL && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
    else if (address != NULL && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
    return arena_string(exchange->arena, span_of(text));
}

/* Suspends first: the answer may come before what it is handed to returns. */
static enum MHD_Result exchange_submit(struct exchange *exchange)
{
    struct http *http = exchange->http;
    struct gateway_request *request = &exchange->gateway;
    request->body = buffer_view(&exchange->body);
    request->context = exchange;
    request->done = exchange_done;
    if (exchange->management.gateway != NULL)
        exchange->management.address = client_address(exchange);

    pthread_mutex_lock(&http->lock);
    if (http->stopping)
        refusal_set(&exchange->refusal, 503, "stopping", "The engine is stopping.");
    else
        limit(exchange);
    bool refused = exchange->refusal.status != 0;
    if (!refused) {
        atomic_store(&exchange->references, 2);
        atomic_store(&exchange->state, EXCHANGE_WAITING);
        exchange->submitted = true;
        MHD_suspend_connection(exchange->connection);
        waiting_add(exchange);
        watch_lanes(&http->watch, exchange->peer, exchange);
    }
    pthread_mutex_unlock(&http->lock);
    if (refused)
        return reply_refusal(exchange);

    int code = exchange->management.gateway != NULL ? management_submit(http->management, &exchange->management)
                                                    : gateway_submit(http->engine, request);
    if (code == 0)
        return MHD_YES;
    atomic_fetch_sub(&exchange->references, 1);
    if (code == -EAGAIN)
        refusal_set(&exchange->refusal, 503, "busy", "Too many requests are waiting. Try again.");
    else
        refusal_set(&exchange->refusal, 503, "unavailable",
                    "The engine takes no requests now: /readyz says why. Try again.");
    if (state_change(exchange, EXCHANGE_WAITING, EXCHANGE_ANSWERED))
        MHD_resume_connection(exchange->connection);
    return MHD_YES;
}

static enum MHD_Result exchange_answer(struct exchange *exchange)
{
    waiting_remove(exchange);
    if (atomic_load(&exchange->state) == EXCHANGE_LEFT)
        return MHD_NO;
    if (atomic_load(&exchange->state) == EXCHANGE_ABANDONED)
        refusal_set(&exchange->refusal, 503, "stopping",
                    "The engine is stopping; whether it did what was asked is not known.");
    else if (exchange->refusal.status == 0 && exchange->answer.failed)
        refusal_set(&exchange->refusal, 500, "internal", "There was no memory for the answer.");
    if (exchange->refusal.status != 0)
        return reply_refusal(exchange);
    if (exchange->answer.length == 0 && exchange->status >= 500) { /* the gateway's own, at shutdown */
        refusal_set(&exchange->refusal, exchange->status, "unavailable", "The engine could not answer. Try again.");
        return reply_refusal(exchange);
    }
    return reply_send(exchange, exchange->status, "application/json", &exchange->answer);
}

enum MHD_Result exchange_run(struct exchange *exchange)
{
    struct http *http = exchange->http;
    if (exchange->submitted)
        return exchange_answer(exchange);
    if (exchange->peer == NULL)
        return MHD_NO;
    if (!exchange->complete) {
        exchange->complete = true;
        atomic_fetch_add(&http->answering, 1);
    }
    if (exchange->refusal.status != 0)
        return reply_refusal(exchange);
    return exchange->admin != NULL ? admin_answer(exchange) : exchange_submit(exchange);
}

void exchange_end(struct exchange *exchange)
{
    struct http *http = exchange->http;
    waiting_remove(exchange);
    if (exchange->begun && !exchange->counted)
        reply_count(exchange, HTTP_CLIENT_CLOSED);
    http->body_bytes -= exchange->body.length;
    if (exchange->peer != NULL)
        watch_client(&http->watch, exchange->peer, clock_monotonic_ms() + http->timeout_ms);
    if (exchange->complete)
        atomic_fetch_sub(&http->answering, 1);
    exchange_release(exchange);
}
