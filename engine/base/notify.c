/*
 * notify.c - see notify.h.
 */
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t read_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (usec == NULL || (pid != NULL && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 1000;
}

static int read_address(const char *text, struct notify *notify, struct error *error)
{
    size_t length = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || length < 2 || length >= sizeof notify->address.sun_path) {
        error_set(error, EAFNOSUPPORT, "NOTIFY_SOCKET=%.120s is no UNIX socket", text);
        return error_hint(error, "expected an absolute path or '@' and a name; the service manager is told nothing");
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, text, length);
    if (text[0] == '@')
        notify->address.sun_path[0] = '\0';
    notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

int notify_open(struct notify *ret, struct error *error)
{
    const char *socket = getenv("NOTIFY_SOCKET");
    *ret = (struct notify){.watchdog_ms = read_watchdog_ms()};
    int r = socket == NULL || socket[0] == '\0' ? 0 : read_address(socket, ret, error);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return r;
}

static int notify_send(const struct notify *notify, const char *state)
{
    int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0)
        return -errno;
    ssize_t sent = sendto(file, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&notify->address,
                          notify->length);
    int r = sent < 0 ? -errno : 0;
    close(file);
    return r;
}

int notify_ready(struct notify *notify)
{
    if (notify->length == 0 || notify->ready)
        return 0;
    int r = notify_send(notify, "READY=1\nSTATUS=takes work");
    notify->ready = r == 0;
    return r;
}

int notify_reloading(struct notify *notify)
{
    char state[128];
    struct timespec now;
    if (notify->length == 0 || !notify->ready)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reads its files again",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    int r = notify_send(notify, state);
    notify->ready = r != 0;
    return r;
}

int64_t notify_every_ms(const struct notify *notify)
{
    return notify->length == 0 || notify->watchdog_ms == 0 ? INT64_MAX : notify->watchdog_ms / 6;
}

int notify_alive(struct notify *notify, int64_t now_ms)
{
    if (notify->length == 0 || notify->watchdog_ms == 0 || now_ms - notify->alive_ms < notify->watchdog_ms / 3)
        return 0;
    int r = notify_send(notify, "WATCHDOG=1");
    if (r == 0)
        notify->alive_ms = now_ms;
    return r;
}

int notify_stopping(struct notify *notify, int64_t stop_ms)
{
    char state[128];
    if (notify->length == 0 || notify->stopping)
        return 0;
    snprintf(state, sizeof state, "STOPPING=1\nSTATUS=finishes what runs\nEXTEND_TIMEOUT_USEC=%lld",
             (long long)stop_ms * 1000);
    int r = notify_send(notify, state);
    notify->stopping = r == 0;
    return r;
}
