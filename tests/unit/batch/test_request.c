/*
 * test_request.c - a request as an event, and its answer: after COMMIT, once.
 */
#include "lane_test.h"

#include "base/clock.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "defaults: {retry: {max_retries: 1, backoff: {initial_interval: 100ms, jitter: 0}}}\n"
                           "topics:\n"
                           "  seat.asked: {final: true}\n"
                           "http:\n"
                           "  listen: '127.0.0.1:0'\n"
                           "  timeout: 2s\n"
                           "  requests:\n"
                           "    'POST /seats/{seat}': {handler: work.ask, routes: {done: seat.asked}}\n"
                           "    'POST /stored': {handler: work.ask_stored, routes: {done: seat.asked}}\n";

/* What the handler saw of the last call, and what it does. */
static char seen[512];
static const char *wanted;
static const struct sluice_sql statement = {"select"};
static void answer(struct lane_test *test, struct sluice_call *call)
{
    (void)test;
    for (uint32_t i = 0; i < call->count; i++) {
        const struct sluice_text data = call->events[i].data;
        snprintf(seen, sizeof seen, "%.*s", (int)data.length, data.at);
        if (strcmp(wanted, "unavailable after a statement") == 0)
            call->host->query(call, &statement, 0, NULL);
        if (strcmp(wanted, "retry") == 0)
            call->host->retry(call, i, "locked");
        else if (strcmp(wanted, "reject") == 0)
            call->host->reject(call, i, "no \"such\" seat");
        else if (strncmp(wanted, "unavailable", 11) == 0)
            call->host->unavailable(call, "the target is down");
        else if (strcmp(wanted, "status 99") == 0)
            call->host->reply(call, i, 99, (struct sluice_text){"{}", 2}, 0);
        else if (strcmp(wanted, "nothing") != 0)
            call->host->reply(call, i, strncmp(wanted, "pending", 7) == 0 ? 202 : 200,
                              (struct sluice_text){"{\"ok\":1}", 8},
                              strncmp(wanted, "pending", 7) == 0 ? SLUICE_REPLY_PENDING : 0);
        if (strcmp(wanted, "emit") == 0)
            call->host->outcome(call, i, 0);
    }
}

static struct lane_test *gateway(const char *what)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    lane_test_of_gateway(test);
    test->handle = answer;
    wanted = what;
    seen[0] = '\0';
    return test;
}

static void body_path_and_query(void **state)
{
    static const struct gateway_param params[][2] = {
        {{SPAN("seat"), SPAN("7")}, {SPAN("name"), SPAN("7")}},
        {{SPAN("seat"), SPAN("-0")}, {SPAN("q"), SPAN("a\"b\n")}},
        {{SPAN("seat"), SPAN("9223372036854775807")}, {SPAN("n\"m"), SPAN("")}},
        {{SPAN("seat"), SPAN("07")}, {SPAN("q"), SPAN("")}},
        {{SPAN("seat"), SPAN("1e3")}, {SPAN("q"), SPAN("")}},
        {{SPAN("seat"), SPAN("7")}, {SPAN("x"), SPAN("")}},
        {{SPAN("seat"), SPAN("7")}, {SPAN("seat"), SPAN("8")}},
        {{SPAN("seat"), SPAN("7")}, {SPAN("q"), SPAN("\xff")}},
        {{SPAN("seat"), SPAN("7")}, {SPAN("q"), SPAN("a\0b")}},
    };
    static const struct {
        const char *body;
        size_t params; /* index above */
        int status;
        const char *data; /* what the handler saw, or what the refusal says */
    } rows[] = {
        {"{ \"x\" : [1, {}] }", 0, 200, "{\"x\":[1, {}],\"seat\":7,\"name\":\"7\"}"},
        {"", 0, 200, "{\"seat\":7,\"name\":\"7\"}"},
        {"{}", 1, 200, "{\"seat\":-0,\"q\":\"a\\\"b\\n\"}"},
        {"{\"a\\u0062\":\"\\n\"}", 2, 200, "{\"a\\u0062\":\"\\n\",\"seat\":9223372036854775807,\"n\\\"m\":\"\"}"},
        {"{}", 3, 400, "bad_field"},
        {"{}", 4, 400, "bad_field"},
        {"{\"x\":1}", 5, 400, "'x' is given twice"},
        {"{\"\\u0078\":1}", 5, 400, "'x' is given twice"},
        {"{}", 6, 400, "'seat' is given twice"},
        {"{}", 7, 400, "a parameter is no UTF-8 text"},
        {"{}", 8, 400, "a parameter is no UTF-8 text"},
        {"[1]", 0, 400, "the body is no JSON object"},
        {"{\"a\":1,\"a\":2}", 0, 400, "the body is no JSON object"},
        {"{\"name\":5}", 1, 400, "bad_field"},
    };
    (void)state;
    struct lane_test *test = gateway("answer");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test_request request = {
            .request.body = span_of(rows[i].body), .request.params = params[rows[i].params], .request.param_count = 2};
        seen[0] = '\0';
        lane_test_ask(test, &request);
        assert_int_equal(lane_test_run_all(test), 1);
        assert_int_equal(request.answers, 1);
        if (request.status != rows[i].status)
            fail_msg("row %zu: %d %s", i, request.status, request.json);
        if (rows[i].status == 200)
            assert_string_equal(seen, rows[i].data);
        else if (strstr(request.json, rows[i].data) == NULL || seen[0] != '\0')
            fail_msg("row %zu: %s", i, request.json);
    }
    assert_int_equal(atomic_load(&test->waiting), 0);
    assert_int_equal(test->bus.count, 0); /* a request has no dead letter */
    assert_int_equal(test->store->tables.claim_count, 0);
    lane_test_destroy(test);
}

static void answered_after_commit(void **state)
{
    struct lane_test *test = gateway("emit");
    struct lane_test_request request = {0};
    (void)state;
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_ask(test, &request);
    lane_test_run(test);
    assert_int_equal(request.answers, 0);
    lane_test_wait(test);
    lane_test_run(test);
    assert_int_equal(request.status, 200);
    assert_string_equal(request.json, "{\"ok\":1}");
    assert_int_equal(request.answers, 1);
    assert_string_equal(fake_store_calls(test->store),
                        "begin outbox_add commit rollback begin outbox_add commit"); /* claimed it is not */
    assert_int_equal(test->bus.count, 1);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* Under an Idempotency-Key: claimed, its answer kept, and given again instead of handling it again. */
static void an_idempotency_key(void **state)
{
    struct lane_test *test = gateway("emit");
    struct lane_test_request requests[5] = {0};
    (void)state;
    for (int i = 0; i < 5; i++) {
        requests[i].request.idempotency_key = SPAN("key 1");
        requests[i].request.body = i == 2 ? SPAN("{\"name\":\"other\"}") : SPAN("{\"name\":\"same\"}");
    }
    lane_test_ask(test, &requests[0]);
    lane_test_ask(test, &requests[1]); /* its twin in the batch waits for it */
    assert_int_equal(lane_test_run_all(test), 2);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 replies_save:1 outbox_add commit "
                                                       "begin claim:1 reply_get outbox_done:1 commit");
    lane_test_ask(test, &requests[2]);
    lane_test_run_all(test);
    test->store->tables.reply_count = 0; /* pruned */
    lane_test_ask(test, &requests[3]);
    lane_test_run_all(test);
    assert_int_equal(requests[0].status, 200);
    assert_int_equal(requests[1].status, 200);
    assert_string_equal(requests[1].json, "{\"ok\":1}");
    assert_int_equal(requests[2].status, 422);
    assert_non_null(strstr(requests[2].json, "idempotency_key_reused"));
    assert_int_equal(requests[3].status, 409);
    assert_non_null(strstr(requests[3].json, "is not kept any more"));
    assert_int_equal(test->bus.count, 1);
    requests[4].request.idempotency_key = SPAN("key 2");
    lane_test_ask(test, &requests[4]);
    lane_test_run_all(test);
    assert_int_equal(test->bus.count, 2);
    assert_int_equal(test->store->tables.claim_count, 2);
    lane_test_destroy(test);
}

/* A refusal is not kept: the same key may ask again. */
static void a_refusal_under_a_key(void **state)
{
    struct lane_test *test = gateway("reject");
    struct lane_test_request requests[2] = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        requests[i].request.idempotency_key = SPAN("key 1");
        lane_test_ask(test, &requests[i]);
        lane_test_run_all(test);
        wanted = "answer";
    }
    assert_string_equal(fake_store_calls(test->store),
                        "begin claim:1 unclaim:1 commit begin claim:1 replies_save:1 commit");
    assert_int_equal(requests[0].status, 422);
    assert_string_equal(requests[0].json, "{\"error\":\"rejected\",\"message\":\"no \\\"such\\\" seat\"}");
    assert_int_equal(requests[1].status, 200);
    lane_test_destroy(test);
}

static void a_pending_answer(void **state)
{
    struct lane_test *test = gateway("pending");
    struct lane_test_request request = {.request.wait_ms = 1000};
    (void)state;
    lane_test_ask(test, &request);
    for (int64_t i = 0; i < 4; i++) { /* asked again after pauses that grow */
        assert_int_equal(lane_test_run(test), 1);
        assert_int_equal(request.answers, 0);
        assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 10 + 5 * i);
        lane_test_wait(test);
    }
    wanted = "answer";
    lane_test_run(test);
    assert_int_equal(request.status, 200);
    assert_int_equal(request.answers, 1);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* Under an Idempotency-Key, an answer that is pending is not the final one: it is not kept. */
static void a_pending_answer_under_a_key(void **state)
{
    struct lane_test *test = gateway("pending");
    struct lane_test_request requests[4] = {0};
    (void)state;
    for (int i = 0; i < 4; i++)
        requests[i].request.idempotency_key = SPAN("key 1");
    requests[1].request.wait_ms = 1000;
    lane_test_ask(test, &requests[0]); /* does not wait */
    lane_test_run_all(test);
    assert_int_equal(requests[0].status, 202);
    assert_int_equal(test->store->tables.reply_count, 0);
    lane_test_ask(test, &requests[1]); /* waits until it is final */
    lane_test_run(test);
    assert_int_equal(requests[1].answers, 0);
    wanted = "answer";
    lane_test_wait(test);
    lane_test_run(test);
    assert_int_equal(requests[1].status, 200);
    wanted = "reject"; /* from here on nobody asks the handler */
    lane_test_ask(test, &requests[2]);
    lane_test_run_all(test);
    assert_int_equal(requests[2].status, 200);
    assert_int_equal(test->store->tables.claim_count, 1);
    assert_int_equal(test->store->tables.reply_count, 1);
    requests[3].request.body = SPAN("{\"name\":\"other\"}");
    lane_test_ask(test, &requests[3]);
    lane_test_run_all(test);
    assert_int_equal(requests[3].status, 422);
    lane_test_destroy(test);
}

static void a_wait_that_is_over(void **state)
{
    struct lane_test *test = gateway("pending");
    struct lane_test_request requests[4] = {0};
    (void)state;
    for (int i = 1; i < 4; i++)
        requests[i].request.wait_ms = i == 3 ? 30000 : 25;
    lane_test_ask(test, &requests[0]); /* does not wait */
    lane_test_run_all(test);
    assert_int_equal(requests[0].answers, 1);
    lane_test_ask(test, &requests[1]);
    lane_test_run(test);
    lane_test_wait(test);
    lane_test_run(test);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 15); /* what is left */
    assert_int_equal(requests[1].answers, 0);
    lane_test_wait(test);
    lane_test_run(test);
    assert_int_equal(requests[1].answers, 1);
    lane_test_ask(test, &requests[3]);
    lane_test_run(test);
    assert_int_equal(requests[3].answers, 0);
    atomic_store(&requests[3].request.left, true); /* its client closed the connection */
    lane_test_wait(test);
    lane_test_run(test);
    assert_int_equal(requests[3].answers, 1);
    lane_test_ask(test, &requests[2]);
    atomic_store(&test->draining, true);
    lane_test_run(test);
    assert_int_equal(requests[2].answers, 1);
    lane_test_destroy(test);
}

/* Past http.timeout while the database is down: told so, once. */
static void too_late(void **state)
{
    struct lane_test *test = gateway("answer");
    struct lane_test_request requests[2] = {0};
    (void)state;
    fake_store_fail(test->store, "begin", 0, 100, STORE_DOWN, "the server is gone");
    lane_test_ask(test, &requests[0]);
    requests[1].request.arrived_ms = clock_monotonic_ms() + 1999;
    lane_test_ask(test, &requests[1]);
    lane_test_run(test);
    assert_int_equal(requests[0].answers, 0);
    fake_clock_advance(1940 - 1); /* and 60 ms of pause */
    lane_test_run(test);
    assert_int_equal(requests[0].answers, 0);
    lane_test_run(test);
    assert_int_equal(requests[0].status, 503);
    assert_non_null(strstr(requests[0].json, "the database did not answer in time; nothing was done: ask again"));
    assert_int_equal(requests[1].answers, 0);
    assert_string_equal(lane_test_ends(test), "0!");
    assert_int_equal(lane_waiting(test->env.lane), 1);
    assert_int_equal(atomic_load(&test->waiting), 1);
    lane_test_destroy(test);
}

/* What never gets an answer is told so at http.timeout, or when its client has waited long enough: 503 (which goes out
 * with Retry-After), tried once more right then. */
static void never_available(void **state)
{
    static const struct {
        const char *what;
        int64_t wait_ms, until_ms;
    } rows[] = {{"unavailable", 0, 2000},
                {"unavailable after a statement", 0, 2000},
                {"unavailable", 1000, 2000},
                {"unavailable", 5000, 5000},
                {"unavailable after a statement", 5000, 5000}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test *test = gateway(rows[i].what);
        struct lane_test_request request = {.request.wait_ms = rows[i].wait_ms, .request.route = 1};
        int64_t began_ms = clock_monotonic_ms();
        lane_test_ask(test, &request);
        for (int run = 0; request.answers == 0; run++) {
            assert_true(run < 100);
            lane_test_run(test);
            if (request.answers == 0)
                lane_test_wait(test);
        }
        if (clock_monotonic_ms() - began_ms != rows[i].until_ms)
            fail_msg("row %zu: %lld ms, %d %s", i, (long long)(clock_monotonic_ms() - began_ms), request.status,
                     request.json);
        assert_int_equal(request.status, 503);
        assert_non_null(strstr(request.json, "{\"error\":\"unavailable\",\"message\":\"what the request needs"));
        assert_int_equal(request.answers, 1);
        assert_int_equal(atomic_load(&test->waiting), 0);
        assert_int_equal(lane_waiting(test->env.lane), 0);
        lane_test_destroy(test);
    }
}

/* A retry whose delay goes past http.timeout is not waited for. */
static void a_retry_after_the_end(void **state)
{
    struct lane_test *test = gateway("retry");
    struct lane_test_request request = {.request.arrived_ms = clock_monotonic_ms() - 1950};
    (void)state;
    lane_test_ask(test, &request);
    lane_test_run(test);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 50);
    lane_test_destroy(test);
}

/* How a request ended is counted by whose fault it was; it has no dead letter. */
static void how_it_is_counted(void **state)
{
    static const struct {
        const char *what, *body;
        int status;
        int64_t refused, failed;
    } rows[] = {{"answer", "[1]", 400, 1, 0},
                {"reject", "{}", 422, 1, 0},
                {"nothing", "{}", 500, 0, 1},
                {"answer", "{}", 200, 0, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test *test = gateway(rows[i].what);
        struct lane_test_request request = {.request.body = span_of(rows[i].body)};
        const struct binding_run *run = &test->env.bindings[test->config->requests[0].binding->index];
        int64_t refused = series_value(run->refused), failed = series_value(run->failed),
                dead = series_value(run->dead);
        lane_test_ask(test, &request);
        lane_test_run_all(test);
        assert_int_equal(request.status, rows[i].status);
        assert_int_equal(series_value(run->refused) - refused, rows[i].refused);
        assert_int_equal(series_value(run->failed) - failed, rows[i].failed);
        assert_int_equal(series_value(run->dead), dead);
        lane_test_destroy(test);
    }
}

static void the_engine_stops(void **state)
{
    struct lane_test *test = gateway("answer");
    struct lane_test_request request = {0};
    struct lane_entry *taken[1];
    (void)state;
    lane_test_ask(test, &request);
    assert_int_equal(lane_take(test->env.lane, clock_monotonic_ms(), 1, taken), 1);
    lane_done(test->env.lane, taken[0]);
    struct item *item = (struct item *)taken[0];
    request_refuse(item);
    assert_int_equal(request.status, 503);
    assert_non_null(strstr(request.json, "this process is stopping; nothing was done: ask again"));
    assert_int_equal(atomic_load(&test->waiting), 0);
    items_free(&item, 1);
    lane_test_destroy(test);
}

static void what_a_handler_may_not_do(void **state)
{
    static const char *const faults[] = {"nothing", "status 99"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct lane_test *test = gateway(faults[i]);
        struct lane_test_request request = {.request.idempotency_key = SPAN("key 1")};
        lane_test_ask(test, &request);
        assert_int_equal(lane_test_run_all(test), 2);
        assert_int_equal(request.status, 500);
        assert_non_null(strstr(request.json, "plugin_fault"));
        assert_int_equal(test->store->tables.claim_count, 0);
        assert_string_equal(lane_test_ends(test), "0");
        lane_test_destroy(test);
    }
}

static void tried_again(void **state)
{
    struct lane_test *test = gateway("retry");
    struct lane_test_request request = {0};
    (void)state;
    lane_test_ask(test, &request);
    lane_test_run(test);
    assert_int_equal(request.answers, 0);
    assert_int_equal(lane_due(test->env.lane, clock_monotonic_ms()), clock_monotonic_ms() + 100);
    lane_test_wait(test);
    lane_test_run(test);
    assert_int_equal(request.status, 503);
    assert_string_equal(request.json, "{\"error\":\"retries_exhausted\",\"message\":\"locked; tried 2 times\"}");
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(body_path_and_query),       cmocka_unit_test(answered_after_commit),
        cmocka_unit_test(an_idempotency_key),        cmocka_unit_test(a_refusal_under_a_key),
        cmocka_unit_test(a_pending_answer),          cmocka_unit_test(a_pending_answer_under_a_key),
        cmocka_unit_test(a_wait_that_is_over),       cmocka_unit_test(too_late),
        cmocka_unit_test(never_available),           cmocka_unit_test(a_retry_after_the_end),
        cmocka_unit_test(how_it_is_counted),         cmocka_unit_test(the_engine_stops),
        cmocka_unit_test(what_a_handler_may_not_do), cmocka_unit_test(tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
