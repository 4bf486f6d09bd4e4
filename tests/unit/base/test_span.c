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
    {0, 0xf55e480609bbb85full, "42f466446fb58b75ff19a568a673bcca"},
    {1, 0xeac46f4bc23a11b7ull, "0838d2c7bc78956845c11be4dde93962"},
    {2, 0x7fcfc99b52b95a7bull, "098ebfee04864146e0eec416bfb89732"},
    {3, 0xc52c7b9329df5db0ull, "c4c8c92b90f0ff72cc7a3290f03692e7"},
    {4, 0x8d03e3e0ca4b3a71ull, "28769ebdfc073ddd647e6caaff4da5f9"},
    {7, 0xbddda066ed63f05eull, "a85aeab29647bc8b1b43a368eb440e10"},
    {8, 0xbfa6058b7f7d3221ull, "eee0625f50d0a3f778e6843bea46e3c0"},
    {9, 0x29f43862eed1ccf0ull, "eaba26078b7dac31154c65354118c9bf"},
    {15, 0x297fb220a47080ecull, "a51e08371910ac60fdaad2de4ce3a5c3"},
    {16, 0x3c9922dda970b2edull, "cec1545c14313bf51045453992507fc9"},
    {17, 0x82026782d23bf85dull, "fb8004500f95982327f2031fcb53c636"},
    {32, 0xb0d4407e20be27b7ull, "9fe49f5229c30df9e9f00b4c7c50e6af"},
    {33, 0x12b86c28653e203dull, "9e005a8e2d633dc8e0abf0ca2f474e57"},
    {36, 0x3fb4cb9021071a8full, "f0e402106193096e055860166c3564c9"},
    {48, 0xc3143857cbda0170ull, "554fb3217526a0ce6a24c71e21cb4bd5"},
    {49, 0xaad0e1fbcfdf5172ull, "a3fa2a87ceaf8bbf4b5c6358d6a83729"},
    {96, 0x583ad9e97841288aull, "c127811c8da8dcab3e572f9d9cf2623a"},
    {97, 0xb7f413f7f49eafa7ull, "b07f024b7b7e6cf47943eae0437f2247"},
    {128, 0x7e0e044c7b11521full, "bc4aa14e1a6191396b42a420c5f9f085"},
    {300, 0xa1ea788325f0870dull, "8c59d910c4ea8e17d9a8b1e43a6eca04"},
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
    qsort(wide, COUNT, sizeof *wide, by_value);
    qsort(narrow, COUNT, sizeof *narrow, by_value);
    for (unsigned i = 1; i < COUNT; i++) {
        assert_memory_not_equal(wide[i - 1], wide[i], 16);
        assert_memory_not_equal(narrow[i - 1], narrow[i], 16);
    }
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
        cmocka_unit_test(test_equal),     cmocka_unit_test(test_golden),   cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_avalanche), cmocka_unit_test(test_counters), cmocka_unit_test(test_zero_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
