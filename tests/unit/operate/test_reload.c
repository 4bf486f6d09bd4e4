/*
 * test_reload.c - the answer to who asked for a reload: its JSON, and the same for people.
 */
#include "place.h"

#include "event/json.h"
#include "operate/reload.h"

#include <errno.h>
#include <string.h>

#define BASE "pipeline: p\nbus: {kind: memory}\nplugins: {a: {library: /a.so}}\n"

static struct buffer json, text;

static int new_buffers(void **state)
{
    (void)state;
    buffer_init(&json, 1024 * 1024);
    buffer_init(&text, 1024 * 1024);
    return 0;
}

static int free_buffers(void **state)
{
    (void)state;
    buffer_free(&json);
    buffer_free(&text);
    return 0;
}

static void tell(struct reload_told *told, const char *before, const char *now)
{
    struct read *old = read_pipeline(before), *new = now == NULL ? NULL : read_pipeline(now);
    told->before = old->pipeline;
    told->file = old->pipeline->file;
    told->now = new == NULL ? NULL : new->pipeline;
    reload_tell(told, &json);
    assert_false(json.failed);
    struct json_object object;
    struct error error = {0};
    if (json_scan(buffer_view(&json), old->arena, &object, &error) != 0)
        fail_msg("%s: %.*s", error.text, (int)json.length, json.at);
    assert_int_equal(reload_text(buffer_view(&json), &text), 0);
    assert_false(text.failed);
    buffer_byte(&json, '\0');
    buffer_byte(&text, '\0');
    read_end(old);
    if (new != NULL)
        read_end(new);
}

static void expect(const char *in, const char *part)
{
    if (strstr(in, part) == NULL)
        fail_msg("%s\n---- is not in\n%s", part, in);
}

static void accepted(void **state)
{
    (void)state;
    tell(&(struct reload_told){.accepted = true,
                               .versions_before = SPAN("a\t1.0\t111111111111\nold\t7\t222222222222\n"),
                               .versions_now = SPAN("a\t1.1\t333333333333\nnew\t2\t444444444444\n"),
                               .duration_ms = 12},
         BASE, BASE "engine: {lanes: 8}\nhttp: {token: secret-token}\n");
    expect(json.at, "{\"accepted\":true,\"plan\":false,\"file\":\"");
    expect(json.at, "\"changes\":[{\"change\":\"changed\",\"of\":\"engine\",\"name\":\"\",\"field\":\"lanes\",\"old\":"
                    "\"4\",\"new\":\"8\"},{\"change\":\"added\",\"of\":\"http\",\"name\":\"\"}]");
    expect(json.at,
           "\"plugins\":[{\"name\":\"a\",\"old\":{\"version\":\"1.0\",\"hash\":\"111111111111\"},\"new\":{\"version\":"
           "\"1.1\",\"hash\":\"333333333333\"},\"replaced\":true},{\"name\":\"new\",\"old\":null,\"new\":{\"version\":"
           "\"2\",\"hash\":\"444444444444\"},\"replaced\":false},{\"name\":\"old\",\"old\":{\"version\":\"7\",\"hash\":"
           "\"222222222222\"},\"new\":null,\"replaced\":false}],\"duration_ms\":12}");
    assert_null(strstr(json.at, "secret-token"));
    assert_null(strstr(json.at, "reason"));
    expect(text.at, "reloaded in 12 ms: ");
    expect(text.at, "\n  changed engine lanes: 4 -> 8\n  added http\n  plugin a: 1.0 (111111111111) -> 1.1 "
                    "(333333333333)\n  plugin new: nothing -> 2 (444444444444)\n  plugin old: 7 (222222222222) -> "
                    "nothing\n");
}

static void a_plan_of_the_same(void **state)
{
    (void)state;
    tell(&(struct reload_told){.accepted = true,
                               .plan = true,
                               .versions_before = SPAN("a\t1\t111111111111\n"),
                               .versions_now = SPAN("a\t1\t111111111111\n"),
                               .duration_ms = 3},
         BASE, BASE);
    expect(json.at, "{\"accepted\":true,\"plan\":true,");
    expect(json.at, "\"changes\":[]");
    expect(text.at, "it could be reloaded; looked at in 3 ms: ");
    expect(text.at, "\n  the file says the same\n  plugin a: 1 (111111111111), the same\n");
}

static void a_file_that_is_wrong(void **state)
{
    (void)state;
    tell(
        &(struct reload_told){.why = "/x/a:b.yaml:3:7: error: topics.t: \"no\" handler\n/x/a:b.yaml:4:1: warning: odd: "
                                     "error: none\n",
                              .duration_ms = 1},
        BASE, NULL);
    expect(json.at,
           "{\"accepted\":false,\"plan\":false,\"reason\":\"invalid\",\"why\":\"the file, or what it names, is "
           "wrong\"");
    expect(json.at,
           "\"new\":null,\"changes\":[],\"problems\":[{\"level\":\"error\",\"file\":\"/x/"
           "a:b.yaml\",\"line\":3,\"column\":7,\"text\":\"topics.t: \\\"no\\\" handler\"},{\"level\":\"warning\"");
    expect(text.at, "refused, and what ran before goes on: the file, or what it names, is wrong\n  /x/a:b.yaml:3:7: "
                    "error: topics.t: \"no\" handler\n  /x/a:b.yaml:4:1: warning: odd: error: none\n");
}

static void a_worker_that_cannot_begin(void **state)
{
    (void)state;
    tell(&(struct reload_told){.why = "the database does not answer\nanother line\xff\n", .plan = true}, BASE, BASE);
    expect(json.at, "\"reason\":\"failed\",\"why\":\"the database does not answer | another line\xef\xbf\xbd\"");
    expect(json.at, "\"problems\":[]");
    expect(text.at, "it would be refused: the database does not answer | another line");
}

static void what_needs_a_restart(void **state)
{
    (void)state;
    tell(&(struct reload_told){.duration_ms = 1}, BASE, BASE "engine: {group: q}\n");
    expect(json.at, "\"reason\":\"needs_restart\",\"why\":\"engine.group: 'p' has the positions");
    expect(text.at, "refused, and what ran before goes on: engine.group: 'p' has");
    expect(text.at, "\n  changed engine group: p -> q\n");
}

/* However much changes, the answer is whole JSON and fits. */
static void an_answer_that_is_too_long(void **state)
{
    (void)state;
    struct buffer many, why;
    static char word[3000];
    memset(word, 'w', sizeof word - 1);
    buffer_init(&many, 1024 * 1024);
    buffer_init(&why, 1024 * 1024);
    buffer_text(&many, BASE "topics:\n");
    for (int i = 0; i < 1000; i++)
        buffer_format(&many, "  topic.with.a.name.%04d: {handler: a.x, key: \"{%.100s}\"}\n", i, word);
    for (int i = 0; i < 100; i++)
        buffer_format(&why, "/t.yaml:%d:1: error: %s\n", i + 1, word);
    buffer_format(&why, "%s\n", word);
    buffer_byte(&many, '\0');
    buffer_byte(&why, '\0');
    tell(&(struct reload_told){.why = why.at, .versions_now = SPAN("a\t1\t111111111111\n")}, BASE, many.at);
    assert_in_range(json.length, RELOAD_TOLD_MAX / 2, RELOAD_TOLD_MAX);
    expect(json.at, "\"changes_left_out\":");
    expect(json.at, "\"problems_left_out\":");
    expect(json.at, "\"duration_ms\":0}");
    expect(text.at, " more changes\n");
    expect(text.at, " more problems\n");
    buffer_free(&many);
    buffer_free(&why);
}

static void no_such_answer(void **state)
{
    (void)state;
    assert_int_equal(reload_text(SPAN("{\"error\":\"busy\"}"), &text), -EINVAL);
    assert_int_equal(reload_text(SPAN("<html>"), &text), -EINVAL);
    assert_int_equal(reload_text(SPAN("{\"accepted\":true,\"changes\":7,\"plugins\":[1,{}],\"old\":[]}"), &text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(accepted, new_buffers, free_buffers),
        cmocka_unit_test_setup_teardown(a_plan_of_the_same, new_buffers, free_buffers),
        cmocka_unit_test_setup_teardown(a_file_that_is_wrong, new_buffers, free_buffers),
        cmocka_unit_test_setup_teardown(a_worker_that_cannot_begin, new_buffers, free_buffers),
        cmocka_unit_test_setup_teardown(what_needs_a_restart, new_buffers, free_buffers),
        cmocka_unit_test_setup_teardown(an_answer_that_is_too_long, new_buffers, free_buffers),
        cmocka_unit_test_setup_teardown(no_such_answer, new_buffers, free_buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
