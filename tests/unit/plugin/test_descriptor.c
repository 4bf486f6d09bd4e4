/*
 * test_descriptor.c - versions of the contract: an older minor loads by its own sizes, a newer one is refused.
 *
 * An engine of ABI 1.1 is played, whose structs are today's; a plugin of ABI 1.0 with smaller rows is made by hand.
 */
#include "plugin/descriptor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What an older header had: every struct ends earlier. */
struct old_field {
    const char *name, *help, *fallback, *choices;
    size_t offset;
    int64_t min, max;
    uint32_t type, flags;
};
struct old_outcome {
    const char *name;
};
struct old_handler {
    const char *name, *help;
    const struct old_field *input;
    const struct old_outcome *outcomes;
    const struct old_field *sets;
    size_t input_size;
    void (*handle)(void *state, struct sluice_call *call);
    uint32_t max_events, kind;
};

static const struct abi_sizes sizes[] = {
    {sizeof(struct sluice_plugin), sizeof(struct old_handler), sizeof(struct old_field), sizeof(struct old_outcome)},
    {sizeof(struct sluice_plugin), sizeof(struct sluice_handler), sizeof(struct sluice_field),
     sizeof(struct sluice_outcome)},
};
static const struct abi newer_engine = {1, 1, sizes, 0x77, NULL};

static void handle(void *state, struct sluice_call *call)
{
    (void)state;
    (void)call;
}

static const struct old_field old_input[] = {
    {.name = "first", .type = SLUICE_TYPE_INT64, .offset = 0, .min = 1, .max = 9},
    {.name = "second", .type = SLUICE_TYPE_TEXT, .offset = 8, .flags = SLUICE_OPTIONAL, .fallback = "x"},
    {0},
};
static const struct old_outcome old_outcomes[] = {{"done"}, {"other"}, {0}};
static const struct old_handler old_handlers[] = {
    {.name = "one", .input = old_input, .input_size = 24, .outcomes = old_outcomes, .max_events = 1, .handle = handle},
    {.name = "two", .outcomes = old_outcomes, .max_events = 2, .handle = handle},
    {0},
};

static struct sluice_plugin old_plugin(void)
{
    return (struct sluice_plugin){.magic = SLUICE_MAGIC,
                                  .abi_major = 1,
                                  .abi_minor = 0,
                                  .size = sizes[0].plugin,
                                  .handler_size = sizes[0].handler,
                                  .field_size = sizes[0].field,
                                  .outcome_size = sizes[0].outcome,
                                  .name = "old",
                                  .version = "1",
                                  .handlers = (const struct sluice_handler *)(const void *)old_handlers};
}

static int copy(const struct sluice_plugin *from, const struct abi *abi, struct arena *arena,
                const struct sluice_plugin **ret, struct error *error)
{
    *error = (struct error){0};
    return descriptor_copy(from, abi, "old.so", arena, ret, error);
}

static void older_minor_is_read_by_its_own_sizes(void **state)
{
    struct arena *arena = arena_create(4096, 1 << 20);
    const struct sluice_plugin from = old_plugin(), *plugin = NULL;
    struct error error;
    (void)state;
    assert_int_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_int_equal(plugin->handler_size, sizeof(struct sluice_handler));
    const struct sluice_handler *handlers = plugin->handlers;
    assert_string_equal(handlers[0].name, "one");
    assert_string_equal(handlers[1].name, "two");
    assert_null(handlers[2].name);
    assert_int_equal(handlers[1].max_events, 2);
    assert_int_equal(handlers[0].uses_store, 0); /* not in the old struct: zero */
    assert_string_equal(handlers[0].input[0].name, "first");
    assert_int_equal(handlers[0].input[0].max, 9);
    assert_string_equal(handlers[0].input[1].name, "second");
    assert_int_equal(handlers[0].input[1].meta, 0);
    assert_null(handlers[0].input[2].name);
    assert_string_equal(handlers[0].outcomes[1].name, "other");
    assert_null(handlers[0].outcomes[1].help);
    assert_null(handlers[0].outcomes[2].name);
    arena_destroy(arena);
}

static void sizes_must_be_those_of_the_minor(void **state)
{
    struct arena *arena = arena_create(4096, 1 << 20);
    const struct sluice_plugin *plugin = NULL;
    struct sluice_plugin from = old_plugin();
    struct error error;
    (void)state;
    from.abi_minor = 1; /* says 1.1, has the sizes of 1.0 */
    assert_int_not_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_string_equal(error.text, "old.so: its `handler_size` is 64 bytes, smaller than the 72 of plugin ABI 1.1");
    assert_null(plugin);
    from = old_plugin();
    from.field_size = sizes[1].field;
    assert_int_not_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_string_equal(error.text, "old.so: its `field_size` is 72 bytes, larger than the 64 of plugin ABI 1.0");
    arena_destroy(arena);
}

static void unstable_rows_must_be_the_same(void **state)
{
    struct arena *arena = arena_create(4096, 1 << 20);
    const struct sluice_plugin *plugin = NULL;
    struct sluice_plugin from = old_plugin();
    struct error error;
    (void)state;
    from.reserved = 0x77;
    assert_int_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    from.reserved = 0x78;
    assert_int_not_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_string_equal(error.text, "old.so: it is built with SLUICE_UNSTABLE for the unstable rows 0x00000078 of the "
                                    "contract, this engine has 0x00000077");
    arena_destroy(arena);
}

static void newer_minor_and_other_major_are_refused(void **state)
{
    struct arena *arena = arena_create(4096, 1 << 20);
    const struct sluice_plugin *plugin = NULL;
    struct sluice_plugin from = old_plugin();
    struct error error;
    (void)state;
    from.abi_minor = 2;
    assert_int_not_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_string_equal(error.text,
                        "old.so: its `abi_minor` is 2: it is built for plugin ABI 1.2, this engine has the older 1.1");
    from.abi_major = 2;
    from.abi_minor = 0;
    assert_int_not_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_string_equal(error.text,
                        "old.so: its `abi_major` is 2: it is built for plugin ABI 2.0, this engine has 1.1");
    from.magic ^= 1; /* nothing behind a wrong magic is believed */
    from.abi_major = 9;
    assert_int_not_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
    assert_non_null(strstr(error.text, "starts with 0x"));
    arena_destroy(arena);
}

/* A bound that is left out beside the other one is none; what was a bound before stays one. */
static void a_bound_may_stand_alone(void **state)
{
    static const struct {
        int64_t min, max, wanted_min, wanted_max;
    } cases[] = {
        {1, 0, 1, INT64_MAX}, {0, -1, INT64_MIN, -1},       {0, 0, 0, 0}, {0, 9, 0, 9},
        {-9, 0, -9, 0},       {1, INT64_MAX, 1, INT64_MAX}, {1, 9, 1, 9}, {INT64_MIN, 0, INT64_MIN, 0},
    };
    struct arena *arena = arena_create(4096, 1 << 20);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sluice_field input[] = {
            {.name = "n", .type = SLUICE_TYPE_INT64, .min = cases[i].min, .max = cases[i].max}, {0}};
        const struct sluice_outcome outcomes[] = {{"done", NULL}, {0}};
        const struct sluice_handler handlers[] = {
            {.name = "h", .input = input, .input_size = 8, .outcomes = outcomes, .max_events = 1, .handle = handle},
            {0}};
        struct sluice_plugin from = old_plugin();
        const struct sluice_plugin *plugin = NULL;
        struct error error;
        from.abi_minor = 1;
        from.handler_size = sizes[1].handler;
        from.field_size = sizes[1].field;
        from.outcome_size = sizes[1].outcome;
        from.handlers = handlers;
        assert_int_equal(copy(&from, &newer_engine, arena, &plugin, &error), 0);
        assert_true(plugin->handlers[0].input[0].min == cases[i].wanted_min);
        assert_true(plugin->handlers[0].input[0].max == cases[i].wanted_max);
    }
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(older_minor_is_read_by_its_own_sizes),
        cmocka_unit_test(sizes_must_be_those_of_the_minor),
        cmocka_unit_test(unstable_rows_must_be_the_same),
        cmocka_unit_test(newer_minor_and_other_major_are_refused),
        cmocka_unit_test(a_bound_may_stand_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
