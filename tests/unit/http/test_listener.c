/*
 * test_listener.c - what clients are promised, over real sockets, with a fake engine behind.
 */
#include "fake_engine.h"

static void test_health(void **state)
{
    struct stage *stage = *state;
    struct answer answer = get(stage->port, "/healthz");
    assert_int_equal(answer.status, 200);
    assert_has(answer.head, "Content-Type: application/json\r\n");
    assert_string_equal(answer.body, "{\"status\":\"ok\"}\n");
    assert_int_equal(get(stage->port, "/readyz").status, 200);

    fake_why(stage->engine, "the database is away\nlane 3 does not move \"since\" 30 s\n");
    answer = get(stage->port, "/readyz");
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer.body,
                        "{\"error\":\"not_ready\",\"message\":\"The engine takes no work now.\","
                        "\"reasons\":[\"the database is away\",\"lane 3 does not move \\\"since\\\" 30 s\"]}\n");
    answer = get(stage->port, "/healthz?verbose=1");
    assert_int_equal(answer.status, 503);
    assert_has(answer.body, "\"error\":\"unhealthy\"");
    fake_why(stage->engine, NULL);
}

static void test_head_and_methods(void **state)
{
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    client_say(&client,
               "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD /payments/7 HTTP/1.1\r\nHost: localhost\r\n\r\n"
               "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer answer = client_answer(&client, true);
    assert_int_equal(answer.status, 200);
    assert_has(answer.head, "Content-Length: 16\r\n");
    assert_int_equal(client_answer(&client, true).status, 200);
    answer = client_answer(&client, false); /* nothing of a body stood between */
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "{\"status\":\"ok\"}\n");
    client_close(&client);

    answer = ask(stage->port, "DELETE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(answer.status, 405);
    assert_has(answer.head, "Allow: GET, HEAD, OPTIONS\r\n");
    answer = ask(stage->port, "PATCH /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(answer.status, 405);
    assert_has(answer.head, "Allow: POST, GET, HEAD, OPTIONS\r\n");
    assert_has(answer.body, "{\"error\":\"method_not_allowed\",\"message\":");
    answer = ask(stage->port, "OPTIONS /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(answer.status, 204);
    assert_has(answer.head, "Allow: POST, GET, HEAD, OPTIONS\r\n");
    assert_string_equal(answer.body, "");
    answer = ask(stage->port, "OPTIONS /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(answer.status, 204);
    assert_has(answer.head, "Allow: GET, HEAD, OPTIONS\r\n");
    assert_int_equal(ask(stage->port, "OPTIONS /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 404);
    assert_int_equal(ask(stage->port, "get /hold HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
    assert_int_equal(ask(stage->port, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 400);
}

static void test_unknown(void **state)
{
    struct stage *stage = *state;
    const char *targets[] = {"/",          "/nothing",  "/payments/", "/payments//", "/payments/1/2",
                             "//payments", "/healthz/", "/PAYMENTS/1"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct answer answer = get(stage->port, targets[i]);
        if (answer.status != 404)
            fail_msg("%s: wanted 404, got %d", targets[i], answer.status);
        assert_has(answer.head, "Content-Type: application/json\r\n");
        assert_has(answer.body, "{\"error\":\"not_found\",\"message\":");
    }
    assert_int_equal(counted(stage, "other", "404"), 8);
}

static void test_post(void **state)
{
    struct stage *stage = *state;
    struct answer answer = ask(stage->port,
                               "POST /payments?source=web%20shop&a=b+c HTTP/1.1\r\nHost: localhost\r\n"
                               "content-type: Application/JSON; charset=utf-8\r\n"
                               "Idempotency-Key:  order 7 \r\nContent-Length: 15\r\n"
                               "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
                               "{\"userId\":\"u1\"}");
    assert_int_equal(answer.status, 202);
    assert_has(answer.head, "Content-Type: application/json\r\n");
    assert_string_equal(answer.body,
                        "{\"route\":0,\"wait\":0,\"body\":\"{\\\"userId\\\":\\\"u1\\\"}\",\"key\":\"order 7\","
                        "\"trace\":\"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\","
                        "\"params\":{\"source\":\"web shop\",\"a\":\"b c\"}}");
    /* chunked, and with nothing optional */
    answer = ask(stage->port, "POST /payments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n");
    assert_int_equal(answer.status, 202);
    assert_string_equal(
        answer.body, "{\"route\":0,\"wait\":0,\"body\":\"{\\\"a\\\":1}\",\"key\":null,\"trace\":null,\"params\":{}}");
    /* a body is not needed, and then neither is its type */
    answer = ask(stage->port, "POST /payments HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(answer.status, 202);
    assert_has(answer.body, "\"body\":null");
    assert_int_equal(counted(stage, "POST /payments", "202"), 3);
}

static void test_params(void **state)
{
    struct stage *stage = *state;
    struct answer answer = get(stage->port, "/payments/%61%2Fb%C3%A9?x=%25");
    assert_int_equal(answer.status, 200);
    assert_has(answer.body, "\"params\":{\"paymentTxId\":\"a/b\xc3\xa9\",\"x\":\"%\"}");
    assert_has(get(stage->port, "/payments/new").body, "\"route\":2,");
    assert_has(get(stage->port, "/payments/news").body, "\"route\":1,");
    assert_int_equal(get(stage->port, "/payments/1?paymentTxId=2").status, 400);
    assert_int_equal(get(stage->port, "/payments/1?a=1&a=2").status, 400);
}

static void test_wait(void **state)
{
    struct stage *stage = *state;
    const char *bad[] = {"31s", "-1s", "abc", "10", "", "1h", "1s&wait=1s"};
    char target[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(target, sizeof target, "/payments/1?wait=%s", bad[i]);
        struct answer answer = get(stage->port, target);
        if (answer.status != 400)
            fail_msg("%s: wanted 400, got %d", target, answer.status);
    }
    int64_t before_ms = clock_monotonic_ms();
    struct answer answer = get(stage->port, "/payments/1?wait=300ms");
    assert_int_equal(answer.status, 200);
    assert_has(answer.body, "\"wait\":300,");
    assert_true(clock_monotonic_ms() - before_ms >= 295);
}

/* A request that waits holds neither the listener nor its own connection's next request up for longer than itself. */
static void test_suspended(void **state)
{
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    client_say(
        &client,
        "GET /payments/1?wait=30s HTTP/1.1\r\nHost: localhost\r\n\r\nGET /status/404 HTTP/1.1\r\nHost: "
        "localhost\r\n\r\n"
        "POST /payments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_held(stage, 1);
    assert_int_equal(get(stage->port, "/healthz").status, 200);
    assert_int_equal(get(stage->port, "/payments/2").status, 200);
    assert_int_equal(client.length, 0);
    fake_release(stage->engine, true);
    assert_has(client_answer(&client, false).body, "\"wait\":30000,");
    assert_int_equal(client_answer(&client, false).status, 404);
    assert_int_equal(client_answer(&client, false).status, 202);
    assert_int_equal(client_answer(&client, false).status, 200);
    client_close(&client);
    fake_release(stage->engine, false);
}

static void test_gateway_refuses(void **state)
{
    struct stage *stage = *state;
    struct client client;
    client_open(&client, stage->port);
    client_say(&client,
               "GET /busy HTTP/1.1\r\nHost: localhost\r\n\r\nGET /gone HTTP/1.1\r\nHost: localhost\r\n\r\nGET /inline "
               "HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer answer = client_answer(&client, false);
    assert_int_equal(answer.status, 503);
    assert_has(answer.head, "Retry-After: 1\r\n");
    assert_has(answer.body, "{\"error\":\"busy\",\"message\":");
    answer = client_answer(&client, false);
    assert_int_equal(answer.status, 503);
    assert_has(answer.body, "{\"error\":\"unavailable\",\"message\":");
    answer = client_answer(&client, false); /* answered before gateway_submit() returned */
    assert_int_equal(answer.status, 200);
    assert_has(answer.body, "\"route\":7,");
    client_close(&client);
}

static void test_statuses(void **state)
{
    struct stage *stage = *state;
    struct answer answer = get(stage->port, "/status/204");
    assert_int_equal(answer.status, 204);
    assert_int_equal(get(stage->port, "/status/409").status, 409);
    assert_int_equal(get(stage->port, "/status/100").status, 500);
    assert_int_equal(get(stage->port, "/status/600").status, 500);
    answer = get(stage->port, "/status/503");
    assert_int_equal(answer.status, 503);
    assert_has(answer.head, "Retry-After: 1\r\n");
    assert_has(answer.body, "{\"error\":\"unavailable\",");
}

static void test_metrics_and_pipeline(void **state)
{
    struct stage *stage = *state;
    get(stage->port, "/payments/1");
    get(stage->port, "/healthz");
    struct answer answer = get(stage->port, "/metrics");
    assert_int_equal(answer.status, 200);
    assert_has(answer.head, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_has(answer.body, "sluice_requests_total{route=\"GET /payments/{paymentTxId}\",code=\"200\"} 1\n");
    assert_has(answer.body, "sluice_requests_total{route=\"/healthz\",code=\"200\"} 1\n");
    assert_has(answer.body, "sluice_request_seconds_count{route=\"GET /payments/{paymentTxId}\"} 1\n");
    answer = get(stage->port, "/pipeline");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body[0], '{');
}

static bool all_counted(void *context) /* once each: with an answer, or, where it was noticed before, without */
{
    return counted(context, "POST /hold", "200") + counted(context, "POST /hold", "499") == 1 &&
           counted(context, "GET /hold", "200") + counted(context, "GET /hold", "499") == 1;
}

static void test_client_gone(void **state)
{
    struct stage *stage = *state;
    struct linger reset = {1, 0};
    struct client quiet, rude;
    client_open(&quiet, stage->port);
    client_open(&rude, stage->port);
    client_say(
        &quiet,
        "POST /hold HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    client_say(&rude, "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wait_held(stage, 2);
    setsockopt(rude.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client_close(&rude);
    client_close(&quiet);
    fake_release(stage->engine, true);
    assert_true(eventually(all_counted, stage));
    assert_int_equal(get(stage->port, "/healthz").status, 200);
}

/* The lanes are full of requests that never end: what an operator asks is still answered. */
static void test_all_lanes_held(void **state)
{
    enum { MAX = 1000, EXTRA = 4 };
    struct stage *stage = *state;
    int fds[MAX];
    size_t count = 0;
    static const char request[] = "GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct pollfd refused = {.events = POLLIN};
    do {
        assert_true(count < MAX);
        refused.fd = fds[count++] = client_connect(stage->port);
        assert_int_equal(send(refused.fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
        while (poll(&refused, 1, 1) == 0 && fake_held(stage->engine) < count)
            ;
    } while (fake_held(stage->engine) == count);
    assert_true(count > 200);
    for (size_t i = 0; i < EXTRA; i++) {
        struct answer answer = get(stage->port, "/hold");
        assert_int_equal(answer.status, 503);
        assert_has(answer.head, "Retry-After: 1\r\n");
    }
    assert_int_equal(get(stage->port, "/healthz").status, 200);
    while (count > 0)
        close(fds[--count]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_health, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_head_and_methods, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_unknown, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_post, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_params, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_wait, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_suspended, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_gateway_refuses, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_statuses, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_metrics_and_pipeline, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_client_gone, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_all_lanes_held, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
