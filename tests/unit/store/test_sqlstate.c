/*
 * test_sqlstate.c - the parts of the class table that no server can be made to say, and the words a plugin may not use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/connection/connection.h"

static void what_is_not_in_the_table_is_an_outage(void **state)
{
    (void)state;
    static const char *const unknown[] = {"00000", "ZZZZZ", "99999", "", "P0002", "2D000", "25P02", "XX001", "F0000"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(sqlstate_class(unknown[i], SQLSTATE_ENGINE), STORE_DOWN);
        assert_int_equal(sqlstate_class(unknown[i], SQLSTATE_PLUGIN), STORE_DOWN);
        assert_int_equal(sqlstate_class(unknown[i], SQLSTATE_COMMIT), STORE_DOWN);
    }
    assert_int_equal(sqlstate_class(NULL, SQLSTATE_ENGINE), STORE_DOWN);
}

static void a_whole_state_counts_before_its_class(void **state)
{
    (void)state;
    assert_int_equal(sqlstate_class("57014", SQLSTATE_ENGINE), STORE_TRANSIENT); /* 57 is an outage */
    assert_int_equal(sqlstate_class("57015", SQLSTATE_ENGINE), STORE_DOWN);
    assert_int_equal(sqlstate_class("25P03", SQLSTATE_COMMIT), STORE_UNKNOWN);
    assert_int_equal(sqlstate_class("25P03", SQLSTATE_PLUGIN), STORE_DOWN);
    assert_int_equal(sqlstate_class("42P01", SQLSTATE_ENGINE), STORE_DEPLOY);
    assert_int_equal(sqlstate_class("42P01", SQLSTATE_PLUGIN), STORE_DATA);
    assert_int_equal(sqlstate_class("P0001", SQLSTATE_PLUGIN), STORE_DATA);
    assert_int_equal(sqlstate_class("P0001", SQLSTATE_ENGINE), STORE_DOWN);
}

static void every_result_has_a_word_and_a_code(void **state)
{
    (void)state;
    static const char *const words[] = {"ok", "transient", "down", "unknown", "data", "deploy", "fenced"};
    for (int i = STORE_OK; i <= STORE_FENCED; i++) {
        assert_string_equal(store_result_word((enum store_result)i), words[i]);
        assert_int_equal(store_result_errno((enum store_result)i) > 0, i != STORE_OK);
        for (int other = STORE_OK; other < i; other++)
            assert_int_not_equal(store_result_errno((enum store_result)i),
                                 store_result_errno((enum store_result)other));
    }
}

static void words_that_end_a_transaction(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "COMMIT",
        "commit;",
        "  \n\tRollback TO a",
        "END",
        "ABORT",
        "begin",
        "START TRANSACTION",
        "SAVEPOINT s",
        "RELEASE s",
        "PREPARE TRANSACTION 'x'",
        "SET search_path = a",
        "RESET ALL",
        "DISCARD ALL",
        "DEALLOCATE s1",
        "LISTEN x",
        "/* /* */ */COMMIT",
        "-- words\nCOMMIT",
        "--\n/**/ -- \n ; (commit",
        "set/**/x = 1",
        "SET localized = 1",
    };
    static const char *const allowed[] = {
        "SELECT 1",
        "WITH a AS (SELECT 1) SELECT 1",
        "INSERT INTO commit VALUES (1)",
        "UPDATE t SET a = 1",
        "ENDPOINT",
        "set_config('a', 'b', true)",
        "SET LOCAL work_mem = '1MB'",
        "set -- \n local a = 1",
        "commit_2()",
        "",
        "/* COMMIT",
        "-- COMMIT",
        "begin$",
        "",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!sqlstate_transaction_word(refused[i]))
            fail_msg("allowed: %s", refused[i]);
    }
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (sqlstate_transaction_word(allowed[i]))
            fail_msg("refused: %s", allowed[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_in_the_table_is_an_outage),
        cmocka_unit_test(a_whole_state_counts_before_its_class),
        cmocka_unit_test(every_result_has_a_word_and_a_code),
        cmocka_unit_test(words_that_end_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
