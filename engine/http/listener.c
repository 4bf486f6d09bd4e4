/*
 * listener.c - the socket, libmicrohttpd's thread, and their end.
 */
#include "http/exchange.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    return target == NULL ? NULL : exchange_create(context, connection, target);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_length, void **request)
{
    struct exchange *exchange = *request;
    (void)context;
    (void)connection;
    if (exchange == NULL)
        return MHD_NO; /* out of memory: hangs up */
    if (!exchange->begun)
        return exchange_begin(exchange, url, method, version);
    if (*data_length == 0)
        return exchange_run(exchange);
    size_t length = *data_length;
    *data_length = 0;
    return exchange_take(exchange, data, length);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    if (*request != NULL)
        exchange_end(*request);
    *request = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **peer,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        const union MHD_ConnectionInfo *address = MHD_get_connection_info(connection,
                                                                          MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        *peer = watch_add(&http->watch, info->connect_fd, address->client_addr,
                          clock_monotonic_ms() + http->timeout_ms);
        if (*peer == NULL)
            shutdown(info->connect_fd, SHUT_RDWR); /* one that cannot be watched is not served */
    } else if (*peer != NULL) {
        watch_remove(&http->watch, *peer);
        *peer = NULL;
    }
}

/* Targets stay as they came: route.c decodes them, after it has split them. */
static size_t on_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static int socket_bind(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int code = -errno;
    close(fd);
    return code;
}

static int socket_open(const char *host, int port, struct error *error)
{
    char service[16];
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    snprintf(service, sizeof service, "%d", port);
    int code = getaddrinfo(host, service, &wanted, &found);
    if (code != 0) {
        error_set(error, EADDRNOTAVAIL, "http.listen: the host '%s' is not known: %s", host, gai_strerror(code));
        return error_hint(error, "give an address of this machine, such as 127.0.0.1");
    }
    int fd = socket_bind(found);
    freeaddrinfo(found);
    if (fd < 0) {
        error_set(error, -fd, "http.listen: %s:%d cannot be listened on: %s", host, port, strerror(-fd));
        return error_hint(error, fd == -EADDRINUSE
                                     ? "another process has this port; choose another one, or 0 for any free one"
                                     : "give an address of this machine and a port this user may open");
    }
    return fd;
}

/* The port that was taken, and whether other machines cannot reach it. */
static int socket_port(int fd, bool *ret_loopback)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.any.sa_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    *ret_loopback = false;
    if (getsockname(fd, &address.any, &length) != 0)
        return 0;
    bool v6 = address.any.sa_family == AF_INET6;
    *ret_loopback = v6 ? IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr)
                       : ntohl(address.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
}

static struct http_limits limits_choose(void)
{
    struct rlimit files;
    size_t most = HTTP_CONNECTIONS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < most)
        most = files.rlim_cur / 2;
    most = most < HTTP_CONNECTIONS_MIN ? HTTP_CONNECTIONS_MIN : most;
    return (struct http_limits){.connections = most,
                                .connections_of_address = most - most / 8,
                                .waiting = most - most / 4,
                                .waiting_of_address = most - most / 2,
                                .waits = most / 2,
                                .waits_of_address = most / 4};
}

static struct MHD_Daemon *daemon_start(struct http *http)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)(http->limits.connections + HTTP_CONNECTIONS_SPARE),
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)HTTP_POOL_SIZE, MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
                            MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                            http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
}

/* Both threads; they inherit a mask that leaves every signal to the others. */
static int threads_start(struct http *http, struct error *error)
{
    sigset_t all, before;
    int64_t interval_ms = http->timeout_ms / 10 < 10 ? 10 : http->timeout_ms / 10;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = watch_start(&http->watch, http->limits.connections, http->limits.connections_of_address, interval_ms,
                           exchange_left, error);
    if (code == 0) {
        http->daemon = daemon_start(http);
        if (http->daemon == NULL) {
            code = error_set(error, errno == 0 ? EIO : errno, "http: the listener could not be started");
            watch_stop(&http->watch);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static void http_free(struct http *http)
{
    if (http->listen_fd >= 0)
        close(http->listen_fd);
    buffer_free(&http->graph);
    management_stop(http->management);
    arena_destroy(http->arena);
    pthread_mutex_destroy(&http->lock);
    free(http);
}

int http_listen(const struct pipeline *pipeline, struct error *error)
{
    return socket_open(pipeline->http.host, pipeline->http.port, error);
}

/* Starts the threads. */
static int http_open(struct http *http, int listener, struct error *error)
{
    const struct pipeline *pipeline = http->pipeline;
    http->listen_fd = fcntl(listener, F_DUPFD_CLOEXEC, 0);
    if (http->listen_fd < 0)
        return error_set(error, errno, "http: there is no descriptor for the listener: %s", strerror(errno));
    http->port = socket_port(http->listen_fd, &http->loopback);
    if (!http->loopback && pipeline->http.token == NULL)
        return error_set(error, EACCES,
                         "http.listen: %s is an address that other machines reach: http.token is required",
                         pipeline->http.host);
    return threads_start(http, error);
}

int http_start(struct engine *engine, struct bus *bus, struct store *store, int listener, struct http **ret,
               int *ret_port, struct error *error)
{
    const struct pipeline *pipeline = engine_pipeline(engine);
    struct http *http = calloc(1, sizeof *http);
    struct arena *arena = arena_create(16 * 1024, 64 * 1024 * 1024);
    if (http == NULL || arena == NULL) {
        free(http);
        arena_destroy(arena);
        return error_set(error, ENOMEM, "http: there is no memory for the listener");
    }
    http->engine = engine;
    http->pipeline = pipeline;
    http->metrics = engine_metrics(engine);
    http->tracer = engine_tracer(engine);
    if (getrandom(&http->trace_random, sizeof http->trace_random, 0) != sizeof http->trace_random)
        http->trace_random = (uint64_t)clock_monotonic_ns();
    http->arena = arena;
    http->timeout_ms = pipeline->http.timeout_ms < HTTP_CLIENT_MS ? pipeline->http.timeout_ms : HTTP_CLIENT_MS;
    http->max_body = (size_t)pipeline->http.max_body;
    http->limits = limits_choose();
    pthread_mutex_init(&http->lock, NULL);
    buffer_init(&http->graph, HTTP_PAGE_MAX);
    pipelines_graph(&pipeline, 1, GRAPH_JSON, &http->graph);
    http->listen_fd = -1;
    int code = management_start(pipeline, bus, store, &http->management, error);
    if (code == 0) {
        http_series_create(http);
        code = http_open(http, listener, error);
    }
    if (code != 0) {
        http_free(http);
        return code;
    }
    *ret_port = http->port;
    *ret = http;
    return 0;
}

void http_reload(struct http *http, struct reload *reload)
{
    management_reload(http->management, reload);
}

void http_quiesce(struct http *http, bool refuse)
{
    if (atomic_exchange(&http->quiescing, true))
        return;
    MHD_quiesce_daemon(http->daemon);
    /* The descriptor stays open until the thread has ended, which may be about to accept on it. */
    if (refuse)
        shutdown(http->listen_fd, SHUT_RDWR);
}

static void nap(void)
{
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

/* Every suspended connection must be resumed before MHD_stop_daemon(), and no wake-up be under way. */
static void requests_take_back(struct http *http)
{
    bool waiting = true;
    management_answer(http->management);
    pthread_mutex_lock(&http->lock);
    http->stopping = true;
    for (struct exchange *exchange = http->waiting; exchange != NULL; exchange = exchange->next)
        exchange_abandon(exchange);
    pthread_mutex_unlock(&http->lock);
    while (waiting || atomic_load(&http->waking) > 0) {
        nap();
        pthread_mutex_lock(&http->lock);
        waiting = http->waiting_count > 0;
        pthread_mutex_unlock(&http->lock);
    }
}

void http_stop(struct http *http)
{
    if (http == NULL)
        return;
    http_quiesce(http, true);
    requests_take_back(http);
    int64_t until_ms = clock_monotonic_ms() + HTTP_STOP_MS;
    while (atomic_load(&http->answering) > 0 && clock_monotonic_ms() < until_ms)
        nap();
    MHD_stop_daemon(http->daemon);
    watch_stop(&http->watch);
    http_free(http);
}
