/* How far two workers are, as they and the master tell each other: never back. */
#include "guard/handover.h"

#include "check.h"
#include "guard/suspects.h"

#include <string.h>

static void test_stages_go_on(void **state)
{
    struct suspects *suspects = suspects_create();
    (void)state;
    assert_non_null(suspects);
    assert_int_equal(handover_stage(suspects), HANDOVER_NONE);
    handover_reach(suspects, HANDOVER_ASKED);
    handover_reach(suspects, HANDOVER_OVER); /* the master: its successor has ended */
    handover_reach(suspects, HANDOVER_RELEASED);
    assert_int_equal(handover_stage(suspects), HANDOVER_OVER);
    suspects_reset(suspects);
    assert_int_equal(handover_stage(suspects), HANDOVER_NONE);
    assert_int_equal(handover_stage(NULL), HANDOVER_NONE);
    handover_reach(NULL, HANDOVER_ASKED);
    suspects_end(suspects);
}

static void test_reasons_are_lines(void **state)
{
    struct suspects *suspects = suspects_create(), *successor = suspects_beside(suspects);
    (void)state;
    assert_non_null(successor);
    handover_make_successor(successor, true);
    assert_true(handover_is_successor(successor));
    assert_false(handover_is_successor(suspects));
    handover_refuse(successor, "the first");
    handover_refuse(successor, "the second");
    assert_string_equal(handover_why(successor), "the first\nthe second");
    assert_string_equal(handover_why(suspects), "");
    char longer[HANDOVER_WHY_MAX + 100];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    handover_refuse(successor, longer);
    assert_int_equal(strlen(handover_why(successor)), HANDOVER_WHY_MAX - 1);
    suspects_end(successor);
    suspects_end(suspects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stages_go_on), cmocka_unit_test(test_reasons_are_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
