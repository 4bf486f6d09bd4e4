/*
 * test_condemn.c - events that no try can help, found while their batch runs: it is rolled back, keeps nothing of them,
 * and the next one makes the dead letter. What a plugin may not do: sluice/plugin.h.
 */
#include "lane_test.h"

#include "base/clock.h"

static const char yaml[] = "store: {url: 'postgres://x'}\n"
                           "topics:\n"
                           "  order.new: {handler: work.query, routes: {done: order.done, later: order.later}}\n"
                           "  order.kept: {handler: work.query, routes: {done: order.done, later: order.later}}\n"
                           "  order.typed: {handler: work.typed, routes: {done: order.done, later: drop}}\n"
                           "  order.plain: {handler: work.handle, routes: {done: order.done, later: drop}}\n"
                           "  order.done: {final: true}\n"
                           "  order.later: {final: true, key: '{user}'}\n"
                           "chains:\n"
                           "  sale:\n"
                           "    correlate: sale\n"
                           "    steps: [{name: order, done: order.kept, undo: order.undo}]\n"
                           "    abort_on: [order.failed]\n";

static const struct sluice_sql insert = {"insert"}, commit = {"commit"};

static const enum param_type types[] = {PARAM_INT8, PARAM_TEXT, 0, PARAM_DOUBLE, PARAM_TIMESTAMP};
static const struct fake_cell cells[] = {
    {.number = 7}, {.text = SPAN("seven")}, {.number = 7}, {.real = 7.5}, {.null = true}};

/* The answer to the handler's statement: one row. */
static const struct sluice_rows *answer(struct lane_test *test, struct sluice_call *call)
{
    fake_store_answer(test->store, 5, types, 1, cells);
    const struct sluice_rows *rows = call->host->query(call, &insert, 0, NULL);
    assert_non_null(rows);
    return rows;
}

static void good_rows(struct lane_test *test, struct sluice_call *call)
{
    const struct sluice_rows *rows = answer(test, call);
    assert_int_equal(call->host->row_count(rows), 1);
    assert_int_equal(call->host->get_int64(rows, 0, 0), 7);
    struct sluice_text text = call->host->get_text(rows, 0, 1);
    assert_memory_equal(text.at, "seven", 5);
    assert_true(call->host->get_double(rows, 0, 3) > 7.4);
    assert_false(call->host->is_null(rows, 0, 2));
    assert_true(call->host->is_null(rows, 0, 4));
    assert_int_equal(call->host->get_int64(rows, 0, 4), 0);
    assert_int_equal(call->host->now_ms(call), clock_wall_ms());
    assert_int_equal(call->host->time_left_ms(call), 10000);
    fake_clock_advance(11000);
    assert_int_equal(call->host->time_left_ms(call), 0);
    call->host->log(call, SLUICE_LOG_WARN, "seven it is");
    call->host->outcome(call, 0, 0);
}

#define BAD(name, ...)                                                                                                 \
    static void name(struct lane_test *test, struct sluice_call *call)                                                 \
    {                                                                                                                  \
        const struct sluice_rows *rows = answer(test, call);                                                           \
        (void)rows;                                                                                                    \
        __VA_ARGS__;                                                                                                   \
        call->host->outcome(call, 0, 0);                                                                               \
    }
BAD(int64_of_text, call->host->get_int64(rows, 0, 1))
BAD(int64_of_numeric, call->host->get_int64(rows, 0, 2))
BAD(double_of_int64, call->host->get_double(rows, 0, 0))
BAD(text_of_int64, call->host->get_text(rows, 0, 0))
BAD(row_too_far, call->host->get_int64(rows, 1, 0))
BAD(column_too_far, call->host->get_int64(rows, 0, 5))
BAD(null_of_no_place, call->host->is_null(rows, 9, 0))
BAD(no_such_outcome, call->host->outcome(call, 0, 2))
BAD(no_such_event, call->host->outcome(call, 1, 0))
BAD(no_such_event_field, call->host->set_int64(call, 5, "a", 1))
BAD(bad_json, call->host->set_json(call, 0, "a", (struct sluice_text){"{\"b\":}", 6}))
BAD(two_members, call->host->set_json(call, 0, "a", (struct sluice_text){"1,\"b\":2", 7}))
BAD(no_utf8, call->host->set_text(call, 0, "a", (struct sluice_text){"\xff", 1}))
BAD(undeclared, call->host->set_int64(call, 0, "a", 1))
BAD(another_type, call->host->set_int64(call, 0, "user", 1))
BAD(no_field_name, call->host->set_int64(call, 0, "", 1))
BAD(reply_to_an_event, call->host->reply(call, 0, 200, (struct sluice_text){"{}", 2}, 0))
BAD(no_such_added_outcome, call->host->add(call, 7))
BAD(own_commit, call->host->query(call, &commit, 0, NULL))
BAD(no_statement, call->host->query(call, NULL, 0, NULL))

static void no_outcome(struct lane_test *test, struct sluice_call *call)
{
    answer(test, call);
}

static void too_many_params(struct lane_test *test, struct sluice_call *call)
{
    static const int64_t one = 1;
    struct sluice_param params[STORE_PARAMS_MAX + 1];
    for (size_t i = 0; i <= STORE_PARAMS_MAX; i++)
        params[i] = (struct sluice_param)SLUICE_VALUE_INT64(&one);
    answer(test, call);
    assert_non_null(call->host->query(call, &insert, STORE_PARAMS_MAX, params));
    assert_null(call->host->query(call, &insert, STORE_PARAMS_MAX + 1, params));
    assert_null(call->host->query(call, &insert, 0, NULL)); /* nothing runs after it */
    call->host->outcome(call, 0, 0);
}

static void bad_param(struct lane_test *test, struct sluice_call *call)
{
    const struct sluice_param param = {.form = SLUICE_PARAM_VALUE, .type = SLUICE_TYPE_META_INT64, .values = "1"};
    answer(test, call);
    assert_null(call->host->query(call, &insert, 1, &param));
    call->host->outcome(call, 0, 0);
}

static void each_of_no_input(struct lane_test *test, struct sluice_call *call)
{
    const struct sluice_param param = SLUICE_EACH_TEXT(struct lane_test_input, name);
    answer(test, call);
    assert_null(call->host->query(call, &insert, 1, &param));
    call->host->outcome(call, 0, 0);
}

static void text_too_long(struct lane_test *test, struct sluice_call *call)
{
    char *text = arena_alloc(test->arena, 70000);
    memset(text, 'x', 70000);
    answer(test, call);
    call->host->set_text(call, 0, "a", (struct sluice_text){text, 70000});
    call->host->outcome(call, 0, 0);
}

static const struct {
    void (*handle)(struct lane_test *test, struct sluice_call *call);
    const char *sentence;
} faults[] = {
    {int64_of_text, "called get_int64() for column 1, which has another type"},
    {int64_of_numeric, "called get_int64() for column 2, which has another type"},
    {double_of_int64, "called get_double() for column 0, which has another type"},
    {text_of_int64, "called get_text() for column 0, which has another type"},
    {row_too_far, "called get_int64() for row 1, column 0 of an answer of 1 rows and 5 columns"},
    {column_too_far, "called get_int64() for row 0, column 5 of an answer of 1 rows and 5 columns"},
    {null_of_no_place, "called is_null() for row 9, column 0 of an answer of 1 rows and 5 columns"},
    {no_such_outcome, "gave outcome 2; it declares 2"},
    {no_such_event, "called outcome() for event 1 of a call that has 1"},
    {no_such_event_field, "called set_int64() for event 5 of a call that has 1"},
    {bad_json, "set field 'a' to what is no valid JSON or UTF-8"},
    {two_members, "set field 'a' to what is no valid JSON or UTF-8"},
    {no_utf8, "set field 'a' to what is no valid JSON or UTF-8"},
    {undeclared, "set field 'a', which it does not declare in its `sets`"},
    {another_type, "set field 'user' to 1; its `sets` declare text"},
    {no_field_name, "called set_int64() without a field name of 1..128 bytes"},
    {text_too_long, "set field 'a' to 70002 bytes; the most is 65536"},
    {reply_to_an_event, "replied 200; a request's handler replies 200..599, others do not"},
    {no_such_added_outcome, "added outcome 7; it declares 2"},
    {own_commit, "ended the engine's transaction with a statement of its own"},
    {no_statement, "called query() with no statement, or with 0 parameters; the most is 64"},
    {too_many_params, "called query() with no statement, or with 65 parameters; the most is 64"},
    {bad_param, "called query() with a parameter $1 that has no valid form and type"},
    {each_of_no_input, "called query() with a parameter $1 that has no valid form and type"},
    {no_outcome, "returned without an outcome for this event"},
};

static void what_a_plugin_may_not_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
        test->handle = faults[i].handle;
        lane_test_event(test, "order.new", "k", "a", "{}");
        assert_int_equal(lane_test_run(test), 1);
        assert_int_equal(test->store->tables.claim_count, 0);
        assert_int_equal(test->store->tables.effect_count, 0);
        assert_string_equal(lane_test_ends(test), "");
        assert_int_equal(lane_test_run(test), 1);
        const struct record *dead = assert_dead(test, "order.new-dlt", 0, "plugin_fault");
        struct span reason = record_header(dead, HEADER_DLT_REASON);
        if (memmem(reason.at, reason.length, faults[i].sentence, strlen(faults[i].sentence)) == NULL)
            fail_msg("%zu: %.*s", i, (int)reason.length, reason.at);
        assert_string_equal(lane_test_calls(test), "[a]"); /* once: it is not asked again */
        assert_int_equal(test->store->tables.effect_count, 0);
        assert_int_equal(test->bus.count, 1);
        assert_int_equal(fake_store_claim(test->store, "a")->outcome, OUTCOME_DEAD);
        assert_string_equal(lane_test_ends(test), "0");
        lane_test_destroy(test);
    }
}

static void what_it_may(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = good_rows;
    lane_test_event(test, "order.new", "k", "a", "{}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_int_equal(test->store->tables.effect_count, 1);
    assert_published(test, "order.done", 0);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 exec outbox_add commit");
    assert_true(fake_log_has("seven it is"));
    lane_test_destroy(test);
}

static void ask_with_parameters(struct lane_test *test, struct sluice_call *call)
{
    static const int64_t numbers[] = {4, 5, 6};
    static const struct sluice_text text = {"seven", 5};
    const struct sluice_param params[] = {SLUICE_EACH_INT64(struct lane_test_input, seat),
                                          SLUICE_EACH_TEXT(struct lane_test_input, name),
                                          SLUICE_ARRAY_INT64(numbers, 3), SLUICE_VALUE_TEXT(&text)};
    assert_non_null(call->host->query(call, &insert, 4, params));
    const struct store_param *sent = test->store->params;
    assert_int_equal(test->store->param_count, 4);
    assert_int_equal(sent[0].type, PARAM_INT8);
    assert_true(sent[0].array && sent[1].array && sent[2].array && !sent[3].array);
    assert_int_equal(sent[0].count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(*(const int64_t *)((const char *)sent[0].values + i * sent[0].stride), 7 + i);
    assert_int_equal(sent[1].type, PARAM_TEXT);
    const struct span *name = (const void *)((const char *)sent[1].values + sent[1].stride);
    assert_true(span_is(*name, "x"));
    assert_int_equal(sent[2].count, 3);
    assert_ptr_equal(sent[2].values, numbers);
    assert_ptr_equal(sent[3].values, &text);
    lane_test_obey(test, call);
}

static void parameters(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = ask_with_parameters;
    lane_test_event(test, "order.typed", "k1", "a", "{\"seat\":7}");
    lane_test_event(test, "order.typed", "k2", "bad", "{\"seat\":7.5}"); /* is in no input */
    lane_test_event(test, "order.typed", "k3", "b", "{\"name\":\"x\",\"seat\":8}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_string_equal(lane_test_calls(test), "[a b]");
    assert_dead(test, "order.typed-dlt", 0, "bad_field");
    lane_test_destroy(test);
}

static void ask_undeclared(struct lane_test *test, struct sluice_call *call)
{
    assert_null(call->host->query(call, &insert, 0, NULL));
    lane_test_obey(test, call);
}

static void a_query_that_is_not_declared(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = ask_undeclared;
    lane_test_event(test, "order.plain", "k", "a", "{}");
    assert_int_equal(lane_test_run_all(test), 2);
    assert_header(assert_dead(test, "order.plain-dlt", 0, "plugin_fault"), HEADER_DLT_REASON,
                  "handler work.handle called query() without having declared uses_store");
    lane_test_destroy(test);
}

/* Of one event of several: it alone is dead, the others are handled in the next batch. */
static void one_of_several(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k1", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{\"do\":\"fault\"}");
    lane_test_event(test, "order.new", "k3", "c", "{\"do\":\"nothing\"}");
    lane_test_event(test, "order.new", "k4", "d", "not json");
    assert_int_equal(lane_test_run(test), 4);
    assert_int_equal(test->store->tables.claim_count, 0);
    assert_int_equal(lane_test_run_all(test), 2);
    assert_string_equal(lane_test_calls(test), "[a b c] [a c] [a]");
    assert_dead(test, "order.new-dlt", 0, "plugin_fault");
    assert_dead(test, "order.new-dlt", 1, "plugin_fault");
    assert_dead(test, "order.new-dlt", 2, "bad_json");
    assert_published(test, "order.done", 0);
    assert_string_equal(lane_test_ends(test), "0 1 2 3");
    lane_test_destroy(test);
}

/* A fault that belongs to no event of the call: each runs alone, and whoever does it again is at fault. */
static void twice_too_far(struct lane_test *test, struct sluice_call *call)
{
    bool bad = false;
    for (uint32_t i = 0; i < call->count; i++) {
        bad = bad || memmem(call->events[i].data.at, call->events[i].data.length, "bad", 3) != NULL;
        call->host->outcome(call, i, 0);
    }
    const struct sluice_rows *rows = answer(test, call);
    if (bad)
        call->host->get_int64(rows, 5, 0);
}

static void a_fault_of_no_event(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    test->handle = twice_too_far;
    lane_test_event(test, "order.new", "k1", "a", "{}");
    lane_test_event(test, "order.new", "k2", "b", "{\"bad\":1}");
    lane_test_event(test, "order.new", "k3", "c", "{}");
    assert_int_equal(lane_test_run(test), 3);
    lane_test_run_all(test);
    assert_string_equal(lane_test_calls(test), "[a b c] [a] [b] [c]");
    assert_header(assert_dead(test, "order.new-dlt", 0, "plugin_fault"), HEADER_PARENT, NULL);
    assert_int_equal(test->store->tables.effect_count, 2);
    assert_string_equal(lane_test_ends(test), "0 1 2");
    lane_test_destroy(test);
}

static void what_cannot_be_read(void **state)
{
    static const struct {
        const char *value, *word;
    } rows[] = {
        {"{", "bad_json"},
        {"[1]", "not_object"},
        {"{\"eventId\":7,\"data\":{}}", "bad_id"},
        {"{\"eventId\":\"a\",\"eventName\":\"x\",\"data\":3}", "bad_envelope"},
    };
    (void)state;
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct record record = {.topic = SPAN("order.new"), .value = span_of(rows[i].value)};
        lane_test_offer(test, &record);
        assert_int_equal(lane_test_run_all(test), 1);
        const struct record *dead = assert_dead(test, "order.new-dlt", i, rows[i].word);
        assert_true(span_is(dead->value, rows[i].value));
        assert_null(dead->key.at);
    }
    lane_test_event(test, "order.typed", "k", "b", "{\"seat\":\"x\"}");
    lane_test_event(test, "order.typed", "k", "c", "{\"seat\":7}");
    assert_int_equal(lane_test_run_all(test), 1);
    assert_dead(test, "order.typed-dlt", 0, "bad_field");
    assert_string_equal(lane_test_calls(test), "[c]");
    lane_test_destroy(test);
}

/* Condemned twice: its dead letter is minimal, without headers and without chains, and says so in the log. */
static void condemned_twice(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    struct header headers[] = {{SPAN("x-mine"), SPAN("1")}};
    struct record record = {.topic = SPAN("order.kept"),
                            .key = SPAN("k"),
                            .value = SPAN("{\"eventId\":\"a\",\"eventName\":\"x\",\"timestamp\":"
                                          "\"2025-01-02T03:04:05Z\",\"data\":{\"do\":\"fault\",\"sale\":\"s1\"}}"),
                            .headers = headers,
                            .header_count = 1};
    (void)state;
    struct item *item = lane_test_offer(test, &record);
    item->tries = 2;
    fake_store_fail(test->store, "chain_done", 0, 1, STORE_DATA, "value too long");
    assert_int_equal(lane_test_run(test), 1); /* the plugin's fault */
    assert_int_equal(item->condemned, DEAD_PLUGIN_FAULT);
    assert_false(item->minimal);
    assert_int_equal(lane_test_run(test), 1); /* the dead letter's transaction fails for the data in it */
    assert_true(item->minimal);
    assert_int_equal(test->bus.count, 0);
    assert_int_equal(lane_test_run(test), 1);
    const struct record *dead = assert_dead(test, "order.kept-dlt", 0, "plugin_fault");
    assert_header(dead, "x-mine", NULL);
    assert_header(dead, HEADER_ATTEMPTS, "3");
    assert_int_equal(test->store->tables.chain_count, 0);
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* The database takes not even that: the lane pauses and says so, and goes on trying. */
static void no_dead_letter_at_all(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    fake_store_fail(test->store, "outbox_add", 0, 10, STORE_DATA, "value too long");
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"reject\"}");
    for (int i = 0; i < 10; i++)
        assert_int_equal(lane_test_run(test), 1);
    assert_int_equal(test->sleep_count, 9); /* but for the first, which condemns it */
    assert_int_equal(test->slept_ms[0], 50);
    assert_true(fake_log_has("could not be written, it is tried without headers and chains: value too long"));
    lane_test_run_all(test);
    assert_dead(test, "order.new-dlt", 0, "database");
    assert_string_equal(lane_test_ends(test), "0");
    lane_test_destroy(test);
}

/* What cannot be emitted condemns the event it comes from. */
static void an_output_that_cannot_be_composed(void **state)
{
    struct lane_test *test = lane_test_create(yaml, LANE_TEST_OUTBOX);
    (void)state;
    lane_test_event(test, "order.new", "k", "a", "{\"do\":\"later\"}");
    assert_int_equal(lane_test_run(test), 1);
    assert_string_equal(fake_store_calls(test->store), "begin claim:1 outcomes:1 rollback");
    assert_int_equal(lane_test_run_all(test), 1);
    const struct record *dead = assert_dead(test, "order.new-dlt", 0, "bad_output");
    struct span reason = record_header(dead, HEADER_DLT_REASON);
    assert_non_null(memmem(reason.at, reason.length, "no key for topic order.later", 28));
    assert_int_equal(test->bus.count, 1);
    lane_test_destroy(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_plugin_may_not_do),
        cmocka_unit_test(what_it_may),
        cmocka_unit_test(parameters),
        cmocka_unit_test(a_query_that_is_not_declared),
        cmocka_unit_test(one_of_several),
        cmocka_unit_test(a_fault_of_no_event),
        cmocka_unit_test(what_cannot_be_read),
        cmocka_unit_test(condemned_twice),
        cmocka_unit_test(no_dead_letter_at_all),
        cmocka_unit_test(an_output_that_cannot_be_composed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
