/*
 * exchange.h - one request and its answer, and the listener they belong to. Private to http/.
 *
 * An exchange is made when its request line is read. It lives on the listener's thread; only between
 * gateway_submit() and done() does the gateway hold it too, and the last of the two to release it
 * frees it. `state` decides who answers: done() from a lane, http_stop(), or nobody when the client left.
 */
#ifndef SLUICE_HTTP_EXCHANGE_H
#define SLUICE_HTTP_EXCHANGE_H

#include "base/metrics.h"
#include "http/http.h"
#include "http/layout.h"
#include "http/management.h"
#include "http/route.h"
#include "http/traced.h"
#include "http/watch.h"
#include "trace/context.h"

#include <microhttpd.h>
#include <stdatomic.h>

enum {
    HTTP_CONNECTIONS_MIN = 64,
    HTTP_CONNECTIONS_MAX = 1024,  /* or half of the files that the process may open, when that is less */
    HTTP_CONNECTIONS_SPARE = 128, /* that were ended to make room and are not cleaned up yet */
    HTTP_IDLE_S = 5,
    HTTP_CLIENT_MS = 10000,      /* at most: for a request to arrive, and for its answer to be read */
    HTTP_DRAIN_MAX = 256 * 1024, /* of a refused body is read, so that the answer arrives before the connection ends */
    HTTP_BODIES_MAX = 32 * 1024 * 1024, /* of all requests together */
    HTTP_PAGE_MAX = 16 * 1024 * 1024,   /* of /metrics and /pipeline */
    HTTP_POOL_SIZE = 32 *
                     1024, /* a connection's; over HEAD_SIZE_MAX, so that a header too large gets an answer of ours */
    HTTP_STOP_MS = 2000,   /* for answers to be written, at the end */
    HTTP_CLIENT_CLOSED = 499, /* in the metrics only: the client left, or took too long, before its answer */
    HTTP_CODES = 600,
};

/* How many there may be, in all and for each address: shares of the connections, so that each limit leaves room for
 * others. */
struct http_limits {
    size_t connections, connections_of_address;
    size_t waiting, waiting_of_address; /* requests in the lanes; beyond: 503, and /healthz has connections left */
    size_t waits, waits_of_address;     /* of them, those with ?wait=; beyond: 503, and other requests have room left */
};

struct http_series { /* of one route; made when a code is first answered, on the listener's thread */
    const char *route;
    struct series *by_code[HTTP_CODES];
    struct series *seconds;
};

struct http {
    struct engine *engine;
    const struct pipeline *pipeline;
    struct metrics *metrics;
    struct tracer *tracer; /* NULL: no traces are recorded */
    struct MHD_Daemon *daemon;
    struct watch watch;
    struct http_limits limits;
    struct management *management;
    int listen_fd, port;
    bool loopback;      /* no other machine reaches it: only what changes something needs the token */
    int64_t timeout_ms; /* a client's: http.timeout, at most HTTP_CLIENT_MS */
    size_t max_body;
    atomic_bool quiescing;
    atomic_size_t answering; /* requests that are complete and whose answer is not written */
    atomic_size_t waking;    /* calls of done() that are about to wake the listener */

    /* the listener's thread's */
    size_t body_bytes; /* held by all requests */
    uint64_t trace_random;
    struct arena *arena;
    struct http_series **series; /* of the pipeline's requests, admin's, everything else, the operators' */
    struct buffer graph;

    pthread_mutex_t lock; /* the listener's thread and http_stop(); never a lane */
    bool stopping;
    struct exchange *waiting;
    size_t waiting_count;
};

enum exchange_state {
    EXCHANGE_OPEN,      /* the listener's alone */
    EXCHANGE_WAITING,   /* in the lanes, its connection suspended */
    EXCHANGE_ANSWERING, /* done() writes the answer */
    EXCHANGE_ANSWERED,  /* and has, or the gateway refused it */
    EXCHANGE_ABANDONED, /* http_stop() took it back */
    EXCHANGE_LEFT,      /* its client closed the connection */
};

struct admin;

struct exchange {
    struct http *http;
    struct MHD_Connection *connection;
    struct peer *peer; /* NULL when there was no memory for it: the connection ends */
    atomic_int references;
    _Atomic enum exchange_state state;
    struct exchange *previous, *next; /* in http->waiting */
    struct arena *arena;
    struct span raw; /* the target, as it came */
    int64_t since_ns;
    bool traced; /* its trace is recorded: */
    struct trace_context trace;
    uint64_t trace_parent; /* 0: the trace begins with it */
    bool begun, complete, submitted, listed, counted;
    struct head head;
    struct layout layout;
    struct refusal refusal;
    const char *policy; /* the answer is a page for browsers, with this Content-Security-Policy; NULL: it is none */
    const char *allow;  /* the methods of the target, when that of the request is none of them */
    bool options;       /* the request was OPTIONS, which asks for them */
    const struct admin *admin;            /* NULL: the pipeline's or an operator's */
    struct management_request management; /* gateway NULL: the pipeline's */
    bool emits;                           /* a request of the pipeline without a handler */
    struct http_series *series;
    struct buffer body;
    size_t received;
    struct gateway_request gateway;
    int status; /* the gateway's */
    struct buffer answer;
};

/* requests.c: the steps of an exchange, on the listener's thread. */
struct exchange *exchange_create(struct http *http, struct MHD_Connection *connection, const char *target);
enum MHD_Result exchange_begin(struct exchange *exchange, const char *url, const char *method, const char *version);
enum MHD_Result exchange_take(struct exchange *exchange, const char *bytes, size_t length);
enum MHD_Result exchange_run(struct exchange *exchange); /* the request is complete, or its answer is there */
void exchange_end(struct exchange *exchange);
void exchange_abandon(struct exchange *exchange); /* by http_stop(), with http->lock */
void exchange_left(void *exchange);               /* by the watch, with its lock */

/* reply.c. Take the buffer's bytes. */
enum MHD_Result reply_send(struct exchange *exchange, int status, const char *type, struct buffer *body);
enum MHD_Result reply_refusal(struct exchange *exchange);
void reply_count(struct exchange *exchange,
                 int status); /* once for each request; HTTP_CLIENT_CLOSED: it got no answer */
void reply_error_body(struct buffer *out, const char *word, const char *message,
                      struct span reasons); /* reasons: a line each */

/* series.c */
void http_series_create(struct http *http); /* makes http->series */

/* ui.c */
enum MHD_Result ui_answer(struct exchange *exchange);

/* admin.c */
const struct admin *admin_find(const struct target *target);
size_t admin_index(const struct admin *admin); /* NULL: their number */
const char *admin_path(size_t index);
bool admin_is_health(const struct admin *admin); /* it answers whoever asks; NULL does not */
bool admin_is_page(const struct admin *admin);   /* it answers without the token, and holds nothing; NULL does not */
enum MHD_Result admin_answer(struct exchange *exchange);

#endif
