/*
 * test_token.c - who may ask what: every kind of path and method, on loopback and elsewhere, with the token, another
 * one, and none.
 */
#include "fake_engine.h"

static const char token[] = "c29tZS10b2tlbg==";

static void stage_open(struct stage *stage, const char *host, const char *with_token)
{
    struct error error = {0};
    stage->engine = fake_start(10000);
    stage->engine->pipeline.http.host = host;
    stage->engine->pipeline.http.token = with_token;
    if (start_listening(stage->engine, &stage->http, &stage->port, &error) != 0)
        fail_msg("%s", error.text);
}

static struct answer ask_with(const struct stage *stage, const char *line, const char *authorization)
{
    char text[1024];
    bool post = strncmp(line, "POST", 4) == 0;
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s%s%s\r\n%s", line,
             authorization != NULL ? "Authorization: " : "", authorization != NULL ? authorization : "",
             authorization != NULL ? "\r\n" : "", post ? "Content-Type: application/json\r\nContent-Length: 2\r\n" : "",
             post ? "{}" : "");
    return ask(stage->port, text);
}

/* Without a store, what operators ask is answered 501: it got that far. */
static const struct {
    const char *line;
    int served; /* the status when it may be asked */
    bool changes, health;
} lines[] = {
    {"GET /healthz", 200, .health = true},
    {"HEAD /readyz", 200, .health = true},
    {"GET /metrics", 200},
    {"GET /pipeline", 200},
    {"HEAD /ui", 200, .health = true},
    {"POST /correlations/a", 405, .changes = true},
    {"GET /chains", 501},
    {"GET /chains?limit=1", 501},
    {"GET /payments/7", 200},
    {"POST /payments", 202},
    {"GET /nothing", 404},
    {"DELETE /payments", 405},
    {"GET /%zz", 400},
    {"DELETE /chains", 405, .changes = true},
    {"POST /chains/a/b", 405, .changes = true},
};

static void check_lines(const struct stage *stage, const char *where, bool loopback, const char *configured)
{
    static const struct {
        const char *shown;
        bool right;
    } shows[] = {
        {NULL, false},
        {"Bearer c29tZS10b2tlbg==", true},
        {"bearer   c29tZS10b2tlbg==", true},
        {"Bearer c29tZS10b2tlbg=", false},
        {"Bearer c29tZS10b2tlbg==x", false},
        {"Bearer d29tZS10b2tlbg==", false},
        {"Bearer c29tZS10b2tlbg= ", false},
        {"Bearer ", false},
        {"Bearer", false},
        {"Basic c29tZS10b2tlbg==", false},
        {"c29tZS10b2tlbg==", false},
    };
    for (size_t s = 0; s < sizeof shows / sizeof shows[0]; s++)
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            struct answer answer = ask_with(stage, lines[i].line, shows[s].shown);
            bool needs = !lines[i].health && (!loopback || lines[i].changes);
            bool may = !needs || (configured != NULL && shows[s].right);
            int wanted = may ? lines[i].served : configured == NULL ? 403 : 401;
            if (answer.status != wanted)
                fail_msg("%s, %s, %s: wanted %d, got %d %s", where, lines[i].line,
                         shows[s].shown != NULL ? shows[s].shown : "no token", wanted, answer.status, answer.body);
            if (wanted == 401) {
                assert_has(answer.head, shows[s].shown == NULL
                                            ? "WWW-Authenticate: Bearer realm=\"sluice\"\r\n"
                                            : "WWW-Authenticate: Bearer realm=\"sluice\", error=\"invalid_token\"\r\n");
                assert_has(answer.body, "{\"error\":\"unauthorized\",\"message\":");
                assert_null(strstr(answer.body, token));
            }
            if (wanted == 403)
                assert_has(answer.body, "http.token is not set");
        }
}

static void test_who_may_ask(void **state)
{
    static const struct {
        const char *host, *token;
        bool loopback;
    } places[] = {{"127.0.0.1", NULL, true}, {"127.0.0.1", token, true}, {"0.0.0.0", token, false}};
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct stage stage;
        stage_open(&stage, places[i].host, places[i].token);
        check_lines(&stage, places[i].host, places[i].loopback, places[i].token);
        stage_stop(&stage);
    }
}

static void test_twice(void **state)
{
    struct stage stage;
    (void)state;
    stage_open(&stage, "127.0.0.1", token);
    struct answer answer = ask(stage.port, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\r\n"
                                           "Authorization: Bearer b\r\n\r\n");
    assert_int_equal(answer.status, 400);
    assert_has(answer.body, "Authorization must be given once.");
    stage_stop(&stage);
}

/* A name may stand for any address: what was bound counts. */
static void test_open_without_token(void **state)
{
    struct engine *engine = fake_start(1000);
    struct http *http;
    struct error error = {0};
    int port;
    (void)state;
    engine->pipeline.http.host = "0.0.0.0";
    assert_int_equal(start_listening(engine, &http, &port, &error), -EACCES);
    assert_non_null(strstr(error.text, "http.token is required"));
    fake_stop(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_may_ask),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_open_without_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
