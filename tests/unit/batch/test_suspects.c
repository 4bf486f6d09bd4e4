/*
 * test_suspects.c - events that a crash is blamed on: they run alone, while no other lane runs, and a convict is a dead
 * letter.
 */
#include "lane_test.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.handle, routes: {done: order.done, later: drop}}\n"
                           "  order.done: {final: true}\n";

static struct lane_test *watched(void)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    test->env.suspects = suspects_create();
    assert_non_null(test->env.suspects);
    return test;
}

static void unwatched(struct lane_test *test)
{
    lane_test_destroy(test); /* the table of suspects lives as long as the process */
}

/* The process died in a call of this event alone. */
static void crash(struct lane_test *test, const char *id)
{
    bool crashed;
    suspects_add(test->env.suspects, 5, 0, event_id_of(span_of(id)));
    suspects_begin(test->env.suspects, 5, 1);
    assert_int_equal(suspects_judge(test->env.suspects, &crashed), 1);
    suspects_end(test->env.suspects, 5);
}

static void a_convict(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    for (int i = 0; i < SUSPECT_CONVICTIONS; i++)
        crash(test, "b");
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_event(test, "order.new", "k", "c", "{}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[a] [c]");
    assert_header(assert_dead(test, "order.new-dlt", 0, "crashed"), HEADER_DLT_REASON,
                  "its handler crashed or hung on it, alone, 2 times");
    assert_false(suspects_any(test->env.suspects)); /* it ended */
    assert_string_equal(lane_test_ends(test), "0 1 2");
    unwatched(test);
}

/* Whether another lane's batch could begin now. */
static bool others_run(struct lane_test *test)
{
    if (pthread_rwlock_tryrdlock(&test->quarantine) != 0)
        return false;
    pthread_rwlock_unlock(&test->quarantine);
    return true;
}

static char others[16];
static void look(struct lane_test *test, struct sluice_call *call)
{
    strncat(others, others_run(test) ? "y" : "n", sizeof others - strlen(others) - 1);
    lane_test_obey(test, call);
}

static void a_suspect_among_many(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    crash(test, "b");
    others[0] = '\0';
    test->handle = look;
    lane_test_event(test, "order.new", "k1", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{}");
    lane_test_event(test, "order.new", "k2", "c", "{}");
    lane_test_event(test, "order.new", "k3", "d", "{}");
    assert_int_equal(lane_test_run(test), 4);
    assert_string_equal(lane_test_calls(test), "[a d]");
    assert_string_equal(lane_test_ends(test), "0 3");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_false(suspects_any(test->env.suspects)); /* acquitted: it ended well */
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(lane_test_calls(test), "[c]");
    assert_string_equal(lane_test_ends(test), "1 2");
    assert_string_equal(others, "yny"); /* a and d, b alone in the process, c */
    unwatched(test);
}

/* What comes again is still a suspect. */
static void a_suspect_that_comes_again(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    crash(test, "b");
    fake_store_fail(test->store, "commit", 0, 1, STORE_DOWN, "the server is gone");
    lane_test_event(test, "order.new", "k", "b", "{\"do\":\"retry\"}");
    lane_test_run(test);
    assert_true(suspects_any(test->env.suspects));
    lane_test_run(test);
    assert_true(suspects_any(test->env.suspects));
    unwatched(test);
}

/* The events of a call are written down before it, and stand until the next batch begins. */
static bool judged;
static void judge(struct lane_test *test, struct sluice_call *call)
{
    bool crashed;
    if (!judged)
        assert_int_equal(suspects_judge(test->env.suspects, &crashed), call->count);
    judged = true;
    lane_test_obey(test, call);
}

static void a_call_is_written_down(void **state)
{
    struct lane_test *test = watched();
    bool crashed;
    (void)state;
    judged = false;
    test->handle = judge;
    lane_test_event(test, "order.new", "k1", "a", "{\"do\":\"retry\"}");
    lane_test_event(test, "order.new", "k2", "b", "{\"do\":\"retry\"}");
    lane_test_run(test);
    assert_int_equal(suspects_look(test->env.suspects, event_id_of(SPAN("a"))), SUSPECT_ALONE);
    assert_int_equal(suspects_look(test->env.suspects, event_id_of(SPAN("b"))), SUSPECT_ALONE);
    assert_int_equal(suspects_judge(test->env.suspects, &crashed), 2); /* a heap may be found broken afterwards */
    lane_test_event(test, "order.done", "k", "x", "{}");
    lane_test_run(test);
    assert_int_equal(suspects_judge(test->env.suspects, &crashed), 0);
    unwatched(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_convict),
        cmocka_unit_test(a_suspect_among_many),
        cmocka_unit_test(a_suspect_that_comes_again),
        cmocka_unit_test(a_call_is_written_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
