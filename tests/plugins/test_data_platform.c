/*
 * test_data_platform.c - the plugin `data_platform` against the fake host and an HTTP server of the test's own:
 * test_data_platform [LIBRARY]
 */
#include "plugin_test.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS_MAX = 64, REQUEST_SIZE = 64 * 1024 };

/* Answers each request by what is scripted: a body that holds `poison` gets 422, every other request `status`. */
static struct server {
    int listener;
    int port;
    pthread_t thread;
    pthread_mutex_t lock;
    int status;
    const char *poison;
    bool silent; /* reads, never answers */
    int connections;
    int count;
    struct {
        char head[4096];
        char body[REQUEST_SIZE];
    } requests[REQUESTS_MAX];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .status = 200};

/* Reads one request into `text`; false: the client closed. */
static bool server_read(int fd, char *text, char **ret_body)
{
    size_t length = 0;
    for (;;) {
        char *end = strstr(text, "\r\n\r\n"), *field = strcasestr(text, "\r\nContent-Length:");
        if (end != NULL && field != NULL && length >= (size_t)(end + 4 - text) + strtoul(field + 17, NULL, 10)) {
            end[2] = '\0';
            *ret_body = end + 4;
            return true;
        }
        ssize_t got = length < REQUEST_SIZE - 1 ? read(fd, text + length, REQUEST_SIZE - 1 - length) : 0;
        if (got <= 0)
            return false;
        length += (size_t)got;
        text[length] = '\0';
    }
}

static int server_note(const char *head, const char *body, bool *ret_silent)
{
    pthread_mutex_lock(&server.lock);
    int status = server.poison != NULL && strstr(body, server.poison) != NULL ? 422 : server.status;
    if (server.count < REQUESTS_MAX) {
        snprintf(server.requests[server.count].head, sizeof server.requests[0].head, "%s", head);
        snprintf(server.requests[server.count].body, sizeof server.requests[0].body, "%s", body);
    }
    server.count++;
    *ret_silent = server.silent;
    pthread_mutex_unlock(&server.lock);
    return status;
}

static void *server_talk(void *context)
{
    int fd = (int)(intptr_t)context;
    char *text = calloc(1, REQUEST_SIZE), *body, answer[256];
    bool silent;
    while (text[0] = '\0', server_read(fd, text, &body)) {
        int status = server_note(text, body, &silent);
        int length = snprintf(answer, sizeof answer, "HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\nsome\nword", status);
        if (!silent && write(fd, answer, (size_t)length) != length)
            break;
        memset(text, 0, REQUEST_SIZE);
    }
    free(text);
    close(fd);
    return NULL;
}

static void *server_accept(void *context)
{
    (void)context;
    for (;;) {
        pthread_t thread;
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        pthread_mutex_lock(&server.lock);
        server.connections++;
        pthread_mutex_unlock(&server.lock);
        if (pthread_create(&thread, NULL, server_talk, (void *)(intptr_t)fd) != 0)
            fail_msg("no thread for the server");
        pthread_detach(thread);
    }
}

static void server_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(server.listener, 16) != 0 ||
        getsockname(server.listener, (struct sockaddr *)&address, &length) != 0)
        fail_msg("the server cannot listen");
    server.port = ntohs(address.sin_port);
    if (pthread_create(&server.thread, NULL, server_accept, NULL) != 0)
        fail_msg("no thread for the server");
}

static void server_script(int status, const char *poison, bool silent)
{
    pthread_mutex_lock(&server.lock);
    server.status = status;
    server.poison = poison;
    server.silent = silent;
    server.count = server.connections = 0;
    pthread_mutex_unlock(&server.lock);
}

/* ----------------------------------------------------------------------------------------------------------- tests */

static const char *library;

static struct fake_host *open_host(const char *more)
{
    char settings[512];
    snprintf(settings, sizeof settings, "{\"url\": \"http://127.0.0.1:%d/events\"%s}", server.port, more);
    return fake_host_open(library, settings);
}

static const struct fake_event events[] = {{.data = "{\"n\":0}", .id = "e0"},
                                           {.data = "{\"n\":1}", .id = "e1"},
                                           {.data = "{\"n\":2}", .id = "e2"},
                                           {.data = "{\"n\":3}", .id = "e3"},
                                           {.data = "{\"n\":4}", .id = "e4"}};

static void server_sync(void)
{
    pthread_mutex_lock(&server.lock);
    pthread_mutex_unlock(&server.lock);
}

/* Between two of them, what the server's threads noted may be read: each notes it under the lock before it answers. */
static const struct fake_result *send_all(struct fake_host *host, size_t count, const struct fake_event *all)
{
    server_sync();
    const struct fake_result *results = fake_call(host, "send", count, all);
    server_sync();
    return results;
}

static void expect_head(int request, const char *part, bool wanted)
{
    if ((strstr(server.requests[request].head, part) != NULL) != wanted)
        fail_msg("request %d %s '%s':\n%s", request, wanted ? "lacks" : "must not have", part,
                 server.requests[request].head);
}

static const char *key_of(int request)
{
    const char *key = strstr(server.requests[request].head, "Idempotency-Key: ");
    if (key == NULL)
        fake_die("request %d has no Idempotency-Key", request);
    return key + 17;
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    while ((text = strstr(text, part)) != NULL) {
        count++;
        text++;
    }
    return count;
}

static void all_go_in_one_request(void **state)
{
    (void)state;
    struct fake_host *host = open_host("");
    server_script(202, NULL, false);
    for (int time = 0; time < 2; time++) {
        const struct fake_result *results = send_all(host, 5, events);
        for (int i = 0; i < 5; i++)
            fake_expect_outcome(&results[i], "sent");
    }
    if (server.count != 2 || server.connections != 1)
        fail_msg("2 calls made %d requests on %d connections", server.count, server.connections);
    const char *body = server.requests[0].body;
    if (body[0] != '[' || body[strlen(body) - 1] != ']' || count_of(body, "\"eventId\"") != 5 ||
        strstr(body, "e0") > strstr(body, "e4"))
        fail_msg("not an array of the five events: %s", body);
    expect_head(0, "POST /events HTTP/1.1\r\n", true);
    expect_head(0, "Content-Type: application/json\r\n", true);
    expect_head(0, "Authorization", false);
    if (strncmp(key_of(0), key_of(1), 38) != 0)
        fail_msg("the same events have two keys:\n%s%s", key_of(0), key_of(1));
    send_all(host, 4, events);
    if (strncmp(key_of(0), key_of(2), 38) == 0)
        fail_msg("other events have the same key");
    send_all(host, 1, events);
    if (strncmp(key_of(3), "e0\r\n", 4) != 0)
        fail_msg("the key of one event is its id, not %s", key_of(3));
    fake_host_close(host);
}

static void what_is_refused_is_found_and_rejected_alone(void **state)
{
    (void)state;
    struct fake_host *host = open_host("");
    server_script(200, "\"e3\"", false);
    const struct fake_result *results = send_all(host, 5, events);
    for (int i = 0; i < 5; i++)
        if (i == 3)
            fake_expect_why(&results[i], FAKE_REJECT, "the data platform answered 422: some word");
        else
            fake_expect_outcome(&results[i], "sent");
    fake_host_close(host);
}

static void a_platform_in_trouble_rejects_nothing(void **state)
{
    (void)state;
    static const int statuses[] = {500, 503, 429, 408, 401, 403, 404, 301};
    struct fake_host *host = open_host("");
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        char words[64];
        server_script(statuses[i], NULL, false);
        snprintf(words, sizeof words, "the data platform answered %d", statuses[i]);
        const struct fake_result *results = send_all(host, 5, events);
        for (int n = 0; n < 5; n++)
            fake_expect_why(&results[n], FAKE_UNAVAILABLE, words);
        if (server.count != 1)
            fail_msg("%d made %d requests", statuses[i], server.count);
    }
    fake_host_close(host);
}

static void nobody_there_and_no_answer(void **state)
{
    (void)state;
    struct fake_host *host = open_host(", \"timeout\": \"100ms\"");
    server_script(200, NULL, true);
    fake_expect_why(send_all(host, 5, events), FAKE_UNAVAILABLE, "cannot be reached: Operation timed out");
    fake_host_close(host);
    host = fake_host_open(library, "{\"url\": \"http://127.0.0.1:1/\"}");
    fake_expect_why(send_all(host, 5, events), FAKE_UNAVAILABLE, "cannot be reached: ");
    fake_host_close(host);
}

static void settings_are_kept(void **state)
{
    (void)state;
    struct fake_event large[8];
    char data[400];
    snprintf(data, sizeof data, "{\"text\":\"%0300d\"}", 0);
    for (int i = 0; i < 8; i++)
        large[i] = (struct fake_event){.data = data};
    struct fake_host *host = open_host(", \"max_body\": 1024, \"api_key\": \"s3cret\"");
    server_script(200, NULL, false);
    send_all(host, 8, large);
    if (server.count != 4)
        fail_msg("8 events of about 450 bytes in bodies of 1024 make 4 requests, not %d", server.count);
    for (int i = 0; i < server.count; i++)
        if (strlen(server.requests[i].body) > 1024)
            fail_msg("request %d has %zu bytes", i, strlen(server.requests[i].body));
    expect_head(0, "Authorization: Bearer s3cret\r\n", true);
    fake_host_close(host);

    if (fake_host_refusal(library, "{\"url\": \"ftp://there/\"}") == NULL ||
        fake_host_refusal(library, "{\"url\": \"http://there/ \"}") == NULL ||
        fake_host_refusal(library, "{\"url\": \"http://there/\", \"api_key\": \"a\\r\\nX: y\"}") == NULL ||
        fake_host_refusal(library, "{}") == NULL)
        fail_msg("a setting that cannot work was taken");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_go_in_one_request),
        cmocka_unit_test(what_is_refused_is_found_and_rejected_alone),
        cmocka_unit_test(a_platform_in_trouble_rejects_nothing),
        cmocka_unit_test(nobody_there_and_no_answer),
        cmocka_unit_test(settings_are_kept),
    };
    library = plugin_test_library(argc, argv, "data_platform");
    server_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
