/*
 * test_reload.c - tickets and answers between processes that share memory.
 */
#include "check.h"
#include "child.h"

#include "guard/reload.h"

#include <pthread.h>
#include <signal.h>

static struct buffer json;

static int new_buffer(void **state)
{
    (void)state;
    buffer_init(&json, 4 * RELOAD_ANSWER_MAX);
    return 0;
}

static int free_buffer(void **state)
{
    (void)state;
    buffer_free(&json);
    return 0;
}

static void expect_answer(struct reload *reload, uint32_t ticket, bool accepted, const char *text)
{
    bool got = !accepted;
    buffer_clear(&json);
    assert_true(reload_answered(reload, ticket, &got, &json));
    assert_int_equal(got, accepted);
    assert_int_equal(json.length, strlen(text));
    assert_memory_equal(json.at, text, json.length);
}

static void expect_taken(struct reload *reload, uint32_t ticket, bool plan)
{
    bool got_plan = !plan;
    uint32_t got = 0;
    assert_true(reload_take(reload, &got_plan, &got));
    assert_int_equal(got, ticket);
    assert_int_equal(got_plan, plan);
}

static void test_one_reload(void **state)
{
    (void)state;
    struct reload *reload = reload_create();
    bool flag;
    uint32_t number;
    assert_false(reload_take(reload, &flag, &number));
    uint32_t ticket = reload_ask(reload, false);
    assert_int_not_equal(ticket, 0);
    assert_false(reload_answered(reload, ticket, &flag, &json));
    expect_taken(reload, ticket, false);
    assert_false(reload_take(reload, &flag, &number));
    assert_false(reload_answered(reload, ticket, &flag, &json));
    reload_answer(reload, ticket, true, SPAN("{}"));
    expect_answer(reload, ticket, true, "{}");
    expect_answer(reload, ticket, true, "{}");
    assert_false(reload_answered(reload, ticket + 1, &flag, &json));
    assert_false(reload_answered(reload, 0, &flag, &json));
}

static void test_who_shares_a_ticket(void **state)
{
    (void)state;
    struct reload *reload = reload_create();
    uint32_t plan = reload_ask(reload, true), first = reload_ask(reload, false);
    assert_int_not_equal(plan, first);
    assert_int_equal(reload_ask(reload, false), first);
    assert_int_equal(reload_ask(reload, true), plan);
    expect_taken(reload, plan, true);
    expect_taken(reload, first, false);
    uint32_t second = reload_ask(reload, false);
    assert_int_not_equal(second, first); /* the first has begun and may have read the file before this was asked */
    reload_answer(reload, first, false, SPAN("no"));
    expect_answer(reload, first, false, "no");
    expect_taken(reload, second, false);
    uint32_t third = reload_ask(reload, false);
    plan = reload_ask(reload, true);
    reload_answer(reload, second, true, SPAN("yes"));
    expect_taken(reload, third, false);
    expect_taken(reload, plan, true);
    expect_answer(reload, second, true, "yes");
}

static void test_an_answer_that_is_gone(void **state)
{
    (void)state;
    struct reload *reload = reload_create();
    uint32_t first = reload_ask(reload, false), waits;
    bool flag;
    expect_taken(reload, first, false);
    reload_answer(reload, first, true, SPAN("first"));
    waits = reload_ask(reload, true);
    for (size_t i = 0; i < RELOAD_ANSWERS; i++) {
        expect_answer(reload, first, true, "first");
        reload_answer(reload, 1000, true, SPAN("another"));
    }
    expect_answer(reload, first, false,
                  "{\"accepted\":false,\"why\":\"the answer was not fetched before the next ones came; "
                  "the log has it\"}");
    assert_false(reload_answered(reload, waits, &flag, &json));
    expect_taken(reload, waits, true);
    assert_false(reload_answered(reload, waits, &flag, &json));
}

static void test_a_long_answer(void **state)
{
    (void)state;
    static char text[RELOAD_ANSWER_MAX + 1];
    struct reload *reload = reload_create();
    bool flag;
    memset(text, 'a', sizeof text);
    uint32_t ticket = reload_ask(reload, false);
    reload_answer(reload, ticket, true, (struct span){text, RELOAD_ANSWER_MAX});
    assert_true(reload_answered(reload, ticket, &flag, &json));
    assert_int_equal(json.length, RELOAD_ANSWER_MAX);
    assert_int_equal(json.at[json.length - 1], 'a');
    for (size_t i = 0; i < sizeof text - 1; i += 2)
        memcpy(text + i, "\303\244", 2);
    buffer_clear(&json);
    ticket = reload_ask(reload, true);
    reload_answer(reload, ticket, true, (struct span){text, sizeof text});
    assert_true(reload_answered(reload, ticket, &flag, &json));
    assert_in_range(json.length, RELOAD_ANSWER_MAX - 1, RELOAD_ANSWER_MAX);
    assert_int_equal(span_utf8(buffer_view(&json)), json.length);
    assert_memory_equal(json.at + json.length - strlen(RELOAD_CUT), RELOAD_CUT, strlen(RELOAD_CUT));
}

static void expect_note(struct reload *reload, uint32_t reading, const char *text)
{
    buffer_clear(&json);
    reload_noted(reload, reading, &json);
    assert_int_equal(json.length, strlen(text));
    assert_memory_equal(json.length == 0 ? "" : json.at, text, json.length);
}

static void test_notes(void **state)
{
    (void)state;
    static char text[2 * RELOAD_NOTE_MAX];
    struct reload *reload = reload_create();
    expect_note(reload, 1, "");
    reload_note(reload, 1, SPAN("one"));
    reload_note(reload, 2, SPAN("two"));
    expect_note(reload, 1, "one");
    expect_note(reload, 2, "two");
    reload_note(reload, 1, SPAN("again"));
    expect_note(reload, 1, "again");
    reload_note(reload, 1 + RELOAD_NOTES, SPAN("later"));
    expect_note(reload, 1, "");
    expect_note(reload, 1 + RELOAD_NOTES, "later");
    memset(text, 'a', sizeof text - 1);
    reload_note(reload, 3, span_of(text));
    text[RELOAD_NOTE_MAX] = '\0';
    expect_note(reload, 3, text);
}

/* Until it is killed, most likely while it holds the lock. */
static void ask_on(void *context)
{
    struct reload *reload = context;
    bool flag;
    for (;;) {
        (void)reload_answered(reload, reload_ask(reload, false), &flag, &json);
        buffer_clear(&json);
    }
}

static void test_a_process_that_ends_inside(void **state)
{
    (void)state;
    struct reload *reload = reload_create();
    for (int i = 0; i < 100; i++) {
        bool flag;
        uint32_t ticket = 0;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            ask_on(reload);
        while (!reload_take(reload, &flag, &ticket))
            usleep(100);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        reload_answer(reload, ticket, true, SPAN("answered"));
        expect_answer(reload, ticket, true, "answered");
        ticket = reload_ask(reload, false);
        expect_taken(reload, ticket, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_reload, new_buffer, free_buffer),
        cmocka_unit_test_setup_teardown(test_who_shares_a_ticket, new_buffer, free_buffer),
        cmocka_unit_test_setup_teardown(test_an_answer_that_is_gone, new_buffer, free_buffer),
        cmocka_unit_test_setup_teardown(test_a_long_answer, new_buffer, free_buffer),
        cmocka_unit_test_setup_teardown(test_notes, new_buffer, free_buffer),
        cmocka_unit_test_setup_teardown(test_a_process_that_ends_inside, new_buffer, free_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
