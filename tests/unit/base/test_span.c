/*
 * test_span.c - spans and their hashes. The hashes choose partitions and identify events in databases that outlive us:
 * their values are nailed down here and must never change.
 */
#include "check.h"

#include "base/span.h"

static void test_equal(void **state)
{
    (void)state;
    assert_true(span_equal(SPAN("abc"), span_of("abc")));
    assert_false(span_equal(SPAN("abc"), SPAN("abd")));
    assert_false(span_equal(SPAN("abc"), SPAN("ab")));
    assert_true(span_equal((struct span){NULL, 0}, SPAN("")));
    assert_true(span_is(SPAN("x"), "x"));
    assert_true(span_is(span_of(NULL), ""));
    assert_false(span_equal(SPAN("a\0b"), SPAN("a\0c")));
}

/* Bytes 0, 1, 2 … of each length around the borders of the algorithm. */
static const struct {
    size_t length;
    uint64_t hash;
    const char *hash128;
} golden[] = {
    {0, 0xf55e480609bbb85full, "764c370709314bcb8b2b6d176fe9045f"},
    {1, 0xeac46f4bc23a11b7ull, "974afd2b83c1d0c665166b8b374efaff"},
    {2, 0x7fcfc99b52b95a7bull, "2bf986a13aef34593449e91482ce0dcb"},
    {3, 0xc52c7b9329df5db0ull, "30a93b13faee7166bf931a0ea0d39e9e"},
    {4, 0x8d03e3e0ca4b3a71ull, "b0abf8b75f848dff93972cf3ada83863"},
    {7, 0xbddda066ed63f05eull, "a1f219e282c6436014f4161bed665b5f"},
    {8, 0xbfa6058b7f7d3221ull, "19e112ead5b7189900c1d73d41790043"},
    {9, 0x29f43862eed1ccf0ull, "d03326dd6a06c46d3ef28a59a4f2c93e"},
    {15, 0x297fb220a47080ecull, "8df0f7d37d359a5e70fb0918a3982d00"},
    {16, 0x3c9922dda970b2edull, "4fd77d0ee782c6aa28a6851fd915fed1"},
    {17, 0x82026782d23bf85dull, "4c3411fe97b31e7d8ab9792ebac5716d"},
    {32, 0xb0d4407e20be27b7ull, "89d9984aee0ed41abf2c9272fee42e04"},
    {33, 0x12b86c28653e203dull, "8f035f36847c95de3b9d3291af8aef26"},
    {36, 0x3fb4cb9021071a8full, "edb63285274f4fe84b7a4f08a079b38d"},
    {48, 0xc3143857cbda0170ull, "112a3e8cdd08b5eed3fa58f76b7b9c1c"},
    {49, 0xaad0e1fbcfdf5172ull, "2989ab0886d3a044644c64fbc88bd87e"},
    {96, 0x583ad9e97841288aull, "5ec304221ba37a23bb548205195178e3"},
    {97, 0xb7f413f7f49eafa7ull, "3c8a6f7729c4c0c652abfef72dc4971c"},
    {128, 0x7e0e044c7b11521full, "d48efb773b3a9536bb493376ea5c69f8"},
    {300, 0xa1ea788325f0870dull, "251aa9ab756cee2617b63d8d902fae5b"},
};

static void test_golden(void **state)
{
    (void)state;
    char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        struct span span = {golden[i].length > 0 ? bytes : NULL, golden[i].length};
        uint8_t wide[16];
        char text[33];
        assert_int_equal(span_hash(span), golden[i].hash);
        span_hash128(span, wide);
        for (size_t j = 0; j < 16; j++)
            snprintf(text + 2 * j, 3, "%02x", wide[j]);
        assert_string_equal(text, golden[i].hash128);
    }
}

/* The hash reads the bytes and nothing around them, wherever they lie in memory. */
static void test_alignment(void **state)
{
    (void)state;
    for (size_t length = 0; length < 150; length++) {
        uint64_t first = 0;
        uint8_t first_wide[16] = {0};
        for (size_t shift = 0; shift < 9; shift++) {
            char *memory = malloc(length + shift + 1);
            assert_non_null(memory);
            memset(memory, (int)shift, length + shift + 1);
            for (size_t i = 0; i < length; i++)
                memory[shift + i] = (char)(i * 31);
            uint8_t wide[16];
            uint64_t hash = span_hash((struct span){memory + shift, length});
            span_hash128((struct span){memory + shift, length}, wide);
            if (shift == 0) {
                first = hash;
                memcpy(first_wide, wide, 16);
            }
            assert_int_equal(hash, first);
            assert_memory_equal(wide, first_wide, 16);
            free(memory);
        }
    }
}

/* Every bit that changes in the input changes about half of the bits that come out. */
static void test_avalanche(void **state)
{
    (void)state;
    static const size_t lengths[] = {1, 3, 4, 8, 15, 16, 17, 32, 36, 48, 49, 97, 200};
    for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
        unsigned long flipped = 0, flipped_wide = 0, tries = 0;
        for (unsigned round = 0; round < 64; round++) {
            uint8_t bytes[200], before[16], after[16];
            struct span span = {(char *)bytes, lengths[n]};
            for (size_t i = 0; i < lengths[n]; i++)
                bytes[i] = (uint8_t)(round * 37 + i * 101 + (i * round >> 3));
            uint64_t hash = span_hash(span);
            span_hash128(span, before);
            for (size_t bit = 0; bit < lengths[n] * 8; bit++, tries++) {
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                flipped += (unsigned long)__builtin_popcountll(hash ^ span_hash(span));
                span_hash128(span, after);
                for (size_t i = 0; i < 16; i++)
                    flipped_wide += (unsigned long)__builtin_popcount(before[i] ^ after[i]);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
        }
        assert_in_range(flipped * 100 / tries, 3100, 3300);
        assert_in_range(flipped_wide * 100 / tries, 6200, 6600);
    }
}

static int by_value(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void no_two_are_equal(uint8_t (*hashes)[16], size_t count)
{
    qsort(hashes, count, sizeof *hashes, by_value);
    for (size_t i = 1; i < count; i++)
        assert_memory_not_equal(hashes[i - 1], hashes[i], 16);
}

/* Numbers, texts of one character again and again, and the same with zeros in front: texts of all lengths to 19. */
static void test_lengths(void **state)
{
    (void)state;
    enum { COUNT = 400000 };
    uint8_t(*wide)[16] = malloc(COUNT * sizeof *wide), (*narrow)[16] = calloc(COUNT, sizeof *narrow);
    size_t count = 0;
    assert_non_null(wide);
    assert_non_null(narrow);
    for (unsigned i = 0; i < COUNT; i++) {
        char text[32];
        int length = i < 300000   ? snprintf(text, sizeof text, "%u", i)
                     : i < 399000 ? snprintf(text, sizeof text, "%0*u", 8 + (int)(i % 12), i)
                                  : (int)(i % 19) + 2;
        if (i >= 399000 + 26 * 19)
            break;
        if (i >= 399000)
            memset(text, (int)('a' + (i - 399000) / 19), sizeof text);
        uint64_t hash = span_hash((struct span){text, (size_t)length});
        memcpy(narrow[count], &hash, sizeof hash);
        span_hash128((struct span){text, (size_t)length}, wide[count++]);
    }
    no_two_are_equal(wide, count);
    no_two_are_equal(narrow, count);
    free(wide);
    free(narrow);
}

/* Ids that people make up, counters behind a prefix: no two share a hash, and partitions are filled evenly. */
static void test_counters(void **state)
{
    (void)state;
    enum { COUNT = 200000, PARTITIONS = 12 };
    uint8_t(*wide)[16] = malloc(COUNT * sizeof *wide), (*narrow)[16] = calloc(COUNT, sizeof *narrow);
    unsigned long filled[PARTITIONS] = {0};
    assert_non_null(wide);
    assert_non_null(narrow);
    for (unsigned i = 0; i < COUNT; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "user-%u-seat-%u", i / 100, i % 100);
        struct span span = {text, (size_t)length};
        uint64_t hash = span_hash(span);
        memcpy(narrow[i], &hash, sizeof hash);
        span_hash128(span, wide[i]);
        filled[hash % PARTITIONS]++;
    }
    no_two_are_equal(wide, COUNT);
    no_two_are_equal(narrow, COUNT);
    for (unsigned i = 0; i < PARTITIONS; i++)
        assert_in_range(filled[i], COUNT / PARTITIONS * 97 / 100, COUNT / PARTITIONS * 103 / 100);
    free(wide);
    free(narrow);
}

/* Words that make a factor of the product zero do not wipe out what stands before them. */
static void test_zero_factors(void **state)
{
    (void)state;
    static const uint64_t roots[] = {0x6a09e667f3bcc909ull, 0xbb67ae8584caa73bull, 0x3c6ef372fe94f82bull,
                                     0xa54ff53a5f1d36f1ull, 0x510e527fade682d1ull, 0x9b05688c2b3e6c1full};
    for (size_t r = 0; r < 6; r++) {
        uint8_t bytes[64] = {0};
        for (size_t at = 16; at + 8 <= sizeof bytes; at += 8)
            for (size_t i = 0; i < 8; i++)
                bytes[at + i] = (uint8_t)(roots[r] >> (8 * i));
        uint64_t one = span_hash((struct span){(char *)bytes, sizeof bytes});
        bytes[3] = 1;
        assert_int_not_equal(span_hash((struct span){(char *)bytes, sizeof bytes}), one);
        bytes[3] = 0;
        bytes[24 + 8] ^= 4;
        assert_int_not_equal(span_hash((struct span){(char *)bytes, sizeof bytes}), one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),        cmocka_unit_test(test_golden),  cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_avalanche),    cmocka_unit_test(test_lengths), cmocka_unit_test(test_counters),
        cmocka_unit_test(test_zero_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
