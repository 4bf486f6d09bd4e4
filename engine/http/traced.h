/*
 * traced.h - the span of a request: from its first line to its answer. Private to http/; on the listener's thread.
 *
 * Only requests of the pipeline have one, and only when they are not refused before they are handed on: nobody begins
 * traces by asking for what there is not, and health checks and scrapes are none.
 */
#ifndef SLUICE_HTTP_TRACED_H
#define SLUICE_HTTP_TRACED_H

struct exchange;

/* The request is known and its header is read: whether its trace is recorded, and what its handler is told of it. */
void traced_request(struct exchange *exchange);
/* It is answered. */
void traced_answer(struct exchange *exchange, int status);

#endif
