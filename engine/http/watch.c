/*
 * watch.c - see watch.h.
 */
#include "http/watch.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { WATCH_LEFT_MS = 100 }; /* how often clients that wait are looked at */

static struct address address_of(const struct sockaddr *address)
{
    struct address found = {0};
    if (address != NULL && address->sa_family == AF_INET) {
        memcpy(found.at + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address != NULL && address->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6))
            memcpy(found.at + 12, v6->s6_addr + 12, 4);
        else
            memcpy(found.at, v6->s6_addr, 8);
    }
    return found;
}

/* ---------------------------------------------------------------------------------------------- with the lock held */

static void peer_link(struct watch *watch, struct peer *peer)
{
    peer->next = NULL;
    peer->previous = watch->last;
    if (watch->last != NULL)
        watch->last->next = peer;
    else
        watch->first = peer;
    watch->last = peer;
}

static void peer_unlink(struct watch *watch, struct peer *peer)
{
    if (peer->next != NULL)
        peer->next->previous = peer->previous;
    else
        watch->last = peer->previous;
    if (peer->previous != NULL)
        peer->previous->next = peer->next;
    else
        watch->first = peer->next;
}

/* The peer is in the list, so the socket is still this connection's. */
static void peer_end(struct peer *peer)
{
    shutdown(peer->fd, SHUT_RDWR);
    peer->deadline_ms = INT64_MAX;
    peer->ended = true;
}

/* Ends a connection when there is one too many. `newest` was added and is none of those that may end. */
static void make_room(struct watch *watch, const struct peer *newest)
{
    struct peer *oldest = NULL, *oldest_of_address = NULL;
    size_t count = 0, of_address = 0;
    for (struct peer *peer = watch->first; peer != NULL; peer = peer->next) {
        if (peer->ended)
            continue;
        bool same = address_equal(&peer->address, &newest->address), may_end = peer->request == NULL && peer != newest;
        count++;
        of_address += same;
        if (may_end && oldest == NULL)
            oldest = peer;
        if (may_end && same && oldest_of_address == NULL)
            oldest_of_address = peer;
    }
    struct peer *surplus = of_address > watch->max_of_address ? oldest_of_address : count > watch->max ? oldest : NULL;
    if (surplus == NULL)
        return;
    peer_end(surplus);
    log_rarely(60000, LOG_WARN, "http",
               "too many connections: %zu, %zu of one address; the oldest is ended for each new", count, of_address);
}

/* Tells of the clients that closed while their request is in the lanes. */
static void find_left(struct watch *watch)
{
    size_t count = 0, at = 0;
    for (struct peer *peer = watch->first; peer != NULL && count < watch->max; peer = peer->next)
        if (peer->request != NULL)
            watch->polled[count++] = (struct pollfd){.fd = peer->fd, .events = POLLRDHUP};
    if (count == 0 || poll(watch->polled, count, 0) <= 0)
        return;
    for (struct peer *peer = watch->first; peer != NULL && at < count; peer = peer->next) {
        if (peer->request == NULL || watch->polled[at++].revents == 0)
            continue;
        watch->left(peer->request);
        peer->request = NULL;
    }
}

/* Returns when to look again. */
static int64_t look(struct watch *watch)
{
    int64_t now_ms = clock_monotonic_ms(), interval_ms = watch->interval_ms;
    for (struct peer *peer = watch->first; peer != NULL; peer = peer->next) {
        if (peer->deadline_ms <= now_ms)
            peer_end(peer);
        if (peer->request != NULL && interval_ms > WATCH_LEFT_MS)
            interval_ms = WATCH_LEFT_MS;
    }
    find_left(watch);
    return now_ms + interval_ms;
}

/* ---------------------------------------------------------------------------------------------------------------- */

static void *watch_run(void *context)
{
    struct watch *watch = context;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stop) {
        if (watch->first == NULL)
            pthread_cond_wait(&watch->wake, &watch->lock);
        else
            cond_timedwait_ms(&watch->wake, &watch->lock, look(watch));
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

int watch_start(struct watch *watch, size_t max, size_t max_of_address, int64_t interval_ms,
                void (*left)(void *request), struct error *error)
{
    *watch = (struct watch){.max = max, .max_of_address = max_of_address, .interval_ms = interval_ms, .left = left};
    watch->polled = calloc(max, sizeof *watch->polled);
    if (watch->polled == NULL)
        return error_set(error, ENOMEM, "http: there is no memory to watch connections");
    pthread_mutex_init(&watch->lock, NULL);
    cond_init_monotonic(&watch->wake);
    int code = pthread_create(&watch->thread, NULL, watch_run, watch);
    if (code == 0)
        return 0;
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch->polled);
    return error_set(error, code, "http: no thread to watch connections: %s", strerror(code));
}

void watch_stop(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->stop = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch->polled);
}

struct peer *watch_add(struct watch *watch, int fd, const struct sockaddr *address, int64_t deadline_ms)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->fd = fd;
    peer->address = address_of(address);
    peer->deadline_ms = deadline_ms;
    pthread_mutex_lock(&watch->lock);
    if (watch->first == NULL)
        pthread_cond_signal(&watch->wake);
    peer_link(watch, peer);
    make_room(watch, peer);
    pthread_mutex_unlock(&watch->lock);
    return peer;
}

void watch_remove(struct watch *watch, struct peer *peer)
{
    pthread_mutex_lock(&watch->lock);
    peer_unlink(watch, peer);
    pthread_mutex_unlock(&watch->lock);
    free(peer);
}

void watch_client(struct watch *watch, struct peer *peer, int64_t deadline_ms)
{
    pthread_mutex_lock(&watch->lock);
    peer->request = NULL;
    if (!peer->ended) {
        peer->deadline_ms = deadline_ms;
        peer_unlink(watch, peer);
        peer_link(watch, peer);
    }
    pthread_mutex_unlock(&watch->lock);
}

void watch_lanes(struct watch *watch, struct peer *peer, void *request)
{
    pthread_mutex_lock(&watch->lock);
    peer->deadline_ms = INT64_MAX;
    peer->request = request;
    pthread_mutex_unlock(&watch->lock);
}
