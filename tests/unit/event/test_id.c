/*
 * test_id.c - ids: which texts are the same event, what a new and a derived id look like.
 */
#include "check.h"

#include "base/clock.h"
#include "event/event.h"

static struct event_id id_of(const char *text)
{
    return event_id_of(span_of(text));
}

static void test_uuid(void **state)
{
    (void)state;
    static const uint8_t bytes[16] = {0x01, 0x90, 0xb0, 0xa0, 0x7c, 0x3e, 0x7d, 0x2a,
                                      0x9f, 0x00, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab};
    struct event_id id = id_of("0190b0a0-7c3e-7d2a-9f00-1234567890ab");
    assert_memory_equal(id.bytes, bytes, 16);
    char text[37];
    event_id_format(&id, text);
    assert_string_equal(text, "0190b0a0-7c3e-7d2a-9f00-1234567890ab");
}

/* Compared byte for byte: another case, another place of a dash or a space more is another id, none of them the UUID's.
 * */
static void test_not_canonical(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0190b0a0-7c3e-7d2a-9f00-1234567890ab",
        "0190B0A0-7C3E-7D2A-9F00-1234567890AB",
        "0190b0a0-7c3e-7d2a-9f00-1234567890aB",
        "0190b0a07c3e7d2a9f001234567890ab",
        "{0190b0a0-7c3e-7d2a-9f00-1234567890ab}",
        "0190b0a0-7c3e-7d2a-9f001-234567890ab",
        "0190b0a0-7c3e-7d2a-9f00-1234567890ag",
        "0190b0a0-7c3e-7d2a-9f00-1234567890a",
        "0190b0a0_7c3e-7d2a-9f00-1234567890ab",
        "-190b0a0-7c3e-7d2a-9f00-1234567890ab",
        "0190b0a0--c3e-7d2a-9f00-1234567890ab",
        "0190b0a0-7c3e-7d2a-9f00-1234567890ab0",
        "0190b0a0-7c3e-7d2a-9f00--234567890ab",
        "a",
        "A",
        "0190B0a0-7c3e-7d2a-9f00-1234567890ab",
        "0190b0a0-7c3e-7d2a-9f00-1234567890Ab",
    };
    size_t count = sizeof texts / sizeof texts[0];
    for (size_t i = 0; i < count; i++) {
        struct event_id id = id_of(texts[i]);
        for (size_t j = 0; j < i; j++) {
            struct event_id other = id_of(texts[j]);
            assert_memory_not_equal(id.bytes, other.bytes, 16);
        }
        if (i > 0) {
            uint8_t hash[16];
            span_hash128(span_of(texts[i]), hash);
            assert_memory_equal(id.bytes, hash, 16);
        }
    }
}

static void assert_uuid(const char *text, char version)
{
    assert_int_equal(strlen(text), 36);
    assert_int_equal(text[14], version);
    assert_non_null(strchr("89ab", text[19]));
    struct event_id id = id_of(text);
    char again[37];
    event_id_format(&id, again);
    assert_string_equal(again, text);
}

static void test_new(void **state)
{
    (void)state;
    char texts[200][37];
    for (int i = 0; i < 200; i++) {
        event_id_new(0x0190b0a07c3e, texts[i]);
        assert_uuid(texts[i], '7');
        assert_memory_equal(texts[i], "0190b0a0-7c3e-", 14);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(texts[i], texts[j]);
    }
    char early[37], late[37];
    int64_t now_ms = clock_wall_ms();
    event_id_new(now_ms, early);
    event_id_new(now_ms + 1, late);
    assert_true(strcmp(early, late) < 0);
}

static void test_derive(void **state)
{
    (void)state;
    static const struct {
        const char *parent, *handler, *route;
        uint32_t ordinal;
    } rows[] = {
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ab", "payment.charge", "success", 0},
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ab", "payment.charge", "success", 1},
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ab", "payment.charge", "success", 256},
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ab", "payment.charge", "failure", 0},
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ab", "payment.chargesuccess", "", 0},
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ab", "payment.charg", "esuccess", 0},
        {"0190b0a0-7c3e-7d2a-9f00-1234567890ac", "payment.charge", "success", 0},
        {"e-1", "payment.charge", "success", 0},
        {"e-1p", "ayment.charge", "success", 0},
        {"", "", "", 0},
    };
    size_t count = sizeof rows / sizeof rows[0];
    char texts[sizeof rows / sizeof rows[0]][37], again[37];
    for (size_t i = 0; i < count; i++) {
        event_id_derive(span_of(rows[i].parent), span_of(rows[i].handler), span_of(rows[i].route), rows[i].ordinal,
                        texts[i]);
        event_id_derive(span_of(rows[i].parent), span_of(rows[i].handler), span_of(rows[i].route), rows[i].ordinal,
                        again);
        assert_string_equal(texts[i], again);
        assert_uuid(texts[i], '8');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(texts[i], texts[j]);
    }
    /* Nailed down: ids that are in databases must come out again after an upgrade. */
    assert_string_equal(texts[0], "0190b0a0-7c3e-8faa-be1f-44f2a01dce5a");
    assert_string_equal(texts[7], "daf57a5b-f2f5-89d9-954f-73fe74aa5dca");
}

/* The time of the first event stays in front down a whole chain; an id without a time gives the same prefix to all
 * children. */
static void test_derive_prefix(void **state)
{
    (void)state;
    char parent[37] = "0190b0a0-7c3e-7d2a-9f00-1234567890ab", child[37];
    for (uint32_t i = 0; i < 5; i++) {
        event_id_derive(span_of(parent), SPAN("h"), SPAN("r"), i, child);
        assert_memory_equal(child, "0190b0a0-7c3e-8", 15);
        memcpy(parent, child, sizeof parent);
    }
    static const char *const timeless[] = {"e-1", "0190b0a0-7c3e-4d2a-9f00-1234567890ab",
                                           "0190B0A0-7C3E-7D2A-9F00-1234567890AB"};
    for (size_t i = 0; i < 3; i++) {
        char other[37];
        event_id_derive(span_of(timeless[i]), SPAN("h"), SPAN("r"), 1, child);
        event_id_derive(span_of(timeless[i]), SPAN("i"), SPAN("s"), 2, other);
        assert_memory_equal(child, other, 13);
        assert_memory_not_equal(child, "0190b0a0-7c3e", 13);
    }
}

/* Many children of one event: the 74 bits beside the prefix keep them apart. */
static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, 37);
}

static void test_derive_many(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    char(*texts)[37] = malloc(COUNT * sizeof *texts);
    assert_non_null(texts);
    for (uint32_t i = 0; i < COUNT; i++)
        event_id_derive(SPAN("0190b0a0-7c3e-7d2a-9f00-1234567890ab"), SPAN("h"), SPAN("r"), i, texts[i]);
    qsort(texts, COUNT, sizeof *texts, by_text);
    for (size_t i = 1; i < COUNT; i++)
        assert_memory_not_equal(texts[i - 1], texts[i], 36);
    free(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuid),   cmocka_unit_test(test_not_canonical), cmocka_unit_test(test_new),
        cmocka_unit_test(test_derive), cmocka_unit_test(test_derive_prefix), cmocka_unit_test(test_derive_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
