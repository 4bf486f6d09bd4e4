/*
 * watch.c - see watch.h.
 */
#include "http/watch.h"

#include "base/clock.h"
#include "base/condition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void *watch_run(void *context)
{
    struct watch *watch = context;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stop) {
        if (watch->peers == NULL) {
            pthread_cond_wait(&watch->wake, &watch->lock);
            continue;
        }
        int64_t now_ms = clock_monotonic_ms();
        for (struct peer *peer = watch->peers; peer != NULL; peer = peer->next) {
            if (peer->deadline_ms <= now_ms) {
                shutdown(peer->fd, SHUT_RDWR); /* the peer is in the list, so the socket is still this connection's */
                peer->deadline_ms = INT64_MAX;
            }
        }
        cond_timedwait_ms(&watch->wake, &watch->lock, now_ms + watch->interval_ms);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

int watch_start(struct watch *watch, int64_t interval_ms, struct error *error)
{
    watch->interval_ms = interval_ms;
    watch->peers = NULL;
    watch->stop = false;
    pthread_mutex_init(&watch->lock, NULL);
    cond_init_monotonic(&watch->wake);
    int code = pthread_create(&watch->thread, NULL, watch_run, watch);
    if (code == 0)
        return 0;
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    return error_set(error, code, "the thread that watches HTTP connections could not be started: %s", strerror(code));
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
}

struct peer *watch_add(struct watch *watch, int fd, int64_t deadline_ms)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL)
        return NULL;
    peer->fd = fd;
    peer->deadline_ms = deadline_ms;
    pthread_mutex_lock(&watch->lock);
    peer->next = watch->peers;
    if (peer->next == NULL)
        pthread_cond_signal(&watch->wake);
    else
        peer->next->previous = peer;
    watch->peers = peer;
    pthread_mutex_unlock(&watch->lock);
    return peer;
}

void watch_remove(struct watch *watch, struct peer *peer)
{
    pthread_mutex_lock(&watch->lock);
    if (peer->next != NULL)
        peer->next->previous = peer->previous;
    if (peer->previous != NULL)
        peer->previous->next = peer->next;
    else
        watch->peers = peer->next;
    pthread_mutex_unlock(&watch->lock);
    free(peer);
}

void watch_set(struct watch *watch, struct peer *peer, int64_t deadline_ms)
{
    pthread_mutex_lock(&watch->lock);
    peer->deadline_ms = deadline_ms;
    pthread_mutex_unlock(&watch->lock);
}
