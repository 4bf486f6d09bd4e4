/*
 * test_map.c - both maps against a plain array, through growth and through removals that move neighbours.
 */
#include "check.h"

#include "base/map.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 3000, STEPS = 60000 };

static char key_text[KEYS][16];

static struct span key_of(unsigned i)
{
    snprintf(key_text[i], sizeof key_text[i], "k%u", i);
    return span_of(key_text[i]);
}

static unsigned next_random(unsigned *random)
{
    *random = *random * 1103515245u + 12345;
    return *random >> 8;
}

static void test_map_against_model(void **state)
{
    (void)state;
    static void *model[KEYS];
    static char values[7];
    memset(model, 0, sizeof model);
    struct map *map = map_create(0);
    unsigned random = 1;
    for (int step = 0; step < STEPS; step++) {
        unsigned key = next_random(&random) % KEYS;
        void *value = &values[next_random(&random) % 7];
        if ((int)(next_random(&random) % STEPS) < step) {
            assert_ptr_equal(map_set(map, key_of(key), value), model[key]);
            model[key] = value;
        }
        key = next_random(&random) % KEYS;
        assert_ptr_equal(map_get(map, key_of(key)), model[key]);
    }
    for (unsigned i = 0; i < KEYS; i++)
        assert_ptr_equal(map_get(map, key_of(i)), model[i]);
    map_destroy(map);
    map_destroy(NULL);
}

static void test_intmap_against_model(void **state)
{
    (void)state;
    /* Keys that lie close together, far apart, and in the upper bits only. */
    static const unsigned shifts[] = {0, 3, 32, 52};
    static void *model[KEYS];
    static char values[7];
    for (size_t s = 0; s < 4; s++) {
        memset(model, 0, sizeof model);
        struct intmap *map = intmap_create(s * 100);
        unsigned random = 7;
        size_t count = 0;
        for (int step = 0; step < STEPS; step++) {
            unsigned key = next_random(&random) % KEYS;
            void *value = &values[next_random(&random) % 7];
            if ((int)(next_random(&random) % STEPS) > step / 2 + STEPS / 4) {
                assert_ptr_equal(intmap_set(map, (uint64_t)key << shifts[s], value), model[key]);
                count += model[key] == NULL;
                model[key] = value;
            } else {
                assert_ptr_equal(intmap_remove(map, (uint64_t)key << shifts[s]), model[key]);
                count -= model[key] != NULL;
                model[key] = NULL;
            }
            assert_int_equal(intmap_count(map), count);
            key = next_random(&random) % KEYS;
            assert_ptr_equal(intmap_get(map, (uint64_t)key << shifts[s]), model[key]);
        }
        size_t cursor = 0, walked = 0;
        uint64_t key;
        void *value;
        while (intmap_next(map, &cursor, &key, &value)) {
            assert_ptr_equal(model[key >> shifts[s]], value);
            model[key >> shifts[s]] = NULL;
            walked++;
        }
        assert_int_equal(walked, count);
        intmap_destroy(map);
    }
    intmap_destroy(NULL);
}

static void test_odd_keys(void **state)
{
    (void)state;
    struct map *map = map_create(100);
    int one, two, three;
    assert_null(map_get(map, (struct span){NULL, 0}));
    assert_null(map_set(map, (struct span){NULL, 0}, &one));
    assert_ptr_equal(map_get(map, SPAN("")), &one);
    assert_null(map_set(map, SPAN("a\0b"), &two));
    assert_null(map_set(map, SPAN("a\0c"), &three));
    assert_ptr_equal(map_get(map, SPAN("a\0b")), &two);
    assert_null(map_get(map, SPAN("a")));
    map_destroy(map);

    struct intmap *ints = intmap_create(0);
    assert_null(intmap_set(ints, 0, &one));
    assert_null(intmap_set(ints, UINT64_MAX, &two));
    assert_ptr_equal(intmap_get(ints, 0), &one);
    assert_ptr_equal(intmap_get(ints, UINT64_MAX), &two);
    assert_null(intmap_remove(ints, 5));
    intmap_destroy(ints);
}

/* Both kinds begin with a pointer to their table; a map of nothing has 16 slots, of 32 bytes and of 16. */
static void write_over(void *map, size_t bytes)
{
    memset(*(void **)map, 0x5a, bytes);
}

static void get(void)
{
    struct map *map = map_create(0);
    write_over(map, 16 * 32);
    (void)map_get(map, SPAN("a"));
}

static void get_int(void)
{
    struct intmap *map = intmap_create(0);
    write_over(map, 16 * 16);
    (void)intmap_get(map, 1);
}

static void remove_int(void)
{
    struct intmap *map = intmap_create(0);
    write_over(map, 16 * 16);
    (void)intmap_remove(map, 0x5a5a5a5a5a5a5a5a);
}

/* A plugin may have written over a map: the process ends then, it does not look for ever. */
static void test_written_over(void **state)
{
    static void (*const acts[])(void) = {get, get_int, remove_int};
    (void)state;
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            acts[i]();
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_against_model),
        cmocka_unit_test(test_intmap_against_model),
        cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_written_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
