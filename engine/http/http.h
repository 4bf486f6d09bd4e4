/*
 * http.h - the listener: requests of the pipeline, /healthz, /readyz, /metrics, /pipeline, and what operators list and
 * move.
 *
 * libmicrohttpd does HTTP on a thread of its own; this folder does limits, routing and decoding, and hands requests
 * to run/gateway.h. That thread takes no lock that a lane takes: an answer comes back through an atomic and a
 * wake-up. Whatever a client does costs bounded memory and bounded time, and no lane ever waits for a client.
 *
 *   a request      its header at most 8 KiB and 64 fields (431), its body at most http.max_body (413), all of it
 *                  within 10 s
 *   a connection   ends after 5 s of silence, or when an answer is not read within 10 s; http.timeout, when shorter,
 *                  counts
 *   all of them    1024 connections (or half of the files that the process may open); a further one ends the one whose
 *                  client has had its turn for longest. Three quarters may have a request in the lanes, half one that
 *                  waits (`?wait=`); further requests get 503 and Retry-After. So /healthz answers when every lane is
 *                  stuck, and whatever clients do
 *   an address     (IPv4, or the /64 of IPv6) seven eighths of the connections, two thirds of the requests in the
 *                  lanes, half of those that wait
 *
 * Every answer is application/json but for /metrics; an error is {"error":"a_word","message":"A sentence."}. What is
 * not HTTP at all (a first line without a version, a Content-Length that is no number, a header beyond every bound)
 * is refused by libmicrohttpd itself: the right status, a short page of its own, the connection closed.
 *
 * A client that closes the connection, or ends its sending side, before its answer came is disconnected: it holds
 * nothing any more after 0.1 s, and is not waited for. Its request is handled all the same.
 *
 * It listens on loopback unless http.listen says otherwise. Who shows http.token as a bearer token may change what
 * waits or failed; where the address is not loopback, nothing but the health paths answers without it.
 *
 * Not here: TLS, HTTP/2, compression.
 */
#ifndef SLUICE_HTTP_HTTP_H
#define SLUICE_HTTP_HTTP_H

#include "bus/bus.h"
#include "pipeline/pipeline.h"
#include "run/gateway.h"
#include "store/store.h"

struct http;
struct reload; /* guard/reload.h */

/* Listens on pipeline->http: a descriptor, or -EADDRINUSE and the like with a sentence. Processes that follow one
 * another may have it one after the other: clients that connect in between wait. */
int http_listen(const struct pipeline *pipeline, struct error *error);
/* Serves on a copy of `listener`. *ret_port is its port. `engine`, `bus` and `store` (NULL: there is none) must live
 * until http_stop(). */
int http_start(struct engine *engine, struct bus *bus, struct store *store, int listener, struct http **ret,
               int *ret_port, struct error *error);

/* Lets POST /reload ask the master process; before that there is none to ask. */
void http_reload(struct http *http, struct reload *reload);
/* To stop without losing an answer: http_quiesce(), engine_drain(), http_stop(), engine_stop(), in this order. */
/* No new connections; requests under way are answered, and their connections closed. `refuse`: clients that connect are
 * refused from now on; else another process serves them. */
void http_quiesce(struct http *http, bool refuse);
/* Requests that still wait for a lane are answered 503; afterwards the engine is not called any more, and a done()
 * that comes late touches only its own request. Takes at most 2 s longer than the slowest call into the engine. NULL
 * is fine. */
void http_stop(struct http *http);

#endif
