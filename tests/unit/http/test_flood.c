/*
 * test_flood.c - clients by the hundreds and thousands that send slowly, read slowly, say nothing, come again at once
 * or wait: from the same address, health and metrics are asked meanwhile, and answered.
 */
#include "fake_engine.h"

#include <fcntl.h>
#include <sys/resource.h>

enum {
    PROBES = 12,
    PROBE_MS = 4000,      /* an answer may take, on a machine that is busy: far less than slow clients are given */
    HTTP_TIMEOUT = 10000, /* what slow clients are given */
    FLOOD_MAX = 10000,
};

struct flood {
    int port;
    size_t count;
    const char *first, *again; /* what each sends at once, and then a byte after the other; NULL: nothing */
    int pause_ms;              /* between two bytes */
    bool reconnects;           /* when it is ended */
    pthread_t thread;
    atomic_bool stop;
    atomic_size_t connected, ended;
    struct pollfd fds[FLOOD_MAX];
};

static int connect_begin(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)!connect(fd, (struct sockaddr *)&address, sizeof address);
    return fd;
}

/* Every client of the flood, on one thread. POLLOUT is waited for until the connection stands. */
static void *flood_run(void *context)
{
    struct flood *flood = context;
    int64_t next_ms = 0;
    size_t at = 0;
    while (!atomic_load(&flood->stop)) {
        for (size_t i = 0; i < flood->count; i++)
            if (flood->fds[i].fd < 0 && (flood->reconnects || flood->fds[i].events == 0))
                flood->fds[i] = (struct pollfd){.fd = connect_begin(flood->port), .events = POLLOUT | POLLRDHUP};
        poll(flood->fds, flood->count, 20);
        bool drop = flood->again != NULL && clock_monotonic_ms() >= next_ms;
        for (size_t i = 0; i < flood->count; i++) {
            struct pollfd *client = &flood->fds[i];
            if (client->fd >= 0 && (client->revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0) {
                close(client->fd);
                client->fd = -1;
                atomic_fetch_add(&flood->ended, 1);
            } else if (client->fd >= 0 && (client->revents & POLLOUT) != 0) {
                client->events = POLLRDHUP;
                atomic_fetch_add(&flood->connected, 1);
                if (flood->first != NULL)
                    (void)!send(client->fd, flood->first, strlen(flood->first), MSG_NOSIGNAL);
            } else if (client->fd >= 0 && drop && client->events == POLLRDHUP) {
                (void)!send(client->fd, flood->again + at % strlen(flood->again), 1, MSG_NOSIGNAL);
            }
        }
        if (drop) {
            next_ms = clock_monotonic_ms() + flood->pause_ms;
            at++;
        }
    }
    for (size_t i = 0; i < flood->count; i++)
        if (flood->fds[i].fd >= 0)
            close(flood->fds[i].fd);
    return NULL;
}

static bool all_came(void *context)
{
    struct flood *flood = context;
    return atomic_load(&flood->connected) >= flood->count;
}

static int64_t probe(struct stage *stage, const char *what, const char *target)
{
    int64_t before_ms = clock_monotonic_ms();
    int status = get(stage->port, target).status;
    int64_t took_ms = clock_monotonic_ms() - before_ms;
    if (status != 200 || took_ms > (SANITIZED ? 2 : 1) * PROBE_MS)
        fail_msg("%s: %s got %d after %lld ms", what, target, status, (long long)took_ms);
    return took_ms;
}

static void test_floods(void **state)
{
    static const char head[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    static const char body[] = "POST /payments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               "Content-Length: 60000\r\n\r\n";
    static const char whole[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const struct {
        const char *what;
        size_t count;
        const char *first, *again;
        int pause_ms;
        bool reconnects;
    } floods[] = {
        {"300 that send a byte each 0.7 s", 300, NULL, head, 700, false},
        {"2000 that send a byte each 0.1 s", 2000, NULL, head, 100, true},
        {"400 idle ones that come again", 400, NULL, NULL, 0, true},
        {"2000 idle ones that come again", 2000, NULL, NULL, 0, true},
        {"2000 whose body is slow", 2000, body, " ", 100, true},
        {"2000 that ask once and stay", 2000, whole, NULL, 0, true},
        {"10000 idle ones that come again", FLOOD_MAX, NULL, NULL, 0, true},
    };
    static struct flood flood;
    struct rlimit files;
    struct stage stage;
    (void)state;
    getrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        stage_start(&stage, HTTP_TIMEOUT);
        size_t room = (size_t)files.rlim_cur - 1500; /* the listener, in this process, has its own */
        flood = (struct flood){.port = stage.port,
                               .count = floods[i].count < room ? floods[i].count : room,
                               .first = floods[i].first,
                               .again = floods[i].again,
                               .pause_ms = floods[i].pause_ms,
                               .reconnects = floods[i].reconnects};
        for (size_t c = 0; c < flood.count; c++)
            flood.fds[c].fd = -1;
        assert_int_equal(pthread_create(&flood.thread, NULL, flood_run, &flood), 0);
        int64_t slowest_ms = 0, took_ms;
        for (int n = 0; n < PROBES / 2; n++) { /* while they come */
            took_ms = probe(&stage, floods[i].what, "/healthz");
            slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        }
        if (!eventually(all_came, &flood))
            fail_msg("%s: only %zu came", floods[i].what, atomic_load(&flood.connected));
        for (int n = 0; n < PROBES; n++) {
            took_ms = probe(&stage, floods[i].what, n % 2 == 0 ? "/healthz" : "/metrics");
            slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        }
        print_message("%s: the slowest of %d answers took %lld ms; %zu connections were ended\n", floods[i].what,
                      PROBES + PROBES / 2, (long long)slowest_ms, atomic_load(&flood.ended));
        atomic_store(&flood.stop, true);
        pthread_join(flood.thread, NULL);
        stage_stop(&stage);
    }
}

/* Answers that nobody reads, on all the connections that there may be: few, so that they need little memory. */
static void test_unread_answers(void **state)
{
    enum { READERS = 300 };
    struct rlimit files, few;
    struct stage stage;
    int fds[READERS];
    static const char request[] = "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";
    (void)state;
    getrlimit(RLIMIT_NOFILE, &files);
    few = (struct rlimit){128, files.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    stage_start(&stage, HTTP_TIMEOUT);
    setrlimit(RLIMIT_NOFILE, &files);
    stage.engine->large_length = 5 * 1024 * 1024; /* more than the sockets take */
    for (size_t i = 0; i < READERS; i++) {
        assert_true((fds[i] = client_connect(stage.port)) >= 0);
        assert_int_equal(send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
        if (i % 20 == 0)
            probe(&stage, "300 that do not read their answers", "/healthz");
    }
    probe(&stage, "300 that do not read their answers", "/metrics");
    for (size_t i = 0; i < READERS; i++)
        close(fds[i]);
    stage_stop(&stage);
}

/* ------------------------------------------------------------------ those that wait */

enum { WAITERS = 300 };

static void wait_begin(struct stage *stage, int fds[WAITERS])
{
    static const char request[] = "GET /payments/1?wait=30s HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (size_t i = 0; i < WAITERS; i++) {
        assert_true((fds[i] = client_connect(stage->port)) >= 0);
        assert_int_equal(send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    }
}

/* Those that wait, of this address or of all, leave room for requests that do not. */
static void test_waiters_leave_room(void **state)
{
    struct stage *stage = *state;
    int fds[WAITERS];
    size_t refused = 0;
    wait_begin(stage, fds);
    probe(stage, "300 that wait", "/payments/1");
    probe(stage, "300 that wait", "/healthz");
    for (size_t i = 0; i < WAITERS; i++) {
        struct pollfd answer = {.fd = fds[i], .events = POLLIN};
        refused += poll(&answer, 1, 0) > 0;
    }
    assert_true(refused > 0); /* and what is beyond is told so at once */
    assert_int_equal(fake_held(stage->engine) + refused, WAITERS);
    for (size_t i = 0; i < WAITERS; i++)
        close(fds[i]);
}

static bool wait_is_taken(void *context)
{
    struct stage *stage = context;
    return get(stage->port, "/payments/1?wait=10ms").status == 200;
}

/* Clients that closed hold nothing: the next one may wait, although the engine still has their requests. */
static void test_waiters_that_left(void **state)
{
    struct stage *stage = *state;
    int fds[WAITERS];
    wait_begin(stage, fds);
    probe(stage, "300 that wait", "/healthz"); /* and all before it have been read */
    assert_int_equal(get(stage->port, "/payments/1?wait=10ms").status, 503);
    for (size_t i = 0; i < WAITERS; i++) {
        if (i % 3 == 1)
            shutdown(fds[i], SHUT_WR);
        else
            close(fds[i]);
    }
    int64_t before_ms = clock_monotonic_ms();
    assert_true(eventually(wait_is_taken, stage));
    assert_true(clock_monotonic_ms() - before_ms < PROBE_MS);
    for (size_t i = 1; i < WAITERS; i += 3)
        close(fds[i]);
    while (counted(stage, "GET /payments/{paymentTxId}", "499") + counted(stage, "GET /payments/{paymentTxId}", "503") <
           WAITERS + 1)
        poll(NULL, 0, 5);
    assert_true(fake_left(stage->engine) > 0);
}

int main(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 2 * FLOOD_MAX ? files.rlim_max : 2 * FLOOD_MAX;
    setrlimit(RLIMIT_NOFILE, &files);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_unread_answers),
        cmocka_unit_test_setup_teardown(test_waiters_leave_room, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_waiters_that_left, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
