/*
 * watch.h - ends connections whose client takes too long.
 *
 * libmicrohttpd ends silent connections, but a client that sends or reads a byte every other second is never silent.
 * So each connection has a deadline here, and a thread that looks at all of them a few times within the shortest; it
 * sleeps when there is no connection. It only shuts the socket down: libmicrohttpd notices and cleans up.
 */
#ifndef SLUICE_HTTP_WATCH_H
#define SLUICE_HTTP_WATCH_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct peer { /* one connection */
    struct peer *previous, *next;
    int fd;
    int64_t deadline_ms; /* monotonic */
};

struct watch {
    int64_t interval_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* what follows, and every peer */
    pthread_cond_t wake;
    struct peer *peers;
    bool stop;
};

int watch_start(struct watch *watch, int64_t interval_ms, struct error *error);
void watch_stop(struct watch *watch); /* after the last peer was removed */
/* NULL when out of memory. The peer must be removed before its socket is closed. Any thread. */
struct peer *watch_add(struct watch *watch, int fd, int64_t deadline_ms);
void watch_remove(struct watch *watch, struct peer *peer);
void watch_set(struct watch *watch, struct peer *peer, int64_t deadline_ms); /* INT64_MAX: none */

#endif
