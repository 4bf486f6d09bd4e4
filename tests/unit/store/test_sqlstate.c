/*
 * test_sqlstate.c - the table of classes, and the words a plugin may not use.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/connection/connection.h"

/* Every class of PostgreSQL's appendix A, and what is in none. */
static void each_class(void **state)
{
    (void)state;
    enum { D = STORE_DATA, R = STORE_REFUSED, W = STORE_DOWN, T = STORE_TRANSIENT, S = STORE_DEPLOY };
    static const struct {
        const char *states; /* a space between two */
        int engine, plugin, commit;
    } classes[] = {
        /* outages, the whole list */
        {"08000 08003 08006 08P01 53000 53100 53200 53300 57000 57P01 57P02 57P03 57P05 58000 58030 26000 42P05", W, W,
         W},
        {"25006", W, D, W},
        {"40000 40001 40P01 40003 55P03", T, T, T},
        /* limits of time */
        {"57014", T, STORE_DEADLINE, T},
        {"25P03 25P04", STORE_DEADLINE, STORE_DEADLINE, STORE_UNKNOWN},
        /* no event could pass */
        {"42P01 42703 42883 42501 42601 42704 42804 42P10 3F000 0A000", S, R, D},
        {"58P01", W, R, D},
        /* data, also the engine's */
        {"22003 22021 22P05 23502 23503 23505 23514 23P01 54000 54001", D, D, D},
        /* everything else */
        {"03000 09000 0B000 0F000 0L000 0P000 0Z000 20000 21000 24000 25000 25001 25P02 27000 28000 2B000 2D000 2F000 "
         "34000 38000 39000 3B000 3D000 44000 45000 53400 55000 55006 55P02 72000 F0000 HV000 P0000 P0001 P0002 P0003 "
         "P0004 XX000 XX001 XX002 00000 01000 02000 ZZZZZ 99999",
         W, D, D},
    };
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        for (const char *at = classes[i].states; *at != '\0'; at += at[5] == ' ' ? 6 : 5) {
            char code[6] = "";
            memcpy(code, at, 5);
            if (sqlstate_class(code, SQLSTATE_ENGINE) != (enum store_result)classes[i].engine ||
                sqlstate_class(code, SQLSTATE_PLUGIN) != (enum store_result)classes[i].plugin ||
                sqlstate_class(code, SQLSTATE_COMMIT) != (enum store_result)classes[i].commit)
                fail_msg("%s: %s, %s, %s", code, store_result_word(sqlstate_class(code, SQLSTATE_ENGINE)),
                         store_result_word(sqlstate_class(code, SQLSTATE_PLUGIN)),
                         store_result_word(sqlstate_class(code, SQLSTATE_COMMIT)));
        }
    assert_int_equal(sqlstate_class("", SQLSTATE_PLUGIN), STORE_DATA);
}

static void every_result_has_a_word_and_a_code(void **state)
{
    (void)state;
    static const char *const words[] = {"ok",      "transient", "down",   "unknown", "data",
                                        "refused", "deadline",  "deploy", "fenced"};
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
        cmocka_unit_test(each_class),
        cmocka_unit_test(every_result_has_a_word_and_a_code),
        cmocka_unit_test(words_that_end_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
