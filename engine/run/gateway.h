/*
 * gateway.h - the door through which a request becomes an event, and gets its answer.
 *
 * The listener (http/) fills a gateway_request and submits it; request lanes run the handler, many requests in one
 * transaction; done() is called once, after COMMIT, from a lane's thread. A request whose answer is pending is asked
 * again until it is final or wait_ms is over.
 */
#ifndef SLUICE_RUN_GATEWAY_H
#define SLUICE_RUN_GATEWAY_H

#include "base/arena.h"
#include "base/buffer.h"
#include "event/event.h"

struct engine;

struct gateway_param { /* of the path or the query; decoded */
    struct span name, value;
};

struct gateway_request {
    /* the caller's, alive until done(): */
    uint32_t route;   /* index in pipeline->requests */
    struct span body; /* {NULL, 0} when there is none */
    const struct gateway_param *params;
    size_t param_count;
    struct span idempotency_key; /* of the header; {NULL, 0} without */
    struct span traceparent;
    int64_t wait_ms; /* ?wait=; 0: answer at once */
    void *context;   /* the listener's */
    void (*done)(struct gateway_request *request, int status, struct span json);
    /* the gateway's: */
    int64_t arrived_ms; /* monotonic */
    int32_t asked;      /* how often its handler answered "pending" */
};

/* Takes the request; done() will be called exactly once, also at shutdown (503). -EAGAIN when `max` are already
 * waiting: the listener answers 503 with Retry-After. Any thread. */
int gateway_submit(struct engine *engine, struct gateway_request *request);

/* What the other endpoints ask. Any thread; each answers in bounded time. */
bool engine_ready(struct engine *engine, struct buffer *ret_why);   /* takes work; else the reasons, a line each */
bool engine_healthy(struct engine *engine, struct buffer *ret_why); /* its threads move */
struct metrics *engine_metrics(struct engine *engine);
const struct pipeline *engine_pipeline(struct engine *engine);

#endif
