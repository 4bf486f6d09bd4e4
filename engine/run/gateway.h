/*
 * gateway.h - the door through which a request becomes an event, and gets its answer; and what else is asked from
 * outside.
 *
 * The listener (http/) fills a gateway_request and submits it; request lanes run the handler, many requests in one
 * transaction; done() is called once, after COMMIT, from a lane's thread. A request whose answer is pending is asked
 * again until it is final or wait_ms is over.
 */
#ifndef SLUICE_RUN_GATEWAY_H
#define SLUICE_RUN_GATEWAY_H

#include "batch/request.h"

struct engine;

/* Takes the request; done() will be called exactly once, also at shutdown (503). -ESHUTDOWN when the engine takes no
 * work now, -EAGAIN when too many requests wait or there is no memory: the listener answers 503 with Retry-After. Any
 * thread. */
int gateway_submit(struct engine *engine, struct gateway_request *request);

/* What the other endpoints ask. Any thread; each answers in bounded time. */
bool engine_ready(struct engine *engine, struct buffer *ret_why);   /* takes work; else the first reason, a line */
bool engine_reads(struct engine *engine, struct buffer *ret_why);   /* all that is assigned; else what not, lines */
bool engine_handles(struct engine *engine, struct buffer *ret_why); /* no handler is stopped; else which, lines */
bool engine_healthy(struct engine *engine, struct buffer *ret_why); /* it has no fault; else which, a line */
void engine_paused(struct engine *engine, struct buffer *out);      /* what operators have paused: a JSON array */
struct metrics *engine_metrics(struct engine *engine);
struct tracer *engine_tracer(struct engine *engine); /* NULL: no traces are recorded */
const struct pipeline *engine_pipeline(struct engine *engine);

#endif
