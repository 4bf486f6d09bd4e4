/*
 * test_replay.c - acts of an isolated plugin are done by the host that checks every other plugin: what is good has its
 * effect, what is wrong is that plugin's fault, and what is broken is refused.
 */
#include "lane_test.h"

#include "batch/isolated.h"
#include "isolate/area.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.query, routes: {done: order.done, later: order.later}}\n"
                           "  order.done: {final: true}\n"
                           "  order.later: {final: true, key: '{user}'}\n";

static const struct sluice_text none = {NULL, 0};
static const struct sluice_sql sql = {"insert"};
static char bytes[64 * 1024];
static struct acts acts;
static bool good; /* what the last replay answered */

/* The handler: the acts of the test are done. Each act that asks is answered, as call_isolated() does. */
static void replayed(struct lane_test *test, struct sluice_call *call)
{
    static const enum param_type types[] = {PARAM_INT8, PARAM_TEXT};
    static const struct fake_cell cells[] = {{.number = 7}, {.text = SPAN("seven")}};
    struct replay replay = {.call = call_of(call)};
    fake_store_answer(test->store, 2, types, 1, cells);
    good = replay_acts(&replay, (struct span){bytes, acts.used});
    if (!good)
        call_fault_alone(replay.call, "wrote over it");
}

static void add(struct act act, const char *name, struct sluice_text text)
{
    acts_add(&acts, act, name, text);
}

static struct lane_test *prepare(void)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    test->handle = replayed;
    acts = (struct acts){.at = bytes, .max = sizeof bytes};
    return test;
}

static void what_is_good(void **state)
{
    struct lane_test *test = prepare();
    (void)state;
    acts_add_query(&acts, &sql, 0, NULL);
    add((struct act){.kind = ACT_SET_TEXT, .n = 0}, "user", (struct sluice_text){"anna", 4});
    add((struct act){.kind = ACT_OUTCOME, .n = 0, .value = 1}, NULL, none);
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_true(good);
    assert_int_equal(test->end_count, 1);
    assert_true(test->ends[0].complete);
    assert_non_null(fake_bus_record(&test->bus, "order.later", 0));
    lane_test_destroy(test);
}

/* The sentence is the host's own. */
static const struct wrong {
    struct act act;
    const char *name, *words;
    bool broken;
} wrongs[] = {
    {{.kind = ACT_OUTCOME, .n = 9}, NULL, "called outcome() for event 9 of a call that has 1", false},
    {{.kind = ACT_OUTCOME, .value = UINT64_MAX}, NULL, "gave outcome 18446744073709551615; it declares 2", false},
    {{.kind = ACT_SET_INT64, .n = 0}, "nothing", "set field 'nothing', which it does not declare", false},
    {{.kind = ACT_SET_INT64, .n = 0}, NULL, "called set_int64() without a field name", false},
    {{.kind = ACT_SET_BOOL, .n = 0, .value = 7}, "user", "to the bool 7, expected 0 or 1", false},
    {{.kind = ACT_ADD, .value = 77}, NULL, "added outcome 77; it declares 2", false},
    {{.kind = ACT_REPLY, .value = 99}, NULL, "replied 99", false},
    {{.kind = ACT_GET_TEXT, .n = 0, .value = 0}, NULL, "called get_text() for column 0, which has another type", false},
    {{.kind = ACT_IS_NULL, .n = UINT64_MAX}, NULL, "called is_null() for row 18446744073709551615", false},
    {{.kind = ACT_FAULT}, "it panicked", "failed: it panicked", false},
    {{.kind = ACT_FULL}, NULL, "handed the host more than 64 MiB in one call", false},
    {{.kind = ACT_GET_TEXT, .more = 5}, NULL, "wrote over it", true},
    {{.kind = 0}, NULL, "wrote over it", true},
    {{.kind = UINT32_MAX}, NULL, "wrote over it", true},
};

static void what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        struct lane_test *test = prepare();
        acts_add_query(&acts, &sql, 0, NULL);
        add(wrongs[i].act, wrongs[i].name, none);
        add((struct act){.kind = ACT_OUTCOME, .n = 0}, NULL, none);
        struct item *item = lane_test_event(test, "order.new", "k", "a", "{}");
        lane_test_run(test);
        assert_int_equal(good, !wrongs[i].broken);
        assert_int_equal(item->condemned, DEAD_PLUGIN_FAULT);
        if (strstr(item->sentence, wrongs[i].words) == NULL)
            fail_msg("%zu: expected '%s' in '%s'", i, wrongs[i].words, item->sentence);
        lane_test_run_all(test);
        lane_test_destroy(test);
    }
}

/* A statement's text ends with its NUL, or it is none. */
static void a_statement_without_an_end(void **state)
{
    struct lane_test *test = prepare();
    (void)state;
    add((struct act){.kind = ACT_QUERY}, NULL, (struct sluice_text){"select", 6});
    lane_test_event(test, "order.new", "k", "a", "{}");
    lane_test_run_all(test);
    assert_false(good);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_good),
        cmocka_unit_test(what_is_wrong),
        cmocka_unit_test(a_statement_without_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
