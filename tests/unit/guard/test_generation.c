/* When the next worker starts. */
#include "guard/generation.h"

#include "base/clock.h"
#include "check.h"

#include <signal.h>

static int64_t pause_after(struct generation *generation, int64_t lived_ms)
{
    struct process_ending ending = {.kind = ENDING_SIGNAL, .number = SIGKILL, .lane = -1};
    generation->worker.born_ms = clock_monotonic_ms() - lived_ms;
    generation_judge(generation, &ending);
    return generation->pause_ms;
}

static void test_the_first_short_life_is_not_waited_for(void **state)
{
    struct generation generation = {.suspects = suspects_create()};
    (void)state;
    assert_non_null(generation.suspects);
    assert_int_equal(pause_after(&generation, 0), 0);
    assert_int_equal(pause_after(&generation, 0), 100);
    assert_int_equal(pause_after(&generation, 0), 200);
    assert_int_equal(pause_after(&generation, 60000), 0);
    assert_int_equal(pause_after(&generation, 0), 0);
    for (int i = 0; i < 20; i++)
        pause_after(&generation, 0);
    assert_int_equal(pause_after(&generation, 0), 5000);
    suspects_end(generation.suspects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_first_short_life_is_not_waited_for)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
