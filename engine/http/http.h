/*
 * http.h - the listener: requests of the pipeline, /healthz, /readyz, /metrics, /pipeline.
 *
 * libmicrohttpd does HTTP; this folder does limits, routing, decoding, and hands requests to run/gateway.h. Its thread shares no
 * lock with the lanes.
 */
#ifndef SLUICE_HTTP_HTTP_H
#define SLUICE_HTTP_HTTP_H

#include "pipeline/pipeline.h"
#include "run/gateway.h"

struct http;
/* Binds and serves. *ret_port is the port taken. -EADDRINUSE and the like with a sentence. */
int http_start(struct engine *engine, struct http **ret, int *ret_port, struct error *error);
void http_quiesce(struct http *http); /* no new connections; requests under way are answered */
void http_stop(struct http *http);    /* NULL is fine */

#endif
