/*
 * test_route.c - targets: examples, and every short text over the bytes that matter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/route.h"

static void check_parsed(const struct target *target)
{
    for (size_t i = 0; i < target->segment_count; i++) {
        struct span segment = target->segments[i];
        assert_false(span_is(segment, ".") || span_is(segment, ".."));
        assert_true(text_is_utf8(segment));
        for (size_t j = 0; j < segment.length; j++)
            assert_true((unsigned char)segment.at[j] >= 0x20 && segment.at[j] != 0x7f);
    }
    for (size_t i = 0; i < target->query_count; i++) {
        assert_true(target->query[i].name.length > 0 && !span_is(target->query[i].name, "wait"));
        for (size_t j = 0; j < i; j++)
            assert_false(span_equal(target->query[i].name, target->query[j].name));
    }
    assert_true(target->wait_ms >= 0 && target->wait_ms <= WAIT_MAX_MS);
}

/* All of them up to six bytes behind the slash: a verdict, and what is accepted is clean. */
static void test_every_short_target(void **state)
{
    static const char letters[] = {'/', '%', '.', '?', '&', '=', '2', 'e', '\xc3', '+'};
    enum { LETTERS = sizeof letters, LONGEST = 6 };
    struct arena *arena = arena_create(4096, 1024 * 1024);
    size_t accepted = 0, refused = 0;
    (void)state;
    assert_non_null(arena);
    for (size_t length = 0, count = 1; length <= LONGEST; length++, count *= LETTERS) {
        for (size_t number = 0; number < count; number++) {
            struct refusal refusal = {0};
            struct target target;
            char text[1 + LONGEST] = {'/'};
            for (size_t i = 0, rest = number; i < length; i++, rest /= LETTERS)
                text[1 + i] = letters[rest % LETTERS];
            if (target_parse((struct span){text, 1 + length}, arena, &target, &refusal)) {
                assert_int_equal(refusal.status, 0);
                check_parsed(&target);
                accepted++;
            } else {
                assert_int_equal(refusal.status, 400);
                refused++;
            }
            arena_reset(arena);
        }
    }
    assert_true(accepted > 10000 && refused > 10000);
    arena_destroy(arena);
}

struct example {
    const char *raw;
    const char *segments[4]; /* NULL: none */
    const char *query[4];    /* names and values in turn */
};

static void test_examples(void **state)
{
    static const struct example examples[] = {
        {"/", {NULL}, {NULL}},
        {"/?", {NULL}, {NULL}},
        {"/a/b", {"a", "b"}, {NULL}},
        {"/a/", {"a", ""}, {NULL}},
        {"//", {"", ""}, {NULL}},
        {"/a%2Fb", {"a/b"}, {NULL}},
        {"/a%2e", {"a."}, {NULL}},
        {"/...", {"..."}, {NULL}},
        {"/a+b?a+b=c+d", {"a+b"}, {"a b", "c d"}},
        {"/%e2%82%ac?x=%F0%9F%98%80", {"\xe2\x82\xac"}, {"x", "\xf0\x9f\x98\x80"}},
        {"/?a&b=&&c==", {NULL}, {"a", "", "b", ""}},
        {"/a?b?c=/../", {"a"}, {"b?c", "/../"}},
    };
    struct arena *arena = arena_create(4096, 1024 * 1024);
    (void)state;
    assert_non_null(arena);
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        struct refusal refusal = {0};
        struct target target;
        if (!target_parse(span_of(examples[i].raw), arena, &target, &refusal))
            fail_msg("%s: %s", examples[i].raw, refusal.message);
        for (size_t j = 0; j < 4; j++) {
            const char *wanted = examples[i].segments[j];
            if (wanted == NULL ? j < target.segment_count
                               : j >= target.segment_count || !span_is(target.segments[j], wanted))
                fail_msg("%s: segment %zu is not %s", examples[i].raw, j, wanted == NULL ? "missing" : wanted);
            if (wanted == NULL)
                break;
        }
        for (size_t j = 0; j < 2 && examples[i].query[2 * j] != NULL; j++) {
            assert_true(j < target.query_count);
            assert_true(span_is(target.query[j].name, examples[i].query[2 * j]));
            assert_true(span_is(target.query[j].value, examples[i].query[2 * j + 1]));
        }
    }
    arena_destroy(arena);
}

static void test_closest_path_wins(void **state)
{
    static const char *const a[] = {"{x}", "b", "{y}"}, *const b[] = {"a", "{x}", "{y}"},
                             *const c[] = {"a", "{x}", "c"};
    static const struct request requests[] = {
        {.method = "GET", .path = "/{x}/b/{y}", .segments = (const char **)a, .segment_count = 3},
        {.method = "GET", .path = "/a/{x}/{y}", .segments = (const char **)b, .segment_count = 3},
        {.method = "GET", .path = "/a/{x}/c", .segments = (const char **)c, .segment_count = 3},
    };
    const struct pipeline pipeline = {.requests = (struct request *)requests, .request_count = 3};
    const struct {
        const char *raw;
        uint32_t index;
    } cases[] = {{"/z/b/1", 0}, {"/a/b/1", 1}, {"/a/b/c", 2}, {"/a/1/2", 1}};
    struct arena *arena = arena_create(4096, 1024 * 1024);
    (void)state;
    assert_non_null(arena);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct refusal refusal = {0};
        struct target target;
        struct match match;
        const char *allow = NULL;
        assert_true(target_parse(span_of(cases[i].raw), arena, &target, &refusal));
        assert_true(match_request(pipeline.requests, pipeline.request_count, SPAN("HEAD"), &target, arena, &match,
                                  &allow, &refusal));
        assert_int_equal(match.index, cases[i].index);
        assert_false(match_request(pipeline.requests, pipeline.request_count, SPAN("POST"), &target, arena, &match,
                                   &allow, &refusal));
        assert_int_equal(refusal.status, 405);
    }
    arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_short_target),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_closest_path_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
