/*
 * test_chaos.c - the plugin `chaos` against the fake host: test_chaos [LIBRARY]
 *
 * Shows that chaos does what its modes say, and that the fake host catches what a plugin may not do.
 */
#include "plugin_test.h"

static const char *library;
static struct fake_host *host;

/* One event of `mode`; its result. */
static const struct fake_result *act(const char *handler, const char *mode, int n, int attempt)
{
    char data[256];
    snprintf(data, sizeof data, "{\"mode\": \"%s\", \"n\": %d}", mode, n);
    return fake_call(host, handler, 1, &(struct fake_event){.data = data, .attempt = attempt});
}

static void faulty(const char *handler, const char *mode, const char *sentence)
{
    act(handler, mode, 1, 1);
    const char *fault = fake_fault(host);
    if (fault == NULL || strstr(fault, sentence) == NULL)
        fail_msg("mode %s: wanted the fault '%s', got '%s'", mode, sentence, fault == NULL ? "none" : fault);
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
}

static void faults(void **state)
{
    (void)state;
    faulty("act", "no_outcome", "event 0 was left without an outcome");
    faulty("act", "bad_outcome_index", "declares 2 outcomes, there is no 77");
    faulty("act", "bad_event_index", "there is no event 1001 in a call of 1");
    faulty("act", "invalid_utf8", "'note' is not UTF-8");
    faulty("act", "invalid_json", "'blob' is no JSON");
    faulty("act", "undeclared_set", "does not declare a field 'surprise'");
    faulty("act", "reply", "is not of requests");
    faulty("act", "sql_ok", "does not declare uses_store");
    faulty("act_sql", "sql_bad_param", "$1 is not what its form and type say");
    fake_answer(host, "'text'", "[[1, \"text\", null]]");
    faulty("act_sql", "sql_bad_cell", "there is no row 5, column 5 in an answer of 1 rows, 3 columns");
    fake_answer(host, "1 / 0", NULL);
    faulty("act_sql", "sql_after_failure", "called again after a statement failed");
    faulty("ask", "no_reply", "request 0 was left without a reply");
    faulty("ask", "bad_reply", "the body is no JSON");
    faulty("ask", "bad_status", "99 is no final HTTP status");
}

static void statements(void **state)
{
    (void)state;
    fake_answer(host, "select 1::bigint", "[[1]]");
    fake_expect_outcome(act("act_sql", "sql_ok", 1, 1), "ok");
    fake_expect_why(act("act_sql", "sql_error", 1, 1), FAKE_STATEMENT_FAILED, "as the test asked");
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
        cmocka_unit_test(verdicts), cmocka_unit_test(faults),  cmocka_unit_test(statements),
        cmocka_unit_test(adds),     cmocka_unit_test(opening),
    };
    library = plugin_test_library(argc, argv, "../tests/plugins/chaos");
    return cmocka_run_group_tests(tests, host_open, host_close);
}
