/*
 * notify.h - tells the service manager that started this process how it is: systemd's notification protocol, a datagram
 * of NAME=value lines to the socket in $NOTIFY_SOCKET.
 *
 * Only the process that the manager started may tell (NotifyAccess=main): the master, or an engine without one. Without
 * a manager every function does nothing. A datagram that the manager's full socket does not take now is sent with the
 * next call. Threads: one.
 */
#ifndef SLUICE_BASE_NOTIFY_H
#define SLUICE_BASE_NOTIFY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    struct sockaddr_un address;
    socklen_t length;    /* of the address; 0: nobody listens */
    int64_t watchdog_ms; /* the manager ends a process that has not said for so long that it is alive; 0: it does not */
    int64_t alive_ms;    /* monotonic, when that was said last */
    bool ready, stopping; /* was said, and nothing else since */
};

/* Reads NOTIFY_SOCKET (a path, or '@' and an abstract name), WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the
 * environment: children are not the manager's business. 0, also without a manager; -EAFNOSUPPORT for a socket of
 * another kind: then nobody listens. */
int notify_open(struct notify *ret, struct error *error);

/* Each returns 0 or a negative errno: it was not sent. */
int notify_ready(struct notify *notify);     /* takes work; said once, and again after a reload */
int notify_reloading(struct notify *notify); /* said once a reload, when it had said that it is ready */
/* How often notify_alive() must be called at least. */
int64_t notify_every_ms(const struct notify *notify);
int notify_alive(struct notify *notify, int64_t now_ms);     /* said three times within watchdog_ms at most */
int notify_stopping(struct notify *notify, int64_t stop_ms); /* and has ended within stop_ms, mostly; said once */

#endif
