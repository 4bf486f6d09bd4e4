/* verdict.c: every row, and the rules that tie the columns together, for every verdict there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "flow/verdict.h"

/* claim, keeps_claim, keeps_reply, output, chains, replies, holds_key, counts_try, parking, way */
#define NO 0
#define YES 1
static const struct verdict_row wanted[VERDICT_COUNT] = {
    [VERDICT_NONE] = {"none", CLAIM_IF_RECORDED, NO, NO, NO, NO, YES, NO, NO, NO, WAY_REQUEUE},
    [VERDICT_OUTCOME] = {"outcome", NO, YES, YES, OUTPUT_ROUTES, YES, YES, NO, NO, NO, WAY_DONE},
    [VERDICT_NO_OUTCOME] = {"no outcome", NO, YES, YES, OUTPUT_ROUTES, NO, YES, NO, NO, NO, WAY_DONE},
    [VERDICT_NO_HANDLER] = {"no handler", CLAIM_IF_WATCHED, YES, NO, NO, YES, NO, NO, NO, NO, WAY_DONE},
    [VERDICT_RETRY] = {"retry", NO, NO, NO, NO, NO, NO, YES, YES, NO, WAY_RETRY},
    [VERDICT_DELAY] = {"delay", NO, NO, NO, NO, NO, NO, YES, NO, NO, WAY_RETRY},
    [VERDICT_HOLD_RETRY] = {"hold, retry", NO, NO, NO, NO, NO, NO, YES, YES, PARKING_HEAD, WAY_STORED},
    [VERDICT_HOLD_DELAY] = {"hold, delay", NO, NO, NO, NO, NO, NO, YES, NO, PARKING_HEAD, WAY_STORED},
    [VERDICT_BEHIND] = {"behind", NO, NO, NO, NO, NO, NO, YES, NO, PARKING_BEHIND, WAY_STORED},
    [VERDICT_PARK_RETRY] = {"park, retry", NO, NO, NO, NO, NO, NO, NO, YES, PARKING_UNTIL_DUE, WAY_DONE},
    [VERDICT_PARK] = {"park", NO, NO, NO, NO, NO, NO, NO, NO, PARKING_UNTIL_DUE, WAY_DONE},
    [VERDICT_WAIT] = {"wait", NO, NO, NO, NO, NO, NO, NO, NO, NO, WAY_WAIT},
    [VERDICT_UNKNOWN] = {"unknown name", NO, NO, NO, NO, NO, NO, NO, NO, PARKING_UNKNOWN, WAY_DONE},
    [VERDICT_PARK_PAUSED] = {"park, paused", NO, NO, NO, NO, NO, NO, NO, NO, PARKING_PAUSED, WAY_DONE},
    [VERDICT_STUCK] = {"stuck", NO, NO, NO, NO, NO, NO, NO, NO, PARKING_STUCK, WAY_DONE},
    [VERDICT_DEAD] = {"dead", CLAIM_ALWAYS, YES, NO, OUTPUT_DEAD_LETTER, YES, NO, NO, NO, NO, WAY_DONE},
    [VERDICT_DUPLICATE] = {"duplicate", NO, NO, NO, NO, NO, NO, NO, NO, NO, WAY_DONE},
    [VERDICT_FOR_OTHERS] = {"for others", NO, NO, NO, NO, NO, NO, NO, NO, NO, WAY_DONE},
    [VERDICT_REFUSED] = {"refused", NO, NO, NO, NO, NO, NO, NO, NO, NO, WAY_DONE},
    [VERDICT_REQUEUE] = {"requeue", NO, NO, NO, NO, NO, NO, YES, NO, NO, WAY_REQUEUE},
    [VERDICT_ISOLATE] = {"isolate", NO, NO, NO, NO, NO, NO, YES, NO, NO, WAY_ISOLATE},
};

static void every_row(void **state)
{
    (void)state;
    for (int v = 0; v < VERDICT_COUNT; v++) {
        const struct verdict_row *row = &verdict_rows[v], *want = &wanted[v];
        assert_non_null(row->word);
        assert_string_equal(row->word, want->word);
        assert_int_equal(row->claim, want->claim);
        assert_int_equal(row->keeps_claim, want->keeps_claim);
        assert_int_equal(row->keeps_reply, want->keeps_reply);
        assert_int_equal(row->output, want->output);
        assert_int_equal(row->chains, want->chains);
        assert_int_equal(row->replies, want->replies);
        assert_int_equal(row->holds_key, want->holds_key);
        assert_int_equal(row->counts_try, want->counts_try);
        assert_int_equal(row->parking, want->parking);
        assert_int_equal(row->way, want->way);
    }
}

static void words_are_different(void **state)
{
    (void)state;
    for (int a = 0; a < VERDICT_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(verdict_rows[a].word, verdict_rows[b].word);
}

/* What the promise rests on. NONE is left out: every work has another verdict when its batch commits. */
static void the_columns_agree(void **state)
{
    (void)state;
    for (int v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++) {
        const struct verdict_row *row = &verdict_rows[v];
        bool done = row->way == WAY_DONE, stored = row->way == WAY_STORED;
        /* An event that comes again must find no claim of its own, or it would be its own duplicate. */
        assert_true(!row->keeps_claim || (done && row->parking == PARKING_NONE));
        assert_true(!row->keeps_reply || row->keeps_claim);
        /* What is emitted or told to chains is guarded by the claim: it happens once. */
        assert_true(row->output == OUTPUT_NOTHING || row->keeps_claim);
        assert_true(!row->chains || row->keeps_claim);
        /* What has not ended, and is not delayed without its key, holds its key; and only that. */
        assert_int_equal(row->holds_key, !done && row->way != WAY_WAIT);
        /* Only a failed try is counted, and it is tried again. */
        assert_true(!row->counts_try || row->way == WAY_RETRY || row->parking != PARKING_NONE);
        /* What is parked is complete on its stream: it comes from the database. */
        assert_true(row->parking == PARKING_NONE || done || stored);
        /* Rows in the order of a key are those of what is stored, no others. */
        assert_int_equal(row->parking == PARKING_HEAD || row->parking == PARKING_BEHIND, stored);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row), cmocka_unit_test(words_are_different),
                                       cmocka_unit_test(the_columns_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
