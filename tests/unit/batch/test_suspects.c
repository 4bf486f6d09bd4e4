/*
 * test_suspects.c - events that a crash is blamed on: they run alone, while no other lane runs, and a convict is a dead
 * letter.
 */
#include "lane_test.h"

#include "base/clock.h"

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

enum { ELSEWHERE = 5 /* another lane than the test's */ };

/* As the handler of order.new knows it. */
static struct event_id id_of(const char *id)
{
    return suspects_id(event_id_of(span_of(id)), SPAN("work.handle"));
}

static size_t end(struct lane_test *test, enum ending_kind kind, int number)
{
    struct process_ending ending = {.kind = kind, .number = number, .lane = -1};
    return suspects_judge(test->env.suspects, &ending);
}

/* The process ended in a call of this event alone. */
static void end_in(struct lane_test *test, const char *id, enum ending_kind kind, int number)
{
    suspects_add(test->env.suspects, ELSEWHERE, 0, id_of(id));
    suspects_open(test->env.suspects, ELSEWHERE, 1, INT64_MAX, false);
    assert_int_equal(end(test, kind, number), 1);
    suspects_over(test->env.suspects, ELSEWHERE);
}

static void crash(struct lane_test *test, const char *id)
{
    end_in(test, id, ENDING_SIGNAL, 11);
}

static void a_convict(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    for (int i = 0; i < SUSPECT_FAULTS; i++)
        crash(test, "b");
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_event(test, "order.new", "k", "c", "{}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[a] [c]");
    assert_null(strstr(fake_store_calls(test->store), "suspects_note")); /* nothing of it waits */
    assert_header(assert_dead(test, "order.new-dlt", 0, "crashed"), HEADER_DLT_REASON,
                  "its handler ended the worker process, alone, 2 times: signal 11 (Segmentation fault)");
    assert_string_equal(lane_test_ends(test), "0 1 2");
    lane_test_event(test, "order.new", "k", "b", "{}"); /* its position was lost with a later worker */
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "");
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
    assert_int_equal(test->store->suspects, 1); /* written down before its handler is called */
    assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->store->suspects, 0); /* with its end */
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
    assert_int_equal(test->store->suspects, 1);
    unwatched(test);
}

/* A table that cannot be written changes nothing for the event. */
static void a_suspect_that_is_not_written_down(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    crash(test, "b");
    fake_store_fail(test->store, "suspects_note", 0, 1, STORE_DEPLOY, "no such table");
    lane_test_event(test, "order.new", "k", "b", "{}");
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[b]");
    assert_string_equal(lane_test_ends(test), "0");
    assert_int_equal(test->store->suspects, 0);
    unwatched(test);
}

/* What is told of a suspect: how often the process ended in its call, and what makes it a dead letter. */
static void a_story(void **state)
{
    struct lane_test *test = watched();
    struct suspect_story story;
    (void)state;
    crash(test, "b");
    assert_int_equal(suspects_look(test->env.suspects, id_of("b"), &story), SUSPECT_ALONE);
    assert_int_equal(story.times, 1);
    assert_string_equal(story.why,
                        "the worker process ended 1 time in its handler's call: signal 11 (Segmentation fault); it is "
                        "tried in a batch of its own while no other lane runs, and is a dead letter when that ends the "
                        "process 1 more time");
    for (int i = 0; i < SUSPECT_KILLS - 1; i++)
        end_in(test, "k", ENDING_SIGNAL, 9);
    assert_int_equal(suspects_look(test->env.suspects, id_of("k"), &story), SUSPECT_ALONE);
    assert_int_equal(story.times, SUSPECT_KILLS - 1);
    assert_non_null(strstr(story.why, "ended 4 times in its handler's call: signal 9 (Killed); "));
    assert_non_null(strstr(story.why, "ends the process 1 more time"));
    unwatched(test);
}

/* The events of a call are written down before it, and are suspects for whatever ends the process while it is open, or
 * its batch goes on. */
static bool judged;
static void judge(struct lane_test *test, struct sluice_call *call)
{
    if (!judged)
        assert_int_equal(end(test, ENDING_STATUS, 0), call->count);
    judged = true;
    lane_test_obey(test, call);
}

static void a_call_is_written_down(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    judged = false;
    test->handle = judge;
    lane_test_event(test, "order.new", "k1", "a", "{\"do\":\"retry\"}");
    lane_test_event(test, "order.new", "k2", "b", "{\"do\":\"retry\"}");
    lane_test_run(test);
    assert_int_equal(suspects_look(test->env.suspects, id_of("a"), NULL), SUSPECT_ALONE);
    assert_int_equal(suspects_look(test->env.suspects, id_of("b"), NULL), SUSPECT_ALONE);
    assert_int_equal(suspects_look(test->env.suspects, suspects_id(event_id_of(SPAN("a")), SPAN("work.other")), NULL),
                     SUSPECT_NONE);
    assert_int_equal(end(test, ENDING_STATUS, 0), 0); /* the batch is over */
    unwatched(test);
}

/* How often the process must end in the call of one event, and in what way, until it is convicted. */
static void convictions(void **state)
{
    static const struct {
        struct process_ending ending;
        int times;
        enum suspicion before; /* after the first time */
    } rows[] = {
        {{.kind = ENDING_SIGNAL, .number = 11, .lane = -1}, SUSPECT_FAULTS, SUSPECT_ALONE},
        {{.kind = ENDING_SIGNAL, .number = 14, .lane = -1}, SUSPECT_FAULTS, SUSPECT_ALONE},
        {{.kind = ENDING_STATUS, .number = 0, .lane = -1}, SUSPECT_FAULTS, SUSPECT_ALONE},
        {{.kind = ENDING_THREAD, .lane = ELSEWHERE}, SUSPECT_FAULTS, SUSPECT_ALONE},
        {{.kind = ENDING_DESCRIPTORS, .lane = -1}, SUSPECT_FAULTS, SUSPECT_ALONE},
        {{.kind = ENDING_STOPPED, .lane = -1}, SUSPECT_FAULTS, SUSPECT_ALONE},
        {{.kind = ENDING_SIGNAL, .number = 9, .lane = -1}, SUSPECT_KILLS, SUSPECT_NONE},
        {{.kind = ENDING_HANG, .number = 800, .lane = ELSEWHERE}, SUSPECT_HANGS, SUSPECT_CONVICTED},
        {{.kind = ENDING_CPU, .number = 300, .lane = ELSEWHERE}, SUSPECT_HANGS, SUSPECT_CONVICTED},
        {{.kind = ENDING_HANG, .number = 800, .lane = ELSEWHERE, .unsure = true}, 0, SUSPECT_ALONE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test *test = watched();
        struct suspects *suspects = test->env.suspects;
        struct suspect_story story = {0};
        char words[ENDING_WORDS_MAX];
        for (int times = 1; times <= (rows[i].times == 0 ? 3 : rows[i].times); times++) {
            struct process_ending ending = rows[i].ending;
            suspects_add(suspects, ELSEWHERE, 0, id_of("x"));
            suspects_open(suspects, ELSEWHERE, 1, INT64_MAX, false);
            assert_int_equal(suspects_judge(suspects, &ending), 1);
            enum suspicion suspicion = suspects_look(suspects, id_of("x"), &story);
            if (times == 1)
                assert_int_equal(suspicion, rows[i].before);
            assert_int_equal(suspicion == SUSPECT_CONVICTED, times == rows[i].times);
        }
        if (rows[i].times > 0)
            assert_non_null(strstr(story.why, ending_text(&rows[i].ending, words)));
        suspects_over(suspects, ELSEWHERE);
        unwatched(test);
    }
}

/* With two calls open nobody is convicted; with one open and another that returned, only the open one is suspected. */
static void several_calls(void **state)
{
    struct lane_test *test = watched();
    struct suspects *suspects = test->env.suspects;
    (void)state;
    suspects_add(suspects, 1, 0, id_of("a"));
    suspects_add(suspects, 2, 0, id_of("b"));
    for (int times = 0; times < 3; times++) {
        suspects_open(suspects, 1, 1, INT64_MAX, false);
        suspects_open(suspects, 2, 1, INT64_MAX, false);
        assert_int_equal(end(test, ENDING_STATUS, 1), 2);
    }
    assert_int_equal(suspects_look(suspects, id_of("a"), NULL), SUSPECT_ALONE);
    assert_int_equal(suspects_look(suspects, id_of("b"), NULL), SUSPECT_ALONE);
    suspects_acquit(suspects, id_of("a"));
    suspects_returned(suspects, 1);
    assert_int_equal(end(test, ENDING_STATUS, 1), 1);
    assert_int_equal(suspects_look(suspects, id_of("a"), NULL), SUSPECT_NONE);
    suspects_over(suspects, 2);
    assert_int_equal(end(test, ENDING_SIGNAL, 9), 0); /* which may have come from outside */
    assert_int_equal(end(test, ENDING_SIGNAL, 6), 1); /* a heap may be found broken afterwards */
    assert_int_equal(suspects_look(suspects, id_of("a"), NULL), SUSPECT_ALONE);
    unwatched(test);
}

/* Of a call that hangs, the events with a verdict are innocent, and the next one has its turn last. */
static void a_call_that_hangs(void **state)
{
    struct lane_test *test = watched();
    struct suspects *suspects = test->env.suspects;
    struct process_ending ending;
    static const char *const ids[] = {"a", "b", "c"};
    (void)state;
    for (size_t i = 0; i < 3; i++)
        suspects_add(suspects, ELSEWHERE, i, id_of(ids[i]));
    int64_t now = clock_monotonic_ms();
    suspects_open(suspects, ELSEWHERE, 3, now + 1000, false);
    suspects_progress(suspects, ELSEWHERE, 0);
    assert_false(suspects_overdue(suspects, now + 1999, 1000, &ending));
    assert_true(suspects_overdue(suspects, now + 2001, 1000, &ending));
    assert_int_equal(ending.number, 1001);
    assert_int_equal(suspects_judge(suspects, &ending), 2);
    suspects_over(suspects, ELSEWHERE);
    assert_int_equal(suspects_look(suspects, id_of("a"), NULL), SUSPECT_NONE);
    assert_int_equal(suspects_look(suspects, id_of("b"), NULL), SUSPECT_LAST);
    assert_int_equal(suspects_look(suspects, id_of("c"), NULL), SUSPECT_APART);
    others[0] = '\0';
    test->handle = look;
    for (size_t i = 0; i < 3; i++)
        lane_test_event(test, "order.new", ids[i], ids[i], "{}");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[a]");
    lane_test_run(test);
    assert_string_equal(lane_test_calls(test), "[c]");
    assert_int_equal(lane_test_run(test), 0); /* b is not due yet */
    assert_string_equal(others, "yy");
    assert_true(suspects_any(suspects));
    unwatched(test);
}

/* The process of an isolated plugin ended: no other lane stops for its events, and each counts for itself. */
static void an_isolated_plugin(void **state)
{
    static const struct {
        struct process_ending ending;
        int times;
    } rows[] = {
        {{.kind = ENDING_SIGNAL, .number = 11, .lane = -1, .plugin = true}, SUSPECT_FAULTS},
        {{.kind = ENDING_SIGNAL, .number = 9, .lane = -1, .plugin = true}, SUSPECT_KILLS},
        {{.kind = ENDING_HANG, .number = 750, .lane = -1, .plugin = true}, SUSPECT_HANGS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lane_test *test = watched();
        struct suspects *suspects = test->env.suspects;
        struct suspect_story story;
        assert_true(suspects_blame(suspects, id_of("x"), &rows[i].ending, false)); /* together with others */
        assert_int_equal(suspects_look(suspects, id_of("x"), &story), SUSPECT_APART);
        assert_non_null(strstr(story.why, "the process of its plugin ended 1 time in its handler's call: "));
        assert_non_null(strstr(story.why, "; it is tried in a batch of its own, and is a dead letter when "));
        for (int times = 1; times <= rows[i].times; times++) {
            assert_true(suspects_blame(suspects, id_of("x"), &rows[i].ending, true));
            assert_int_equal(suspects_look(suspects, id_of("x"), &story),
                             times < rows[i].times ? SUSPECT_APART : SUSPECT_CONVICTED);
        }
        assert_non_null(strstr(story.why, "its handler ended the process of its plugin, alone, "));
        unwatched(test);
    }
    assert_false(suspects_blame(NULL, id_of("x"), &rows[0].ending, true));
}

/* What comes again by itself is skipped for a while, then tried again. */
static void a_suspension(void **state)
{
    struct lane_test *test = watched();
    (void)state;
    crash(test, "t");
    crash(test, "t");
    suspects_convicted(test->env.suspects, id_of("t"), true);
    assert_int_equal(suspects_look(test->env.suspects, id_of("t"), NULL), SUSPECT_CONVICTED);
    assert_true(suspects_any(test->env.suspects));
    suspects_acquit(test->env.suspects, id_of("t"));
    assert_false(suspects_any(test->env.suspects));
    unwatched(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_convict),
        cmocka_unit_test(a_suspect_among_many),
        cmocka_unit_test(a_suspect_that_comes_again),
        cmocka_unit_test(a_suspect_that_is_not_written_down),
        cmocka_unit_test(a_story),
        cmocka_unit_test(a_call_is_written_down),
        cmocka_unit_test(convictions),
        cmocka_unit_test(several_calls),
        cmocka_unit_test(a_call_that_hangs),
        cmocka_unit_test(an_isolated_plugin),
        cmocka_unit_test(a_suspension),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
