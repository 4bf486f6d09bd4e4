/*
 * child_talk.c - what the process of an isolated plugin and its lane say to each other.
 */
#include "isolate/child.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void child_tell(enum message_kind kind, uint64_t value)
{
    struct message message = {kind, value};
    while (send(AREA_SOCKET, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

bool child_hear(struct message *ret)
{
    ssize_t length;
    do
        length = recv(AREA_SOCKET, ret, sizeof *ret, 0);
    while (length < 0 && errno == EINTR);
    if (length < 0)
        for (;;)
            pause(); /* a call closed the socket: the lane finds out, and ends this process */
    return length == (ssize_t)sizeof *ret;
}

void child_stays(const struct child *child)
{
    if (getpid() != child->pid)
        _exit(EXIT_SUCCESS);
}

uint64_t child_ask(struct child *child)
{
    struct message message;
    child_stays(child);
    child_tell(MESSAGE_ASKS, child->acts.used);
    if (!child_hear(&message)) /* the lane has ended, or a call closed the socket */
        _exit(EXIT_FAILURE);
    return message.value;
}
