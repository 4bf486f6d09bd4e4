/*
 * fake_engine.h - an engine that only answers requests, for the tests of the listener.
 *
 * Included by one file of each test. What it defines are the functions of run/gateway.h: the linker finds them here
 * first and takes nothing of the real engine. Its routes say how it answers:
 *
 *   POST /payments                echoes what it was given, 202, from a thread of its own
 *   GET  /payments/{paymentTxId}  the same, 200; with ?wait= it is held until fake_release() or until the time is over
 *   GET  /payments/new            the same: a literal beside a parameter
 *   POST /hold, GET /hold         200, held until fake_release()
 *   GET  /busy, GET /gone         gateway_submit() says -EAGAIN, -ESHUTDOWN
 *   GET  /inline                  done() is called before gateway_submit() returns
 *   GET  /large                   16 MiB
 *   GET  /status/{code}           that status, nothing in it
 */
#ifndef SLUICE_TESTS_FAKE_ENGINE_H
#define SLUICE_TESTS_FAKE_ENGINE_H

#include "client.h"

#include "base/metrics.h"
#include "http/http.h"

#include <errno.h>
#include <pthread.h>

enum { LARGE = 16 * 1024 * 1024 };

enum {
    ROUTE_POST,
    ROUTE_GET,
    ROUTE_NEW,
    ROUTE_HOLD_POST,
    ROUTE_HOLD_GET,
    ROUTE_BUSY,
    ROUTE_GONE,
    ROUTE_INLINE,
    ROUTE_LARGE,
    ROUTE_STATUS,
    ROUTE_COUNT
};

struct fake_request {
    struct fake_request *next;
    struct gateway_request *request;
    int64_t until_ms;
};

struct engine {
    struct pipeline pipeline;
    struct request requests_served[ROUTE_COUNT];
    struct metrics *metrics;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct fake_request *requests; /* not answered */
    size_t held;                   /* of them, those that wait for fake_release() */
    bool release, stop;
    const char *why; /* not NULL: neither healthy nor ready */
    char *large;
    atomic_size_t large_length;
};

static inline bool fake_holds(const struct gateway_request *request)
{
    return request->route == ROUTE_HOLD_POST || request->route == ROUTE_HOLD_GET ||
           (request->route == ROUTE_GET && request->wait_ms > 0);
}

static inline void fake_echo_span(struct buffer *out, const char *name, struct span text)
{
    buffer_format(out, ",\"%s\":", name);
    if (text.at == NULL)
        buffer_text(out, "null");
    else
        buffer_json_string(out, text);
}

static inline void fake_answer(struct engine *engine, struct gateway_request *request)
{
    struct buffer out;
    if (request->route == ROUTE_LARGE) {
        request->done(request, 200, (struct span){engine->large, atomic_load(&engine->large_length)});
        return;
    }
    if (request->route == ROUTE_STATUS) {
        request->done(request, atoi(request->params[0].value.at), (struct span){NULL, 0});
        return;
    }
    buffer_init(&out, 4 * 1024 * 1024);
    buffer_format(&out, "{\"route\":%u,\"wait\":%lld", request->route, (long long)request->wait_ms);
    fake_echo_span(&out, "body", request->body);
    fake_echo_span(&out, "key", request->idempotency_key);
    fake_echo_span(&out, "trace", request->traceparent);
    buffer_text(&out, ",\"params\":{");
    for (size_t i = 0; i < request->param_count; i++) {
        buffer_text(&out, i == 0 ? "" : ",");
        buffer_json_string(&out, request->params[i].name);
        buffer_text(&out, ":");
        buffer_json_string(&out, request->params[i].value);
    }
    buffer_text(&out, "}}");
    request->done(request, request->route == ROUTE_POST ? 202 : 200, buffer_view(&out));
    buffer_free(&out);
}

static inline void *fake_run(void *context)
{
    struct engine *engine = context;
    pthread_mutex_lock(&engine->lock);
    while (!engine->stop) {
        struct fake_request **at = &engine->requests, *found = NULL;
        int64_t now_ms = clock_monotonic_ms();
        for (; *at != NULL; at = &(*at)->next) {
            bool over = (*at)->request->route == ROUTE_GET && (*at)->until_ms <= now_ms;
            if (!fake_holds((*at)->request) || engine->release || over) {
                found = *at;
                break;
            }
        }
        if (found == NULL) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 20000000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&engine->wake, &engine->lock, &until);
            continue;
        }
        *at = found->next;
        struct gateway_request *request = found->request;
        engine->held -= fake_holds(request) ? 1 : 0;
        free(found);
        pthread_mutex_unlock(&engine->lock);
        fake_answer(engine, request);
        pthread_mutex_lock(&engine->lock);
    }
    pthread_mutex_unlock(&engine->lock);
    return NULL;
}

int gateway_submit(struct engine *engine, struct gateway_request *request)
{
    if (request->route == ROUTE_BUSY || request->route == ROUTE_GONE)
        return request->route == ROUTE_BUSY ? -EAGAIN : -ESHUTDOWN;
    if (request->route == ROUTE_INLINE) {
        fake_answer(engine, request);
        return 0;
    }
    struct fake_request *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return -EAGAIN;
    *entry = (struct fake_request){.request = request, .until_ms = clock_monotonic_ms() + request->wait_ms};
    pthread_mutex_lock(&engine->lock);
    struct fake_request **at = &engine->requests;
    while (*at != NULL)
        at = &(*at)->next;
    *at = entry;
    engine->held += fake_holds(request) ? 1 : 0;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
    return 0;
}

static inline bool fake_verdict(struct engine *engine, struct buffer *ret_why)
{
    pthread_mutex_lock(&engine->lock);
    const char *why = engine->why;
    pthread_mutex_unlock(&engine->lock);
    if (why != NULL)
        buffer_text(ret_why, why);
    return why == NULL;
}

bool engine_reads(struct engine *engine, struct buffer *ret_why)
{
    (void)engine;
    (void)ret_why;
    return true;
}

bool engine_handles(struct engine *engine, struct buffer *ret_why)
{
    (void)engine;
    (void)ret_why;
    return true;
}

bool engine_ready(struct engine *engine, struct buffer *ret_why)
{
    return fake_verdict(engine, ret_why);
}

bool engine_healthy(struct engine *engine, struct buffer *ret_why)
{
    return fake_verdict(engine, ret_why);
}

void engine_paused(struct engine *engine, struct buffer *out)
{
    (void)engine;
    buffer_text(out, "[]");
}

struct tracer *engine_tracer(struct engine *engine)
{
    (void)engine;
    return NULL;
}

struct metrics *engine_metrics(struct engine *engine)
{
    return engine->metrics;
}

const struct pipeline *engine_pipeline(struct engine *engine)
{
    return &engine->pipeline;
}

static inline struct engine *fake_start(int64_t timeout_ms)
{
    static const char *const payments[] = {"payments"}, *const by_id[] = {"payments", "{paymentTxId}"},
                             *const new[] = {"payments", "new"}, *const hold[] = {"hold"}, *const busy[] = {"busy"},
                             *const gone[] = {"gone"}, *const inline_[] = {"inline"}, *const large[] = {"large"},
                             *const status[] = {"status", "{code}"};
    static const struct request requests[ROUTE_COUNT] = {
        [ROUTE_POST] = {.method = "POST", .path = "/payments", .segments = (const char **)payments, .segment_count = 1},
        [ROUTE_GET] = {.method = "GET",
                       .path = "/payments/{paymentTxId}",
                       .segments = (const char **)by_id,
                       .segment_count = 2},
        [ROUTE_NEW] = {.method = "GET", .path = "/payments/new", .segments = (const char **)new, .segment_count = 2},
        [ROUTE_HOLD_POST] = {.method = "POST", .path = "/hold", .segments = (const char **)hold, .segment_count = 1},
        [ROUTE_HOLD_GET] = {.method = "GET", .path = "/hold", .segments = (const char **)hold, .segment_count = 1},
        [ROUTE_BUSY] = {.method = "GET", .path = "/busy", .segments = (const char **)busy, .segment_count = 1},
        [ROUTE_GONE] = {.method = "GET", .path = "/gone", .segments = (const char **)gone, .segment_count = 1},
        [ROUTE_INLINE] = {.method = "GET", .path = "/inline", .segments = (const char **)inline_, .segment_count = 1},
        [ROUTE_LARGE] = {.method = "GET", .path = "/large", .segments = (const char **)large, .segment_count = 1},
        [ROUTE_STATUS] = {.method = "GET",
                          .path = "/status/{code}",
                          .segments = (const char **)status,
                          .segment_count = 2},
    };
    static struct binding binding = {.id = "fake.handle", .handler_name = "fake.handle"}; /* drawn by /pipeline */
    struct engine *engine = calloc(1, sizeof *engine);
    assert_non_null(engine);
    engine->pipeline.name = "fake";
    memcpy(engine->requests_served, requests, sizeof requests);
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        engine->requests_served[i].binding = &binding;
    engine->pipeline.requests = engine->requests_served;
    engine->pipeline.request_count = ROUTE_COUNT;
    engine->pipeline.http.present = true;
    engine->pipeline.http.host = "127.0.0.1";
    engine->pipeline.http.max_body = 64 * 1024;
    engine->pipeline.http.timeout_ms = timeout_ms;
    engine->metrics = metrics_create();
    engine->large = malloc(LARGE);
    assert_non_null(engine->large);
    engine->large_length = LARGE;
    memset(engine->large, 'x', LARGE);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->wake, NULL);
    assert_int_equal(pthread_create(&engine->thread, NULL, fake_run, engine), 0);
    return engine;
}

static inline void fake_release(struct engine *engine, bool release)
{
    pthread_mutex_lock(&engine->lock);
    engine->release = release;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
}

static inline void fake_why(struct engine *engine, const char *why)
{
    pthread_mutex_lock(&engine->lock);
    engine->why = why;
    pthread_mutex_unlock(&engine->lock);
}

static inline size_t fake_held(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    size_t held = engine->held;
    pthread_mutex_unlock(&engine->lock);
    return held;
}

/* How many of the requests that it holds have lost their client. */
static inline size_t fake_left(struct engine *engine)
{
    size_t count = 0;
    pthread_mutex_lock(&engine->lock);
    for (struct fake_request *entry = engine->requests; entry != NULL; entry = entry->next)
        count += atomic_load(&entry->request->left);
    pthread_mutex_unlock(&engine->lock);
    return count;
}

/* Answers 503 to what is left, as the real one does. */
static inline void fake_stop(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->stop = true;
    pthread_cond_signal(&engine->wake);
    pthread_mutex_unlock(&engine->lock);
    pthread_join(engine->thread, NULL);
    while (engine->requests != NULL) {
        struct fake_request *entry = engine->requests;
        engine->requests = entry->next;
        entry->request->done(entry->request, 503, (struct span){NULL, 0});
        free(entry);
    }
    metrics_destroy(engine->metrics);
    free(engine->large);
    pthread_cond_destroy(&engine->wake);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

/* ------------------------------------------------------------------ with a listener */

struct stage {
    struct engine *engine;
    struct http *http;
    int port;
};

static inline int start_listening(struct engine *engine, struct http **ret, int *ret_port, struct error *error)
{
    int listener = http_listen(&engine->pipeline, error);
    if (listener < 0)
        return listener;
    int code = http_start(engine, NULL, NULL, listener, ret, ret_port, error);
    close(listener);
    return code;
}

static inline void stage_start_with(struct stage *stage, int64_t timeout_ms, int64_t max_body)
{
    struct error error = {0};
    stage->engine = fake_start(timeout_ms);
    stage->engine->pipeline.http.max_body = max_body;
    if (start_listening(stage->engine, &stage->http, &stage->port, &error) != 0)
        fail_msg("%s", error.text);
}

static inline void stage_start(struct stage *stage, int64_t timeout_ms)
{
    stage_start_with(stage, timeout_ms, 64 * 1024);
}

static inline void stage_stop(struct stage *stage)
{
    http_quiesce(stage->http, true);
    http_stop(stage->http);
    fake_stop(stage->engine);
}

/* A stage as the state of a test. */
static inline int stage_setup(void **state)
{
    static struct stage stage;
    stage_start(&stage, 10000);
    *state = &stage;
    return 0;
}

static inline int stage_teardown(void **state)
{
    stage_stop(*state);
    return 0;
}

struct held {
    struct engine *engine;
    size_t count;
};

static inline bool held_is(void *context)
{
    struct held *held = context;
    return fake_held(held->engine) == held->count;
}

static inline void wait_held(struct stage *stage, size_t count)
{
    struct held held = {stage->engine, count};
    if (!eventually(held_is, &held))
        fail_msg("%zu requests are held, wanted %zu", fake_held(stage->engine), count);
}

static inline int64_t counted(struct stage *stage, const char *route, const char *code)
{
    return series_value(metrics_series(stage->engine->metrics, METRIC_REQUESTS, route, code));
}

#endif
