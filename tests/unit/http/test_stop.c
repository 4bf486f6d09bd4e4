/*
 * test_stop.c - how the listener begins and ends: nobody who waits is forgotten, and nothing of it is touched
 * afterwards.
 *
 * Worth most under AddressSanitizer and ThreadSanitizer.
 */
#include "fake_engine.h"

#include <stdatomic.h>

static void test_refused_to_start(void **state)
{
    (void)state;
    struct stage stage;
    struct error error = {0};
    struct http *second = NULL;
    int port = 0;
    stage_start(&stage, 10000);
    struct engine *engine = fake_start(10000);

    engine->pipeline.http.port = stage.port;
    assert_int_equal(start_listening(engine, &second, &port, &error), -EADDRINUSE);
    assert_has(error.text, "http.listen: 127.0.0.1:");
    assert_has(error.text, "cannot be listened on");
    assert_has(error.hint, "another process has this port");

    engine->pipeline.http.port = 0;
    engine->pipeline.http.host = "192.0.2.1"; /* an address for documentation: nobody's */
    assert_int_equal(start_listening(engine, &second, &port, &error), -EADDRNOTAVAIL);
    assert_has(error.text, "192.0.2.1:0");

    engine->pipeline.http.host = "no such host";
    assert_int_equal(start_listening(engine, &second, &port, &error), -EADDRNOTAVAIL);
    assert_has(error.text, "the host 'no such host' is not known");
    assert_null(second);
    assert_int_equal(port, 0);

    engine->pipeline.http.host = "::1"; /* where there is IPv6 */
    if (start_listening(engine, &second, &port, &error) == 0)
        http_stop(second);
    http_stop(NULL);
    fake_stop(engine);
    stage_stop(&stage);
}

/* The order of the command: quiesce, drain, stop. */
static void test_quiesce(void **state)
{
    (void)state;
    struct stage stage;
    struct client waiting, idle;
    stage_start(&stage, 10000);
    client_open(&waiting, stage.port);
    client_open(&idle, stage.port);
    client_say(&idle, "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(&idle, false).status, 200);
    client_say(&waiting, "GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    wait_held(&stage, 1);

    http_quiesce(stage.http, true);
    http_quiesce(stage.http, true); /* twice is fine */
    assert_int_equal(client_connect(stage.port), -1);
    client_say(&idle, "GET /readyz HTTP/1.1\r\nHost: t\r\n\r\n");
    struct answer answer = client_answer(&idle, false);
    assert_int_equal(answer.status, 503);
    assert_has(answer.body, "the engine is stopping");
    assert_true(client_ended(&idle));
    client_close(&idle);

    fake_release(stage.engine, true);
    answer = client_answer(&waiting, false);
    assert_int_equal(answer.status, 200);
    assert_has(answer.head, "Connection: close\r\n");
    assert_true(client_ended(&waiting));
    client_close(&waiting);
    http_stop(stage.http);
    fake_stop(stage.engine);
}

/* What the lanes did not finish is answered 503, and the lane's answer, when it comes after all, finds nobody. */
static void test_stop_while_waiting(void **state)
{
    enum { MANY = 50 };
    (void)state;
    struct stage stage;
    static struct client clients[MANY];
    stage_start(&stage, 10000);
    for (size_t i = 0; i < MANY; i++) {
        client_open(&clients[i], stage.port);
        client_say(&clients[i],
                   "POST /hold HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    }
    wait_held(&stage, MANY);
    int64_t before_ms = clock_monotonic_ms();
    http_stop(stage.http);
    assert_true(clock_monotonic_ms() - before_ms < 6000);
    assert_int_equal(client_connect(stage.port), -1);
    for (size_t i = 0; i < MANY; i++) {
        struct answer answer = client_answer(&clients[i], false);
        assert_int_equal(answer.status, 503);
        assert_has(answer.body, "{\"error\":\"stopping\",");
        assert_true(client_ended(&clients[i]));
        client_close(&clients[i]);
    }
    assert_int_equal(fake_held(stage.engine), MANY);
    fake_release(stage.engine, true); /* their done() */
    wait_held(&stage, 0);
    fake_stop(stage.engine);
}

/* Clients that are in the middle of something hold the end up for 2 s at most. */
static void test_stop_in_the_middle(void **state)
{
    (void)state;
    struct stage stage;
    struct client half, body, reader;
    int small = 4096;
    stage_start(&stage, 10000);
    client_open(&half, stage.port);
    client_open(&body, stage.port);
    client_open(&reader, stage.port);
    setsockopt(reader.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_say(&half, "GET /healthz HTTP/1.1\r\nHo");
    client_say(&body,
               "POST /payments HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{");
    client_say(&reader, "GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(client_more(&reader));
    int64_t before_ms = clock_monotonic_ms();
    http_stop(stage.http);
    assert_true(clock_monotonic_ms() - before_ms < 6000);
    client_close(&half);
    client_close(&body);
    client_close(&reader);
    fake_stop(stage.engine);
}

static void *stop_run(void *context)
{
    http_stop(context);
    return NULL;
}

/* An answer that is being read when the end comes is read to its last byte. */
static void test_stop_while_reading(void **state)
{
    (void)state;
    struct stage stage;
    struct client client;
    pthread_t thread;
    stage_start(&stage, 10000);
    client_open(&client, stage.port);
    client_say(&client, "GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(client_more(&client));
    size_t got = client.length;
    client.length = 0;
    assert_int_equal(pthread_create(&thread, NULL, stop_run, stage.http), 0);
    poll(NULL, 0, 200); /* for the other thread to come as far as it can */
    for (; client_more(&client); client.length = 0)
        got += client.length;
    pthread_join(thread, NULL);
    assert_true(got > LARGE);
    client_close(&client);
    fake_stop(stage.engine);
}

struct storm {
    int port;
    atomic_bool stop;
    atomic_size_t answered, refused;
};

static void *storm_run(void *context)
{
    static const char *const requests[] = {
        "GET /payments/1 HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /inline HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /payments/1?wait=3ms HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /busy HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /hold HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST /payments HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"};
    struct storm *storm = context;
    struct client client;
    for (size_t i = 0; !atomic_load(&storm->stop); i++) {
        memset(&client, 0, sizeof client);
        client.fd = client_connect(storm->port);
        if (client.fd < 0)
            break;
        for (size_t j = 0; j < 5 && !client.ended; j++) {
            client_say(&client, requests[(i + j) % (sizeof requests / sizeof requests[0])]);
            if ((i + j) % 11 == 0)
                break; /* leaves without its answer */
            atomic_fetch_add(client_answer(&client, false).status == 0 ? &storm->refused : &storm->answered, 1);
        }
        client_close(&client);
    }
    return NULL;
}

static bool storm_blew(void *context)
{
    return atomic_load(&((struct storm *)context)->answered) > 200;
}

/* The end comes while everything happens at once, again and again. */
static void test_stop_in_a_storm(void **state)
{
    enum { ROUNDS = 15, THREADS = 4 };
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct stage stage;
        pthread_t threads[THREADS];
        stage_start(&stage, 2000);
        fake_release(stage.engine, true); /* nothing is held for long, until the end */
        struct storm storm = {.port = stage.port};
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, storm_run, &storm), 0);
        assert_true(eventually(storm_blew, &storm));
        fake_release(stage.engine, false);
        if (round % 2 == 0)
            http_quiesce(stage.http, true);
        http_stop(stage.http);
        atomic_store(&storm.stop, true);
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        fake_stop(stage.engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_to_start),   cmocka_unit_test(test_quiesce),
        cmocka_unit_test(test_stop_while_waiting), cmocka_unit_test(test_stop_in_the_middle),
        cmocka_unit_test(test_stop_while_reading), cmocka_unit_test(test_stop_in_a_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
