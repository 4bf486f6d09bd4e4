/*
 * watch.h - the open connections, and which of them must end.
 *
 * A connection ends when its client takes too long: libmicrohttpd ends silent ones, but a client that sends or reads a
 * byte every other second is never silent, so each has a deadline here. It ends when there are too many: a further one
 * costs the connection that has been its client's turn for longest, of the same address when that one has more than its
 * share, so whoever comes next is served whatever the others do. A connection whose request is in the lanes is neither
 * late nor surplus; but its client may leave, which libmicrohttpd does not look for meanwhile.
 *
 * A thread looks at all of them a few times within the shortest time, and sleeps when there is none. Here a socket is
 * only shut down: libmicrohttpd notices and cleans up.
 */
#ifndef SLUICE_HTTP_WATCH_H
#define SLUICE_HTTP_WATCH_H

#include "base/error.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address { /* what counts as one client: an IPv4 address, or the network part of one of IPv6 */
    uint8_t at[16];
};

struct peer { /* one connection */
    struct peer *previous, *next;
    struct address address;
    int fd;
    bool ended;          /* shut down; its slot is free for others */
    int64_t deadline_ms; /* monotonic; INT64_MAX: none */
    void *request;       /* that is in the lanes; NULL: it is the client's turn */
};

struct watch {
    size_t max, max_of_address;
    int64_t interval_ms;
    void (*left)(void *request); /* its client closed; with the lock held */
    pthread_t thread;
    pthread_mutex_t lock; /* what follows, and every peer */
    pthread_cond_t wake;
    struct peer *first, *last; /* by when their client's turn began, the longest first */
    struct pollfd *polled;     /* room for as many as may have a request in the lanes: max */
    bool stop;
};

/* `max` connections, `max_of_address` of them of one address. */
int watch_start(struct watch *watch, size_t max, size_t max_of_address, int64_t interval_ms,
                void (*left)(void *request), struct error *error);
void watch_stop(struct watch *watch); /* after the last peer was removed */

/* The functions below may be called on any thread. */

/* NULL when out of memory. The peer must be removed before its socket is closed. */
struct peer *watch_add(struct watch *watch, int fd, const struct sockaddr *address, int64_t deadline_ms);
void watch_remove(struct watch *watch, struct peer *peer);
/* It is the client's turn, until the deadline. Nobody calls left() any more for what the peer had in the lanes. */
void watch_client(struct watch *watch, struct peer *peer, int64_t deadline_ms);
/* `request` is in the lanes; left(request) is called once when the client closes before watch_client(). */
void watch_lanes(struct watch *watch, struct peer *peer, void *request);

static inline bool address_equal(const struct address *a, const struct address *b)
{
    return __builtin_memcmp(a, b, sizeof *a) == 0;
}

#endif
