/*
 * management.h - what operators list and move over HTTP: a table of routes, and the threads that answer them.
 *
 * These calls ask the database, so the listener's thread never makes them: it hands them over like a request of the
 * pipeline (a gateway_request, whose done() is called once). Two threads, each with a connection of its own, make one
 * after the other: calls that read the bus, which takes long where it holds much, and all others. At most
 * MANAGEMENT_WAITING_MAX wait for each; one that has waited for http.timeout is not begun. What a call does and its
 * JSON are in operate/. POST /reload waits for the master process instead, see reloads.h.
 */
#ifndef SLUICE_HTTP_MANAGEMENT_H
#define SLUICE_HTTP_MANAGEMENT_H

#include "bus/bus.h"
#include "http/route.h"
#include "pipeline/pipeline.h"
#include "store/store.h"

enum { MANAGEMENT_WAITING_MAX = 64 };

struct management;
struct reload;

/* The routes, as match_request() takes them: their number is in *ret_count. Binding is NULL. */
const struct request *management_routes(const struct management *management, size_t *ret_count);

/* Whether the target is a path below one of theirs: then the pipeline has none like it. */
bool management_finds(const struct management *management, const struct target *target);

struct management_request { /* zeroed; alive until done() */
    struct gateway_request *gateway;
    const char *address; /* of the client, for the audit row */
    int64_t arrived_ms;
    struct management_request *next;
};

/* `store` may be NULL. */
int management_start(const struct pipeline *pipeline, struct bus *bus, struct store *store, struct management **ret,
                     struct error *error);
/* Who is asked to reload; NULL, as before the call: nobody. */
void management_reload(struct management *management, struct reload *reload);
/* The process ends: who asked for the reload that replaces it gets the answer. */
void management_answer(struct management *management);
/* Any thread. -EAGAIN: too many wait. */
int management_submit(struct management *management, struct management_request *request);
/* What waits is answered 503; what runs has a moment to end. NULL is fine. */
void management_stop(struct management *management);

#endif
