/*
 * test_heap.c - the earliest first, ties in the order they came, and not one item more than the maximum.
 */
#include "check.h"

#include "base/clock.h"
#include "base/heap.h"

static void test_order(void **state)
{
    (void)state;
    struct heap *heap = heap_create(10);
    int items[3];
    assert_int_equal(heap_due(heap), INT64_MAX);
    assert_null(heap_pop(heap, INT64_MAX));
    assert_int_equal(heap_push(heap, 30, &items[2]), 0);
    assert_int_equal(heap_push(heap, -10, &items[0]), 0);
    assert_int_equal(heap_push(heap, 20, &items[1]), 0);
    assert_int_equal(heap_due(heap), -10);
    assert_int_equal(heap_count(heap), 3);
    assert_null(heap_pop(heap, -11));
    assert_ptr_equal(heap_pop(heap, -10), &items[0]);
    assert_null(heap_pop(heap, 19));
    assert_ptr_equal(heap_pop(heap, 100), &items[1]);
    assert_ptr_equal(heap_pop(heap, 100), &items[2]);
    assert_int_equal(heap_count(heap), 0);
    heap_destroy(heap);
    heap_destroy(NULL);
}

static void test_max(void **state)
{
    (void)state;
    struct heap *heap = heap_create(100);
    char items[101];
    for (int i = 0; i < 100; i++)
        assert_int_equal(heap_push(heap, i, &items[i]), 0);
    assert_int_equal(heap_push(heap, 0, &items[100]), -ENOSPC);
    assert_int_equal(heap_count(heap), 100);
    assert_ptr_equal(heap_pop(heap, 0), &items[0]);
    assert_int_equal(heap_push(heap, 0, &items[100]), 0);
    heap_destroy(heap);
}

/* Many pushes and pops against the plain rule: smallest due, then the earliest pushed. */
static void test_against_model(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    static struct {
        int64_t due;
        bool in;
    } model[COUNT];
    struct heap *heap = heap_create(COUNT);
    unsigned random = 12345, pushed = 0;
    size_t count = 0;
    while (pushed < COUNT || count > 0) {
        random = random * 1103515245u + 12345;
        if (pushed < COUNT && (random >> 16) % 3 != 0) {
            model[pushed].due = (random >> 8) % 50;
            model[pushed].in = true;
            assert_int_equal(heap_push(heap, model[pushed].due, &model[pushed]), 0);
            pushed++;
            count++;
        } else {
            int64_t now = (random >> 8) % 60;
            void *expected = NULL;
            int64_t least = INT64_MAX;
            for (unsigned i = 0; i < pushed; i++)
                if (model[i].in && model[i].due < least) {
                    least = model[i].due;
                    expected = &model[i];
                }
            assert_int_equal(heap_due(heap), least);
            if (least > now)
                expected = NULL;
            void *popped = heap_pop(heap, now);
            assert_ptr_equal(popped, expected);
            if (popped != NULL) {
                model[(size_t)((char *)popped - (char *)model) / sizeof model[0]].in = false;
                count--;
            }
        }
        assert_int_equal(heap_count(heap), count);
    }
    heap_destroy(heap);
}

static void test_clock(void **state)
{
    (void)state;
    int64_t first = clock_monotonic_ns(), last = first;
    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_monotonic_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_monotonic_ms() >= first / 1000000);
    assert_true(clock_wall_ms() > 1700000000000); /* milliseconds, and after 2023 */
    assert_true(clock_wall_ms() < 4102444800000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_max),
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
