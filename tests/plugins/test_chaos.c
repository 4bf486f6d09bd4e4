/*
 * test_chaos.c - the plugin `chaos` against the fake host: test_chaos [LIBRARY]
 *
 * Shows that chaos does what its modes say, and that the fake host catches what a plugin may not do.
 */
#include "plugin_test.h"

static const char *library;
static struct fake_host *host;

/* One event of `mode`, with a path that says more; its result. */
static const struct fake_result *act_at(const char *handler, const char *mode, const char *path)
{
    char data[256];
    snprintf(data, sizeof data, "{\"mode\": \"%s\", \"path\": \"%s\"}", mode, path);
    return fake_call(host, handler, 1, &(struct fake_event){.data = data});
}

/* One event of `mode`; its result. */
static const struct fake_result *act(const char *handler, const char *mode, int n, int attempt)
{
    char data[256];
    snprintf(data, sizeof data, "{\"mode\": \"%s\", \"n\": %d}", mode, n);
    return fake_call(host, handler, 1, &(struct fake_event){.data = data, .attempt = attempt});
}

static void expect_fault(const char *mode, const char *sentence)
{
    const char *fault = fake_fault(host);
    if (fault == NULL || strstr(fault, sentence) == NULL)
        fail_msg("mode %s: wanted the fault '%s', got '%s'", mode, sentence, fault == NULL ? "none" : fault);
}

static void faulty_n(const char *handler, const char *mode, int n, const char *sentence)
{
    act(handler, mode, n, 1);
    expect_fault(mode, sentence);
}

static void faulty(const char *handler, const char *mode, const char *sentence)
{
    faulty_n(handler, mode, 1, sentence);
}

static void verdicts(void **state)
{
    (void)state;
    fake_expect_outcome(act("act", "ok", 1, 1), "ok");
    fake_expect_outcome(act("act", "other", 1, 1), "other");
    fake_expect_outcome(act("act", "changed_mind", 1, 1), "ok");
    fake_expect_why(act("act", "reject", 1, 1), FAKE_REJECT, "on demand");
    fake_expect_why(act("act", "retry_n", 2, 2), FAKE_RETRY, "not yet");
    fake_expect_outcome(act("act", "retry_n", 2, 3), "ok");
    fake_expect_why(act("act", "last_reject", 1, 1), FAKE_REJECT, "in the end");
    fake_expect_why(act("act", "last_retry", 1, 1), FAKE_RETRY, "in the end");
    fake_expect_outcome(act("act", "last_retry", 1, 2), "ok");
    fake_expect_why(act("act", "no_words", 1, 1), FAKE_REJECT, "no reason given");
}

static void faults(void **state)
{
    (void)state;
    faulty("act", "no_outcome", "returned without an outcome for this event");
    faulty("act", "bad_outcome_index", "gave outcome 77; it declares 2");
    faulty("act", "bad_event_index", "called outcome() for event 1001 of a call that has 1");
    faulty("act", "invalid_utf8", "set field 'note' to what is no valid JSON or UTF-8");
    faulty("act", "invalid_json", "set field 'blob' to what is no valid JSON or UTF-8");
    faulty("act", "undeclared_set", "set field 'surprise', which it does not declare in its `sets`");
    faulty("act", "set_integer_as_note", "set field 'note' to 7; its `sets` declare text");
    faulty("act", "set_text_as_number", "set field 'number' to \"x\"; its `sets` declare int64");
    faulty("act", "set_fraction_as_number", "set field 'number' to 7.5; its `sets` declare int64");
    faulty("act", "set_huge_as_number", "set field 'number' to 9223372036854775808; its `sets` declare int64");
    faulty("act", "set_text_as_ratio", "set field 'ratio' to \"x\"; its `sets` declare double");
    faulty("act", "set_integer_as_flag", "set field 'flag' to 7; its `sets` declare bool");
    faulty("act", "set_object_as_note", "set field 'note' to {\"a\":1}; its `sets` declare text");
    faulty("act", "set_nan", "set field 'ratio' to nan, which is no number in JSON");
    faulty_n("act", "set_bool_as", 2, "set field 'flag' to the bool 2, expected 0 or 1");
    faulty("act", "reply", "replied 200; a request's handler replies 200..599, others do not");
    faulty("act", "sql_ok", "query() without having declared uses_store");
    fake_answer(host, "'text'", "[[1, \"text\", null]]");
    faulty("act_sql", "sql_bad_cell", "for row 5, column 5 of an answer of 1 rows and 3 columns");
    fake_answer(host, "1 / 0", NULL);
    faulty("act_sql", "sql_after_failure", "called query() again after a statement failed");
    faulty("ask", "no_reply", "returned without a reply");
    faulty("ask", "bad_reply", "replied with what is no valid JSON");
    faulty("ask", "bad_status", "replied 99;");
    faulty_n("ask", "reply_status", 199, "replied 199;");
    faulty_n("ask", "reply_status", 600, "replied 600;");
}

static void more_faults(void **state)
{
    static const char *const functions[] = {"outcome", "retry", "reject", "set_text", "set_int64", "set_json", "reply"};
    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        act_at("act", "bad_index", functions[i]);
        expect_fault(functions[i], "() for event 1001 of a call that has 1");
    }
    faulty("act", "added_outcome", "called outcome() for event 1 of a call that has 1");
    faulty("act", "bad_add", "added outcome 77; it declares 2");
    faulty_n("act", "name_length", -1, "called set_int64() without a field name of 1..128 bytes");
    faulty_n("act", "name_length", 0, "called set_int64() without a field name of 1..128 bytes");
    faulty_n("act", "huge_set", 65535, "set field 'note' to 65537 bytes; the most is 65536");
    faulty_n("act", "set_controls", 20000, "set field 'note' to 120002 bytes; the most is 65536");
    faulty_n("act_sql", "sql_params", 65, "with 65 parameters; the most is 64");
    faulty("act_sql", "sql_bad_offset", "a parameter $1 that has no valid form and type");
    faulty("act_sql", "sql_no_value", "a parameter $1 that has no valid form and type");
    faulty("act_sql", "sql_no_statement", "with no statement");
}

/* tests/process/test_engine_contract.py asks the same of the types of a real PostgreSQL. */
static void cells(void **state)
{
    static const struct {
        const char *mode, *rows, *sentence;
    } bad[] = {
        {"sql_int_as_text", "[[1]]", "called get_text() for column 0, which has another type"},
        {"sql_int_as_double", "[[1]]", "called get_double() for column 0, which has another type"},
        {"sql_text_as_int", "[[\"1\"]]", "called get_int64() for column 0, which has another type"},
        {"sql_row_too_far", "[[1]]", "called get_int64() for row 1, column 0 of an answer of 1 rows and 1 columns"},
        {"sql_column_too_far", "[[1]]", "called get_int64() for row 0, column 1"},
        {"sql_null_too_far", "[[1]]", "called is_null() for row 1, column 0"},
        {"sql_text_too_far", "[[\"x\"]]", "called get_text() for row 0, column 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fake_answer(host, "into kept", bad[i].rows);
        faulty("act_sql", bad[i].mode, bad[i].sentence);
    }
    fake_answer(host, "into kept", "[[null]]");
    fake_expect_outcome(act("act_sql", "sql_null", 1, 1), "ok");
    fake_answer(host, "select 2::bigint", "[[2]]");
    fake_answer(host, "'first'", "[[\"first\", \"\", null]]");
    fake_expect_outcome(act("act_sql", "sql_two_answers", 1, 1), "ok");
}

/* What follows a fault in a call gets no answer, and is not at fault for it. */
static void after_a_fault(void **state)
{
    const struct fake_event events[] = {{.data = "{\"mode\": \"bad_outcome_index\"}"},
                                        {.data = "{\"mode\": \"sql_ok\"}"}};
    (void)state;
    fake_answer(host, "select 1::bigint", "[[1]]");
    const struct fake_result *results = fake_call(host, "act_sql", 2, events);
    expect_fault("bad_outcome_index", "gave outcome 77");
    if (fake_query_count(host) != 0)
        fail_msg("a statement was run after a fault");
    fake_expect_why(&results[1], FAKE_STATEMENT_FAILED, "gave outcome 77");
}

static void fields(void **state)
{
    (void)state;
    fake_expect_set(act("act", "set_twice", 1, 1), "number", "2");
    fake_expect_set(act("act", "set_twice", 1, 1), "note", "\"\"");
    fake_expect_set(act("act", "set_null", 1, 1), "note", "null");
    fake_expect_set(act("act", "set_double_as", 1, 1), "ratio", "0.1");
    fake_expect_set(act("act", "set_bool_as", 0, 1), "flag", "false");
    fake_expect_set(act("act", "set_bool_as", 1, 1), "flag", "true");
    act("act", "huge_set", 65534, 1);
    fake_expect_set(act("act", "seen", 1, 1), "note", "\"event-0|test.topic||test.topic|1|-1|0|104\"");
    /* its clock does not move with the world's */
    fake_expect_outcome(act("act", "times", 1, 1), "other");
    fake_expect_set(act("act", "times", 1, 1), "number", "10000");
}

static void statements(void **state)
{
    (void)state;
    fake_answer(host, "select 1::bigint", "[[1]]");
    fake_expect_outcome(act("act_sql", "sql_ok", 1, 1), "ok");
    fake_expect_why(act("act_sql", "sql_error", 1, 1), FAKE_STATEMENT_FAILED, "as the test asked");
    fake_expect_why(act("act_sql", "sql_bad_param", 1, 1), FAKE_STATEMENT_FAILED, "$1 is no JSON");
    fake_answer(host, "select $1::bigint", "[[561]]");
    fake_expect_outcome(act("act_sql", "sql_params", 33, 1), "ok");
    fake_answer(host, "select $1::bigint", "[[2080]]");
    fake_expect_outcome(act("act_sql", "sql_params", 64, 1), "ok");
}

static void adds(void **state)
{
    (void)state;
    const struct fake_result *results = act("act", "many_adds", 10005, 1);
    if (fake_result_count(host) != 1 + 10000)
        fail_msg("wanted 10001 results, got %zu", fake_result_count(host));
    fake_expect_set(&results[10000], "number", "9999");
    results = fake_call(host, "tick", 1, NULL);
    fake_expect_outcome(&results[1], "ok");
    fake_expect_set(&results[1], "number", "0");
}

static void opening(void **state)
{
    (void)state;
    const char *why = fake_host_refusal(library, "{\"open\": \"fail\"}");
    if (why == NULL || strcmp(why, "it fails on demand") != 0)
        fail_msg("open: fail: got '%s'", why == NULL ? "nothing" : why);
    if (fake_host_refusal(library, "{\"open\": \"silent\"}") == NULL ||
        fake_host_refusal(library, "{\"open\": \"yes\"}") == NULL ||
        fake_host_refusal(library, "{\"opne\": \"ok\"}") == NULL)
        fail_msg("what must be refused was not");
}

static int host_open(void **state)
{
    (void)state;
    host = fake_host_open(library, "{\"adds\": 1}");
    return 0;
}

static int host_close(void **state)
{
    (void)state;
    fake_host_close(host);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts), cmocka_unit_test(faults),        cmocka_unit_test(more_faults),
        cmocka_unit_test(cells),    cmocka_unit_test(after_a_fault), cmocka_unit_test(statements),
        cmocka_unit_test(fields),   cmocka_unit_test(adds),          cmocka_unit_test(opening),
    };
    library = plugin_test_library(argc, argv, "../tests/plugins/chaos");
    return cmocka_run_group_tests(tests, host_open, host_close);
}
