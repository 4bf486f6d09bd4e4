/*
 * test_arena.c - memory by lifetime: alignment, growth, reset, and the end of a process that asks for too much.
 */
#include "child.h"

#include "base/arena.h"

static void test_alloc(void **state)
{
    (void)state;
    struct arena *arena = arena_create(1024, 1 << 20);
    assert_non_null(arena);
    char *before = NULL;
    for (size_t size = 0; size < 300; size++) {
        char *at = arena_alloc(arena, size);
        assert_int_equal((uintptr_t)at % 16, 0);
        assert_ptr_not_equal(at, before);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(at[i], 0);
        memset(at, 0x55, size);
        before = at;
    }
    arena_destroy(arena);
    arena_destroy(NULL);
}

/* Memory handed out again after a reset is zeroed again, and what stood there before is nobody's. */
static void test_reset(void **state)
{
    (void)state;
    struct arena *arena = arena_create(512, 200 * 112 + 100000); /* what a round takes */
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 200; i++) {
            unsigned char *at = arena_alloc(arena, 100);
            for (int j = 0; j < 100; j++)
                assert_int_equal(at[j], 0);
            memset(at, 0xaa, 100);
        }
        arena_alloc(arena, 100000); /* larger than a block */
        arena_reset(arena);
    }
    arena_destroy(arena);
}

/* A list that grows by one item at a time keeps its items, and is copied only when its count is a power of two. */
static void test_grown(void **state)
{
    (void)state;
    struct arena *arena = arena_create(1024, 1 << 20);
    uint32_t *list = NULL;
    for (uint32_t count = 0; count < 1000; count++) {
        uint32_t *before = list;
        list = arena_grown(arena, list, count, sizeof *list);
        assert_true((list == before) == ((count & (count - 1)) != 0));
        list[count] = count;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(list[i], i);
    arena_destroy(arena);
}

/* One large allocation does not push the half-empty block out of use. */
static void test_large(void **state)
{
    (void)state;
    struct arena *arena = arena_create(4096, 1 << 20);
    char *first = arena_alloc(arena, 16);
    char *large = arena_alloc(arena, 100000);
    char *second = arena_alloc(arena, 16);
    memset(large, 1, 100000);
    assert_ptr_equal(second, first + 16);
    char *only = arena_alloc(arena, 200000);
    memset(only, 2, 200000);
    assert_int_equal(large[99999], 1);
    arena_destroy(arena);

    arena = arena_create(4096, 1 << 20);
    large = arena_alloc(arena, 100000); /* as the very first */
    memset(large, 1, 100000);
    second = arena_alloc(arena, 16);
    second[15] = 2;
    assert_int_equal(large[99999], 1);
    arena_destroy(arena);
}

static void test_copies(void **state)
{
    (void)state;
    struct arena *arena = arena_create(256, 1 << 20);
    struct span text = {"abcdef", 3};
    char *string = arena_string(arena, text);
    assert_string_equal(string, "abc");
    struct span span = arena_span(arena, text);
    assert_true(span_equal(span, text));
    assert_ptr_not_equal(span.at, text.at);
    assert_non_null(arena_span(arena, (struct span){NULL, 0}).at);
    assert_string_equal(arena_string(arena, (struct span){NULL, 0}), "");
    assert_string_equal(arena_format(arena, "%d-%s", 5, "x"), "5-x");
    char *longer = arena_format(arena, "%01000d", 7);
    assert_int_equal(strlen(longer), 1000);
    assert_int_equal(longer[999], '7');
    int *numbers = arena_array(arena, int, 3);
    assert_int_equal(numbers[0] + numbers[1] + numbers[2], 0);
    assert_int_equal(*arena_new(arena, long), 0);
    arena_destroy(arena);
}

static void take_too_much(void *context)
{
    struct arena *arena = arena_create(1024, 10000);
    arena_alloc(arena, *(size_t *)context);
    arena_alloc(arena, 5000);
    arena_alloc(arena, 4000);
    arena_alloc(arena, 4000);
}

/* Over the limit the process ends with an exit status, not with a signal that would look like a plugin's fault. */
static void test_limit(void **state)
{
    (void)state;
    static struct child child;
    size_t sizes[] = {0, 20000, SIZE_MAX, SIZE_MAX - 8};
    for (size_t i = 0; i < 4; i++) {
        child_run(&child, take_too_much, &sizes[i]);
        assert_true(WIFEXITED(child.status));
        assert_int_equal(WEXITSTATUS(child.status), 71);
        assert_non_null(strstr(child.said, "the limit of this arena is reached"));
    }
}

/* Up to the limit, to the byte, everything is granted. */
static void test_limit_is_usable(void **state)
{
    (void)state;
    struct arena *arena = arena_create(1024, 4096);
    for (int i = 0; i < 4096 / 64; i++)
        memset(arena_alloc_raw(arena, 64), 1, 64);
    arena_reset(arena);
    memset(arena_alloc_raw(arena, 4096), 1, 4096);
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),           cmocka_unit_test(test_reset),  cmocka_unit_test(test_grown),
        cmocka_unit_test(test_large),           cmocka_unit_test(test_copies), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_limit_is_usable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
