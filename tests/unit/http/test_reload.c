/*
 * test_reload.c - POST /reload, with a test in the master's place: who may ask, what is asked, and each status.
 */
#include "fake_engine.h"

#include "guard/reload.h"

static struct {
    struct stage stage;
    struct reload *reload;
    char file[64]; /* that the engine runs */
} the;

static int start(void **state)
{
    (void)state;
    snprintf(the.file, sizeof the.file, "/tmp/sluice-reload-XXXXXX");
    close(mkstemp(the.file));
    stage_start(&the.stage, 10000);
    the.stage.engine->pipeline.http.token = "sesame"; /* nobody has asked for anything yet */
    the.stage.engine->pipeline.file = the.file;
    the.reload = reload_create();
    http_reload(the.stage.http, the.reload);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stage_stop(&the.stage);
    unlink(the.file);
    return 0;
}

static void say(struct client *client, const char *line)
{
    char text[1024];
    client_open(client, the.stage.port);
    snprintf(text, sizeof text,
             "%s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sesame\r\nContent-Length: 0\r\n\r\n", line);
    client_say(client, text);
}

static struct answer say_and_hear(const char *line)
{
    struct client client;
    say(&client, line);
    struct answer answer = client_answer(&client, false);
    client_close(&client);
    return answer;
}

struct taken {
    bool plan;
    uint32_t ticket;
};

static bool take(void *context)
{
    struct taken *taken = context;
    return reload_take(the.reload, &taken->plan, &taken->ticket);
}

static struct taken take_one(void)
{
    struct taken taken;
    assert_true(eventually(take, &taken));
    return taken;
}

static void nothing_is_asked(void)
{
    struct taken taken;
    assert_false(take(&taken));
}

static void test_each_answer(void **state)
{
    static const struct {
        const char *line;
        bool plan, accepted;
        const char *json;
        int status;
    } rows[] = {
        {"POST /reload", false, true, "{\"accepted\":true}", 200},
        {"POST /reload?plan", true, true, "{\"accepted\":true,\"plan\":true}", 200},
        {"POST /reload?plan=true", true, true, "{\"accepted\":true,\"plan\":true}", 200},
        {"POST /reload?plan=false", false, true, "{\"accepted\":true}", 200},
        {"POST /reload", false, false, "{\"accepted\":false,\"reason\":\"invalid\"}", 422},
        {"POST /reload", false, false, "{\"accepted\":false,\"reason\":\"failed\"}", 422},
        {"POST /reload?plan", true, false, "{\"accepted\":false,\"reason\":\"needs_restart\"}", 409},
        {"POST /reload", false, false, "no JSON at all", 422},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct client client;
        say(&client, rows[i].line);
        struct taken taken = take_one();
        if (taken.plan != rows[i].plan)
            fail_msg("%s asked %s", rows[i].line, taken.plan ? "for a plan" : "for no plan");
        reload_answer(the.reload, taken.ticket, rows[i].accepted, span_of(rows[i].json));
        struct answer answer = client_answer(&client, false);
        if (answer.status != rows[i].status || strcmp(answer.body, rows[i].json) != 0)
            fail_msg("%s: wanted %d %s, got %d %s", rows[i].line, rows[i].status, rows[i].json, answer.status,
                     answer.body);
        assert_has(answer.head, "Content-Type: application/json");
        client_close(&client);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct answer answer = say_and_hear("GET /reload");
    assert_int_equal(answer.status, 405);
    assert_has(answer.head, "Allow: POST, OPTIONS");
    assert_int_equal(say_and_hear("DELETE /reload").status, 405);
    assert_int_equal(say_and_hear("POST /reload/now").status, 404);
    assert_int_equal(say_and_hear("POST /reload?plan=yes").status, 400);
    answer = say_and_hear("POST /reload?dry-run");
    assert_int_equal(answer.status, 400);
    assert_has(answer.body, "?plan");
    answer = ask(the.stage.port, "POST /reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(answer.status, 401);
    nothing_is_asked();
}

static void test_without_a_master(void **state)
{
    (void)state;
    http_reload(the.stage.http, NULL);
    struct answer answer = say_and_hear("POST /reload");
    assert_int_equal(answer.status, 501);
    assert_has(answer.body, "without its master process");
}

static void test_another_file(void **state)
{
    char line[256];
    struct client client;
    (void)state;
    struct answer answer = say_and_hear("POST /reload?file=/etc/sluice/another.yaml");
    assert_int_equal(answer.status, 409);
    assert_has(answer.body,
               "{\"accepted\":false,\"plan\":false,\"reason\":\"other_file\",\"why\":\"this engine runs another");
    assert_has(answer.body, the.file);
    nothing_is_asked();
    snprintf(line, sizeof line, "POST /reload?plan&file=%s", the.file);
    say(&client, line);
    struct taken taken = take_one();
    assert_true(taken.plan);
    reload_answer(the.reload, taken.ticket, true, SPAN("{}"));
    assert_int_equal(client_answer(&client, false).status, 200);
    client_close(&client);
    unlink(the.file); /* then nobody can tell, and the reload says that it is gone */
    say(&client, line);
    taken = take_one();
    reload_answer(the.reload, taken.ticket, true, SPAN("{}"));
    assert_int_equal(client_answer(&client, false).status, 200);
    client_close(&client);
}

/* Whether it has its answer; meanwhile the master answers whatever is asked. */
static bool has_answer(void *context)
{
    const struct client *client = context;
    struct pollfd ready = {.fd = client->fd, .events = POLLIN};
    struct taken taken;
    if (take(&taken))
        reload_answer(the.reload, taken.ticket, true, taken.plan ? SPAN("{\"n\":\"plan\"}") : SPAN("{\"n\":2}"));
    return poll(&ready, 1, 0) > 0;
}

static void test_several_at_once(void **state)
{
    static const char *const lines[] = {"POST /reload", "POST /reload?plan", "POST /reload"}, *const answers[] = {
                                                                                                  "{\"n\":2}",
                                                                                                  "{\"n\":\"plan\"}",
                                                                                                  "{\"n\":2}"};
    struct client first, later[3];
    (void)state;
    say(&first, "POST /reload");
    struct taken begun = take_one();
    for (size_t i = 0; i < 3; i++)
        say(&later[i], lines[i]);
    assert_int_equal(say_and_hear("GET /healthz").status, 200); /* the listener waits for none of them */
    reload_answer(the.reload, begun.ticket, true, SPAN("{\"n\":1}"));
    assert_has(client_answer(&first, false).body, "{\"n\":1}");
    client_close(&first);
    for (size_t i = 0; i < 3; i++) {
        assert_true(eventually(has_answer, &later[i]));
        assert_has(client_answer(&later[i], false).body, answers[i]);
        client_close(&later[i]);
    }
}

static void test_a_client_that_leaves(void **state)
{
    struct client client;
    (void)state;
    say(&client, "POST /reload");
    struct taken taken = take_one();
    client_close(&client);
    reload_answer(the.reload, taken.ticket, true, SPAN("{}"));
    say(&client, "POST /reload");
    taken = take_one();
    reload_answer(the.reload, taken.ticket, true, SPAN("{\"n\":2}"));
    assert_has(client_answer(&client, false).body, "{\"n\":2}");
    client_close(&client);
}

/* The master answers while the process that asked is about to end: the answer is given. */
static void test_an_answer_at_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct client client;
        if (i > 0)
            start(state);
        say(&client, "POST /reload");
        struct taken taken = take_one();
        reload_answer(the.reload, taken.ticket, true, SPAN("{\"n\":1}"));
        stage_stop(&the.stage);
        struct answer answer = client_answer(&client, false);
        assert_int_equal(answer.status, 200);
        assert_has(answer.body, "{\"n\":1}");
        client_close(&client);
        unlink(the.file);
    }
}

static void test_a_stop_meanwhile(void **state)
{
    struct client client;
    (void)state;
    say(&client, "POST /reload");
    (void)take_one();
    stage_stop(&the.stage);
    struct answer answer = client_answer(&client, false);
    assert_int_equal(answer.status, 503);
    assert_has(answer.body, "{\"error\":\"handed_over\"");
    client_close(&client);
    unlink(the.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_answer, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_without_a_master, start, stop),
        cmocka_unit_test_setup_teardown(test_another_file, start, stop),
        cmocka_unit_test_setup_teardown(test_several_at_once, start, stop),
        cmocka_unit_test_setup_teardown(test_a_client_that_leaves, start, stop),
        cmocka_unit_test_setup(test_an_answer_at_the_end, start),
        cmocka_unit_test_setup(test_a_stop_meanwhile, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
