/*
 * test_abuse.c - clients that are slow, silent, endless or too many: each costs bounded memory and bounded time.
 */
#include "fake_engine.h"

#include <dirent.h>
#include <sys/resource.h>

enum { TIMEOUT_MS = 1500, SLACK_MS = 4000 /* on a machine that is busy */ };

static int setup(void **state)
{
    static struct stage stage;
    stage_start(&stage, TIMEOUT_MS);
    *state = &stage;
    return 0;
}

#define HOST "Host: t\r\n"
#define JSON "Content-Type: application/json\r\n"
/* ------------------------------------------------------------------ sizes */

static void test_header_sizes(void **state)
{
    struct stage *stage = *state;
    static char request[20000];
    const struct {
        size_t size;
        int status;
    } cases[] = {{8192, 200}, {8193, 431}, {14000, 431}};
    for (size_t i = 0; i < 3; i++) {
        int length = snprintf(request, sizeof request, "GET /healthz HTTP/1.1\r\n" HOST "X: ");
        memset(request + length, 'x', cases[i].size);
        memcpy(request + cases[i].size - 4, "\r\n\r\n", 5);
        struct answer answer = ask(stage->port, request);
        if (answer.status != cases[i].status)
            fail_msg("a header of %zu bytes: wanted %d, got %d", cases[i].size, cases[i].status, answer.status);
        if (answer.status != 200)
            assert_has(answer.body, "\"error\":\"header_too_large\"");
    }
    memset(request, 'x', sizeof request); /* a target too long, without an end */
    memcpy(request, "GET /", 5);
    memcpy(request + 12000, " HTTP/1.1\r\n" HOST "\r\n", 23);
    assert_int_equal(ask(stage->port, request).status, 431);
}

static void test_key_sizes(void **state)
{
    struct stage *stage = *state;
    char request[512];
    for (int size = 127; size <= 129; size++) {
        snprintf(request, sizeof request, "POST /payments HTTP/1.1\r\n" HOST "Idempotency-Key: %0*d\r\n\r\n", size, 7);
        struct answer answer = ask(stage->port, request);
        if (answer.status != (size <= 128 ? 202 : 400))
            fail_msg("a key of %d characters: got %d", size, answer.status);
    }
}

static struct answer post_of(struct stage *stage, size_t size, bool chunked)
{
    struct client client;
    char head[256];
    char *body = malloc(size + 1);
    assert_non_null(body);
    memset(body, ' ', size);
    client_open(&client, stage->port);
    int length = chunked ? snprintf(head, sizeof head,
                                    "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                                    size)
                         : snprintf(head, sizeof head,
                                    "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: %zu\r\n\r\n", size);
    if (client_send(&client, head, (size_t)length) && client_send(&client, body, size) && chunked)
        client_say(&client, "\r\n0\r\n\r\n");
    struct answer answer = client_answer(&client, false);
    client_close(&client);
    free(body);
    return answer;
}

static void test_body_sizes(void **state)
{
    struct stage *stage = *state;
    const size_t max = stage->engine->pipeline.http.max_body;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct answer answer = post_of(stage, 50000, chunked);
        assert_int_equal(answer.status, 202);
        answer = post_of(stage, max + 1, chunked);
        if (answer.status != 413)
            fail_msg("one byte too much, chunked %d: got %d", chunked, answer.status);
        assert_has(answer.body, "{\"error\":\"body_too_large\",");
        answer = post_of(stage, 10 * 1024 * 1024, chunked); /* may be hung up on before the answer can be read */
        assert_true(answer.status == 413 || answer.status == 0);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* What refused bodies held is given back: more of them than all bodies together may hold. */
static void test_refused_bodies_are_forgotten(void **state)
{
    struct stage *stage = *state;
    const size_t max = stage->engine->pipeline.http.max_body;
    for (size_t i = 0; i < 600; i++)
        assert_int_equal(post_of(stage, max + 1, true).status, 413);
    assert_int_equal(post_of(stage, max, true).status, 202);
}

static int post_incomplete(struct stage *stage, size_t size)
{
    struct client client = {.fd = client_connect(stage->port)};
    char *body = calloc(1, size);
    assert_non_null(body);
    client_say(&client, "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 1048576\r\n\r\n");
    assert_true(client_send(&client, body, size));
    free(body);
    return client.fd;
}

/* Bodies that are not complete hold memory, and together they hold no more than 32 MiB and the largest. */
static void test_bodies_together(void **state)
{
    enum { MANY = 200, EACH = 900000, LARGER = 1000000 };
    (void)state;
    struct stage stage;
    int fds[MANY];
    size_t count = 0;
    struct answer answer;
    stage_start_with(&stage, 10000, 1024 * 1024);
    do { /* whatever is left is less than EACH in the end, and so less than LARGER */
        assert_true(count < MANY);
        fds[count++] = post_incomplete(&stage, EACH);
        answer = post_of(&stage, LARGER, false);
    } while (answer.status == 202);
    assert_true(count > 32);
    assert_int_equal(answer.status, 503);
    assert_has(answer.head, "Retry-After: 1\r\n");
    assert_has(answer.body, "{\"error\":\"busy\",");
    assert_int_equal(get(stage.port, "/payments/1").status, 200);
    while (count > 0)
        close(fds[--count]);
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while ((answer = post_of(&stage, 50000, false)).status == 503 && clock_monotonic_ms() < until_ms)
        poll(NULL, 0, 10);
    assert_int_equal(answer.status, 202);
    stage_stop(&stage);
}

/* A body in chunks says nowhere how long it is: it is read for a while, then the connection ends. */
static void test_endless_body(void **state)
{
    struct stage *stage = *state;
    static char chunk[7 + 65536 + 2];
    memset(chunk, ' ', sizeof chunk);
    memcpy(chunk, "10000\r\n", 7);
    memcpy(chunk + sizeof chunk - 2, "\r\n", 2);
    struct client client;
    client_open(&client, stage->port);
    client_say(&client, "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n");
    size_t sent = 0;
    while (sent < 32 * 1024 * 1024 && client_send(&client, chunk, sizeof chunk))
        sent += sizeof chunk;
    assert_true(sent < 32 * 1024 * 1024);
    client_close(&client);
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

static long memory_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void test_endless_header(void **state)
{
    struct stage *stage = *state;
    static char chunk[64 * 1024];
    memset(chunk, 'x', sizeof chunk);
    long before = memory_kib();
    struct client client;
    client_open(&client, stage->port);
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "X: ");
    size_t sent = 0;
    while (sent < 100 * 1024 * 1024 && client_send(&client, chunk, sizeof chunk))
        sent += sizeof chunk;
    if (sent >= 100 * 1024 * 1024)
        fail_msg("a header of 100 MiB was read to its end");
    struct answer answer = client_answer(&client, false);
    assert_true(answer.status == 431 || answer.status == 0);
    client_close(&client);
    if (!SANITIZED)
        assert_true(memory_kib() - before < 8 * 1024);
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* Bodies that never end, on many connections at once: what they hold together is bounded. */
static void test_many_bodies(void **state)
{
    enum { MANY = 200, EACH = 60000 };
    struct stage *stage = *state;
    static char body[EACH];
    int fds[MANY];
    struct client client = {0};
    long before = memory_kib();
    for (size_t i = 0; i < MANY; i++) {
        client.fd = fds[i] = client_connect(stage->port);
        client_say(&client, "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 65536\r\n\r\n");
        client_send(&client, body, EACH);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
    if (!SANITIZED)
        assert_true(memory_kib() - before < 64 * 1024);
    for (size_t i = 0; i < MANY; i++)
        close(fds[i]);
}

/* ------------------------------------------------------------------ time */

/* Sends `drip` again and again, a little at a time, and measures how long that is suffered. */
static int64_t drip(struct stage *stage, const char *begin, const char *drop)
{
    struct client client;
    client_open(&client, stage->port);
    int64_t before_ms = clock_monotonic_ms();
    client_say(&client, begin);
    while (clock_monotonic_ms() - before_ms < PATIENCE_MS) {
        struct pollfd ended = {.fd = client.fd, .events = POLLIN};
        if (poll(&ended, 1, 100) > 0 || !client_say(&client, drop))
            break;
    }
    client_close(&client);
    return clock_monotonic_ms() - before_ms;
}

static void test_slow_senders(void **state)
{
    struct stage *stage = *state;
    const struct {
        const char *name, *begin, *drop;
    } cases[] = {
        {"a request line", "G", "E"},
        {"a header", "GET /healthz HTTP/1.1\r\n" HOST, "X: y\r\n"},
        {"a body", "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 60000\r\n\r\n", " "},
        {"a chunked body", "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
        {"empty lines", "\r\n", "\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t took_ms = drip(stage, cases[i].begin, cases[i].drop);
        if (took_ms > TIMEOUT_MS + SLACK_MS)
            fail_msg("%s, a piece at a time, was read for %lld ms", cases[i].name, (long long)took_ms);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* A second request on a connection has all its time again. */
static void test_time_is_per_request(void **state)
{
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    for (int i = 0; i < 4; i++) {
        client_say(&client, "GET /healthz HTTP/1.1\r\n");
        poll(NULL, 0, TIMEOUT_MS / 2);
        client_say(&client, HOST "\r\n");
        assert_int_equal(client_answer(&client, false).status, 200);
    }
    client_close(&client);
}

/* The lanes' time is not the client's. */
static void test_long_wait(void **state)
{
    struct stage *stage = *state;
    char target[64];
    snprintf(target, sizeof target, "/payments/1?wait=%dms", TIMEOUT_MS + TIMEOUT_MS / 2);
    assert_int_equal(get(stage->port, target).status, 200);
}

static size_t open_files(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Reads steadily, but so slowly that 16 MiB take 20 s. The listener, in this process, closes its end in time. */
static void test_slow_reader(void **state)
{
    struct stage *stage = *state;
    struct client client;
    int small = 64 * 1024;
    char bytes[16 * 1024];
    size_t before = open_files();
    client_open(&client, stage->port);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_say(&client, "GET /large HTTP/1.1\r\n" HOST "\r\n");
    assert_true(recv(client.fd, bytes, sizeof bytes, 0) > 0);
    assert_int_equal(open_files(), before + 2);
    int64_t before_ms = clock_monotonic_ms();
    while (open_files() == before + 2 && clock_monotonic_ms() - before_ms < PATIENCE_MS) {
        poll(NULL, 0, 20);
        assert_true(recv(client.fd, bytes, sizeof bytes, 0) > 0);
    }
    assert_true(clock_monotonic_ms() - before_ms < TIMEOUT_MS + SLACK_MS);
    client_close(&client);

    client_open(&client, stage->port); /* one that reads gets all of it */
    client_say(&client, "GET /large HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    size_t got = 0;
    for (; client_more(&client); client.length = 0)
        got += client.length;
    assert_true(got > LARGE);
    client_close(&client);
}

/* More silent connections than the listener has room for: the first ones are ended, and the others are served. */
static void test_idle_connections(void **state)
{
    enum { IDLE = 1300 };
    struct stage *stage = *state;
    int fds[IDLE];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (size_t i = 0; i < IDLE; i++)
        assert_true((fds[i] = client_connect(stage->port)) >= 0);
    int64_t before_ms = clock_monotonic_ms();
    assert_int_equal(get(stage->port, "/healthz").status, 200);
    assert_true(clock_monotonic_ms() - before_ms < SLACK_MS);
    char byte;
    assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
    for (size_t i = 0; i < IDLE; i++)
        close(fds[i]);
}

static void test_half_requests(void **state)
{
    struct stage *stage = *state;
    const char *halves[] = {"",
                            "G",
                            "GET /healthz HTTP/1.1\r\n",
                            "GET /healthz HTTP/1.1\r\n" HOST "\r",
                            "POST /payments HTTP/1.1\r\n" HOST JSON "Content-Length: 100\r\n\r\n{",
                            "POST /payments HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n5\r\n{"};
    struct linger reset = {1, 0};
    for (size_t i = 0; i < 2 * sizeof halves / sizeof halves[0]; i++) {
        struct client client;
        client_open(&client, stage->port);
        client_say(&client, halves[i / 2]);
        if (i % 2 == 1)
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        client_close(&client);
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

static void test_pipelined(void **state)
{
    enum { MANY = 500 };
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    for (int i = 0; i < MANY; i++)
        assert_true(client_say(&client, "GET /payments/1 HTTP/1.1\r\n" HOST "\r\n"));
    for (int i = 0; i < MANY; i++) {
        struct answer answer = client_answer(&client, false);
        if (answer.status != 200)
            fail_msg("pipelined request %d got %d", i, answer.status);
    }
    client_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_header_sizes, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_key_sizes, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_body_sizes, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_refused_bodies_are_forgotten, setup, stage_teardown),
        cmocka_unit_test(test_bodies_together),
        cmocka_unit_test_setup_teardown(test_endless_body, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_endless_header, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_many_bodies, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_slow_senders, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_time_is_per_request, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_long_wait, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_idle_connections, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_half_requests, setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_pipelined, setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
