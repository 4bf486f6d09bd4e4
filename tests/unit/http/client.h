/*
 * client.h - a client that speaks raw bytes, as badly as a test wants, and reads answers one by one.
 */
#ifndef SLUICE_TESTS_CLIENT_H
#define SLUICE_TESTS_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { PATIENCE_MS = 20000 };

struct client {
    int fd;
    char bytes[64 * 1024]; /* what came and was not looked at yet */
    size_t length;
    bool ended;
};

struct answer {
    int status; /* 0: none came */
    char head[4096], body[64 * 1024];
    size_t body_length; /* as received */
};

static inline bool eventually(bool (*is_so)(void *context), void *context)
{
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (!is_so(context)) {
        if (clock_monotonic_ms() > until_ms)
            return false;
        poll(NULL, 0, 2);
    }
    return true;
}

static inline int client_connect(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline void client_open(struct client *client, int port)
{
    memset(client, 0, sizeof *client);
    client->fd = client_connect(port);
    assert_true(client->fd >= 0);
}

static inline void client_close(struct client *client)
{
    close(client->fd);
}

/* False when the listener hung up meanwhile. */
static inline bool client_send(struct client *client, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t sent = send(client->fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

static inline bool client_say(struct client *client, const char *text)
{
    return client_send(client, text, strlen(text));
}

/* Waits for more bytes. False at the end of the connection, or when nothing comes in time. */
static inline bool client_more(struct client *client)
{
    struct pollfd wait = {.fd = client->fd, .events = POLLIN};
    if (client->ended || client->length == sizeof client->bytes - 1 || poll(&wait, 1, PATIENCE_MS) <= 0)
        return false;
    ssize_t got = recv(client->fd, client->bytes + client->length, sizeof client->bytes - 1 - client->length, 0);
    if (got <= 0) {
        client->ended = true;
        return false;
    }
    client->length += (size_t)got;
    client->bytes[client->length] = '\0';
    return true;
}

static inline void client_skip(struct client *client, size_t length)
{
    memmove(client->bytes, client->bytes + length, client->length - length + 1);
    client->length -= length;
}

/* Reads one answer; the next one's bytes stay. `head`: it has no body whatever it says. */
static inline struct answer client_answer(struct client *client, bool head)
{
    struct answer answer = {0};
    char *end;
    while ((end = strstr(client->bytes, "\r\n\r\n")) == NULL)
        if (!client_more(client))
            return answer;
    size_t length = (size_t)(end - client->bytes) + 4;
    assert_true(length < sizeof answer.head);
    memcpy(answer.head, client->bytes, length);
    client_skip(client, length);
    const char *size = strstr(answer.head, "Content-Length: ");
    size_t expected = size == NULL || head ? 0 : (size_t)atol(size + 16);
    while (client->length < expected && client_more(client))
        ;
    answer.body_length = client->length < expected ? client->length : expected;
    memcpy(answer.body, client->bytes, answer.body_length);
    client_skip(client, answer.body_length);
    if (sscanf(answer.head, "HTTP/1.1 %d", &answer.status) != 1)
        sscanf(answer.head, "HTTP/1.0 %d", &answer.status);
    return answer;
}

static inline bool client_ended(struct client *client) /* in time */
{
    while (client_more(client))
        client->length = 0;
    return client->ended;
}

static inline struct answer ask(int port, const char *request)
{
    struct client client;
    client_open(&client, port);
    client_say(&client, request);
    struct answer answer = client_answer(&client, strncmp(request, "HEAD ", 5) == 0);
    client_close(&client);
    return answer;
}

static inline struct answer get(int port, const char *target)
{
    char request[8192];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
    return ask(port, request);
}

#define assert_has(text, part)                                                                                         \
    do {                                                                                                               \
        if (strstr((text), (part)) == NULL)                                                                            \
            fail_msg("wanted \"%s\" in: %s", (part), (text));                                                          \
    } while (0)

#endif
