/*
 * test_site.c - from which site a browser asks: names that lead to this machine by somebody else's doing, and pages of
 * other sites, get nothing of what operators see and move.
 */
#include "fake_engine.h"

#include "http/site.h"

static const char token[] = "c29tZS10b2tlbg==";

static void stage_open(struct stage *stage, const char *host)
{
    struct error error = {0};
    stage->engine = fake_start(10000);
    stage->engine->pipeline.http.host = host;
    stage->engine->pipeline.http.token = token;
    if (start_listening(stage->engine, &stage->http, &stage->port, &error) != 0)
        fail_msg("%s", error.text);
}

static void test_hosts(void **state)
{
    static const struct {
        const char *host;
        bool ours;
    } table[] = {
        {"localhost", true},
        {"LocalHost:8080", true},
        {"127.0.0.1", true},
        {"127.0.0.1:1", true},
        {"[::1]", true},
        {"[::1]:65535", true},
        {"ops.example:9000", true},
        {"OPS.example", true},
        {"", false},
        {":8080", false},
        {"evil.example", false},
        {"evil.example:8080", false},
        {"localhost.evil", false},
        {"127.0.0.1.evil", false},
        {"localhost:8080@evil", false},
        {"localhost:80:evil", false},
        {"127.0.0.1:evil", false},
        {"[::1].evil", false},
        {"::1", false},
        {"localhost.", false},
        {"localhost, evil", false},
        {"0.0.0.0", false},
        {"ops.example.evil:1", false},
        {"[localhost]", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (site_is_loopback(span_of(table[i].host), "ops.example") != table[i].ours)
            fail_msg("'%s' must %sbe ours", table[i].host, table[i].ours ? "" : "not ");
    assert_true(site_is_loopback(SPAN("[0:0::1]:80"), "0:0::1"));
}

static void test_origins(void **state)
{
    static const struct {
        const char *origin, *host;
        bool same;
    } table[] = {
        {"http://localhost:80", "localhost:80", true},
        {"https://Ops.example", "ops.example", true},
        {"http://localhost", "localhost:8080", false},
        {"http://localhost:8081", "localhost:8080", false},
        {"http://127.0.0.1:8080", "localhost:8080", false},
        {"http://evil.example", "localhost", false},
        {"http://localhost.evil", "localhost", false},
        {"null", "null", false},
        {"", "localhost", false},
        {"localhost", "localhost", false},
        {"http://", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (site_is_same(span_of(table[i].origin), span_of(table[i].host)) != table[i].same)
            fail_msg("'%s' at '%s' must %sbe the same", table[i].origin, table[i].host, table[i].same ? "" : "not ");
}

/* Every path of operators by every way of asking; the health paths and the pipeline's own requests are for all. */
static const struct {
    const char *line;
    int served;
    bool open; /* from whatever site */
} lines[] = {
    {"GET /healthz", 200, true},
    {"GET /readyz", 200, true},
    {"GET /payments/7", 200, true},
    {"GET /nothing", 404, true},
    {"HEAD /ui", 200, false},
    {"GET /metrics", 200, false},
    {"GET /pipeline", 200, false},
    {"GET /chains", 501, false},
    {"GET /chains/purchase/1", 501, false},
    {"DELETE /pauses?all=true", 501, false},
    {"DELETE /chains", 405, false},
};

static void check_fields(int port, const char *fields, int refused)
{
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s HTTP/1.1\r\nAuthorization: Bearer %s\r\n%s\r\n", lines[i].line, token, fields);
        struct answer answer = ask(port, text);
        int wanted = refused != 0 && !lines[i].open ? refused : lines[i].served;
        if (answer.status != wanted)
            fail_msg("%s, %s: wanted %d, got %d %s", lines[i].line, fields, wanted, answer.status, answer.body);
    }
}

static void test_from_other_sites(void **state)
{
    static const struct {
        const char *fields;
        int loopback, elsewhere; /* the refusal; 0: none */
    } table[] = {
        {"Host: 127.0.0.1:8080\r\n", 0, 0},
        {"Host: localhost\r\nOrigin: http://localhost\r\n", 0, 0},
        {"Host: [::1]:9\r\nOrigin: https://[::1]:9\r\n", 0, 0},
        {"Host: 127.0.0.1\r\nOrigin: http://evil.example\r\n", 403, 403},
        {"Host: 127.0.0.1\r\nOrigin: null\r\n", 403, 403},
        {"Host: localhost:1\r\nOrigin: http://localhost:2\r\n", 403, 403},
        {"Host: evil.example\r\n", 421, 0},
        {"Host: evil.example\r\nOrigin: http://evil.example\r\n", 421, 0},
        {"Host: \r\n", 421, 0},
    };
    (void)state;
    for (size_t place = 0; place < 2; place++) {
        struct stage stage;
        stage_open(&stage, place == 0 ? "127.0.0.1" : "0.0.0.0");
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
            check_fields(stage.port, table[i].fields, place == 0 ? table[i].loopback : table[i].elsewhere);
        stage_stop(&stage);
    }
}

/* What a browser must be told, of the page and of everything else. */
static void test_headers(void **state)
{
    struct stage stage;
    (void)state;
    stage_open(&stage, "127.0.0.1");
    struct answer page = ask(stage.port, "HEAD /ui HTTP/1.1\r\nHost: localhost\r\n\r\n");
    static const char *const told[] = {
        "Content-Type: text/html; charset=utf-8\r\n",
        "X-Content-Type-Options: nosniff\r\n",
        "Cache-Control: no-store\r\n",
        "Referrer-Policy: no-referrer\r\n",
        "Content-Security-Policy: default-src 'none';",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self';",
        "base-uri 'none';",
        "form-action 'none';",
        "frame-ancestors 'none';",
        "Cross-Origin-Resource-Policy: same-origin\r\n",
    };
    assert_int_equal(page.status, 200);
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        assert_has(page.head, told[i]);
    assert_null(strstr(page.head, "unsafe"));
    struct answer data = ask(stage.port, "GET /pipeline HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_has(data.head, "X-Content-Type-Options: nosniff\r\n");
    assert_has(data.head, "Cross-Origin-Resource-Policy: same-origin\r\n");
    assert_null(strstr(data.head, "Access-Control-"));
    stage_stop(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_from_other_sites),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
