/*
 * test_acts.c - what a handler asked of its host comes over whole, and of what was written over nothing is believed.
 */
#include "check.h"

#include "isolate/acts.h"
#include "isolate/area.h"

#include <stdlib.h>

enum { ACTS_SIZE = 64 * 1024, PARAMS_MAX = 64, MUTATIONS = 30000 };

static const struct sluice_text none = {NULL, 0};

static struct sluice_text text_of(const char *text)
{
    return (struct sluice_text){text, strlen(text)};
}

struct written {
    struct acts acts;
    char *bytes;
};

static void begin(struct written *written)
{
    written->bytes = calloc(1, ACTS_SIZE);
    assert_non_null(written->bytes);
    written->acts = (struct acts){.at = written->bytes, .max = ACTS_SIZE};
}

static const struct sluice_text texts[] = {{"one", 3}, {NULL, 0}, {"", 0}};
static const int64_t numbers[] = {7, -8, INT64_MAX};
static const double reals[] = {0.5, -1e300};
static const int32_t flags[] = {1, 0, 1};
static const struct sluice_param params[] = {
    SLUICE_ARRAY_TEXT(texts, 3),
    SLUICE_ARRAY_INT64(numbers, 3),
    SLUICE_VALUE_DOUBLE(&reals[1]),
    SLUICE_ARRAY_BOOL(flags, 3),
    SLUICE_VALUE_JSON(&texts[0]),
    {SLUICE_PARAM_EACH, SLUICE_TYPE_INT64, 24, NULL, 0},
    {9, 77, 0, texts, 3}, /* of no form and no type */
    {SLUICE_PARAM_ARRAY, SLUICE_TYPE_TEXT, 0, NULL, 2},
};
enum { PARAM_COUNT = sizeof params / sizeof params[0] };
static const struct sluice_sql sql = {"select $1"};

/* One of each kind. */
static void write_all(struct written *written)
{
    begin(written);
    acts_add(&written->acts, (struct act){.kind = ACT_OUTCOME, .n = 3, .value = 1}, NULL, none);
    acts_add(&written->acts, (struct act){.kind = ACT_REJECT, .n = 4}, "for a reason", none);
    acts_add(&written->acts, (struct act){.kind = ACT_SET_TEXT, .n = 5}, "name", text_of("value"));
    acts_add(&written->acts, (struct act){.kind = ACT_SET_TEXT, .n = 5}, "", none);
    acts_add_query(&written->acts, &sql, PARAM_COUNT, params);
    acts_add(&written->acts, (struct act){.kind = ACT_REPLY, .value = 200, .more = 1}, NULL, text_of("{}"));
}

static struct act_read one(struct span *acts, uint32_t kind)
{
    struct act_read read;
    assert_int_equal(acts_read(acts, &read), ACTS_ONE);
    assert_int_equal(read.head.kind, kind);
    return read;
}

static void same_texts(const struct sluice_param *got, const struct sluice_text *wanted)
{
    const struct sluice_text *read = got->values;
    for (size_t i = 0; i < got->count; i++) {
        assert_int_equal(read[i].length, wanted[i].length);
        assert_int_equal(read[i].at == NULL, wanted[i].at == NULL);
        assert_true(wanted[i].length == 0 || memcmp(read[i].at, wanted[i].at, wanted[i].length) == 0);
    }
}

static void all_come_over(void **state)
{
    struct written written;
    struct arena *arena = arena_create(4096, 1 << 20);
    struct sluice_param *got;
    (void)state;
    write_all(&written);
    struct span acts = {written.bytes, written.acts.used};
    struct act_read read = one(&acts, ACT_OUTCOME);
    assert_int_equal(read.head.n, 3);
    assert_int_equal(read.head.value, 1);
    assert_null(read.name);
    assert_null(read.text.at);
    assert_string_equal(one(&acts, ACT_REJECT).name, "for a reason");
    read = one(&acts, ACT_SET_TEXT);
    assert_string_equal(read.name, "name");
    assert_int_equal(read.text.length, 5);
    assert_memory_equal(read.text.at, "value", 5);
    read = one(&acts, ACT_SET_TEXT);
    assert_string_equal(read.name, "");
    assert_null(read.text.at);
    read = one(&acts, ACT_QUERY);
    assert_string_equal(read.text.at, sql.text);
    assert_true(acts_params(&read, PARAMS_MAX, arena, &got));
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        assert_int_equal(got[i].form, params[i].form);
        assert_int_equal(got[i].type, params[i].type);
        assert_int_equal(got[i].offset, params[i].offset);
        assert_int_equal(got[i].count, params[i].count);
        assert_int_equal(got[i].values == NULL, params[i].values == NULL);
    }
    same_texts(&got[0], texts);
    assert_memory_equal(got[1].values, numbers, sizeof numbers);
    assert_memory_equal(got[2].values, &reals[1], sizeof reals[1]);
    assert_memory_equal(got[3].values, flags, sizeof flags);
    same_texts(&got[4], texts);
    read = one(&acts, ACT_REPLY);
    assert_int_equal(read.head.more, 1);
    assert_int_equal(acts_read(&acts, &read), ACTS_END);
    arena_destroy(arena);
    free(written.bytes);
}

/* A reason of any length is cut; what has no room is one act that says so, and nothing behind it. */
static void what_is_too_long(void **state)
{
    struct written written;
    static char long_words[2 * ACT_WORDS_MAX + 1], large[ACTS_SIZE];
    (void)state;
    memset(long_words, 'w', sizeof long_words - 1);
    begin(&written);
    acts_add(&written.acts, (struct act){.kind = ACT_REJECT}, long_words, none);
    acts_add(&written.acts, (struct act){.kind = ACT_SET_TEXT}, "name", (struct sluice_text){large, sizeof large});
    acts_add(&written.acts, (struct act){.kind = ACT_OUTCOME}, NULL, none);
    struct span acts = {written.bytes, written.acts.used};
    assert_int_equal(strlen(one(&acts, ACT_REJECT).name), ACT_WORDS_MAX);
    (void)one(&acts, ACT_FULL);
    struct act_read read;
    assert_int_equal(acts_read(&acts, &read), ACTS_END);
    acts_clear(&written.acts);
    acts_add(&written.acts, (struct act){.kind = ACT_SET_TEXT}, "name", (struct sluice_text){large, SIZE_MAX});
    acts = (struct span){written.bytes, written.acts.used};
    (void)one(&acts, ACT_FULL);
    static const struct sluice_param endless = SLUICE_ARRAY_INT64(numbers, SIZE_MAX / 8 + 2);
    acts_clear(&written.acts);
    acts_add_query(&written.acts, &sql, 1, &endless);
    acts = (struct span){written.bytes, written.acts.used};
    (void)one(&acts, ACT_FULL);
    free(written.bytes);
}

/* Reads everything, as the lane does. */
static enum acts_next read_all(struct span acts, struct arena *arena)
{
    struct act_read read;
    enum acts_next next;
    while ((next = acts_read(&acts, &read)) == ACTS_ONE) {
        struct sluice_param *got;
        if (read.head.kind == ACT_QUERY && !acts_params(&read, PARAMS_MAX, arena, &got))
            return ACTS_BROKEN;
    }
    return next;
}

/* Each length of the first act that has one, as it must not be. */
static void lengths_that_lie(void **state)
{
    static const uint64_t lies[] = {0, 1, 7, 47, 1 << 20, UINT64_MAX - 1, UINT64_MAX - 7, (uint64_t)1 << 63};
    static const size_t places[] = {offsetof(struct act, size), offsetof(struct act, name_length),
                                    offsetof(struct act, text_length)};
    struct arena *arena = arena_create(4096, 1 << 20);
    (void)state;
    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++)
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            struct written written;
            begin(&written);
            acts_add(&written.acts, (struct act){.kind = ACT_SET_TEXT}, "name", text_of("value"));
            memcpy(written.bytes + places[p], &lies[i], sizeof lies[i]);
            enum acts_next next = read_all((struct span){written.bytes, written.acts.used}, arena);
            bool inside = lies[i] <= 7 && (places[p] == offsetof(struct act, text_length) ||
                                           (places[p] == offsetof(struct act, name_length) &&
                                            lies[i] == 7)); /* what pads a name is NULs */
            assert_int_equal(next, inside ? ACTS_END : ACTS_BROKEN);
            free(written.bytes);
        }
    arena_destroy(arena);
}

/* Written over anywhere, and cut anywhere: read without a look outside of it, which a sanitizer would see. */
static void anything(void **state)
{
    uint64_t random = 88172645463325252u;
    size_t broken = 0;
    (void)state;
    struct written written;
    write_all(&written);
    for (int i = 0; i < MUTATIONS; i++) {
        struct arena *arena = arena_create(4096, 64 << 20);
        size_t length = written.acts.used;
        char *copy = malloc(length);
        assert_non_null(copy);
        memcpy(copy, written.bytes, length);
        for (int times = i % 4; times >= 0; times--) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            size_t at = (size_t)(random >> 8) % (length - 8);
            uint64_t value = (random & 3) == 0   ? random
                             : (random & 3) == 1 ? UINT64_MAX - (random >> 56)
                                                 : random >> 52;
            memcpy(copy + at, &value, (random & 4) != 0 ? 8 : 1);
        }
        char *cut = realloc(copy, (random & 8) != 0 ? length : 1 + (size_t)(random >> 20) % length);
        assert_non_null(cut);
        size_t left = (random & 8) != 0 ? length : 1 + (size_t)(random >> 20) % length;
        broken += read_all((struct span){cut, left}, arena) == ACTS_BROKEN;
        free(cut);
        arena_destroy(arena);
    }
    assert_true(broken > MUTATIONS / 4);
    free(written.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_come_over),
        cmocka_unit_test(what_is_too_long),
        cmocka_unit_test(lengths_that_lie),
        cmocka_unit_test(anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
