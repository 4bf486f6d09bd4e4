/*
 * test_random.c - numbers in [0, 1), spread evenly, the same for the same seed.
 */
#include "check.h"

#include "base/random.h"

static void test_range(void **state)
{
    (void)state;
    enum { NUMBERS = 100000, PARTS = 10 };
    uint64_t word = 1;
    int parts[PARTS] = {0};
    for (int i = 0; i < NUMBERS; i++) {
        double number = random_unit(&word);
        assert_true(number >= 0 && number < 1);
        parts[(int)(number * PARTS)]++;
    }
    for (int i = 0; i < PARTS; i++)
        assert_in_range(parts[i], NUMBERS / PARTS * 9 / 10, NUMBERS / PARTS * 11 / 10);
}

static void test_seed(void **state)
{
    (void)state;
    uint64_t one = 42, same = 42, other = 43;
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        double number = random_unit(&one);
        assert_true(number == random_unit(&same));
        differs |= number != random_unit(&other);
    }
    assert_true(differs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
