/*
 * span.c - the two hashes of span.h.
 *
 * span_hash() folds 16 bytes at a time through a 64×64→128 bit multiplication, in three independent lanes for long
 * input, so that an event's payload costs a few dozen nanoseconds. State and words also go in beside the product,
 * so that a zero factor wipes out neither what came before nor its partner.
 *
 * span_hash128() decides whether two ids are the same event, so it is slower and stricter: a state of 128 bits goes
 * through steps that can each be undone, hence two inputs of equal length differ in state until the bytes themselves
 * cancel out, and every bit of a block reaches every bit of the state before the next block comes.
 *
 * Both read little-endian words on every machine. The constants are the first bits of the square roots of small primes.
 * Neither resists an attacker who chooses the bytes to collide; neither is promised to.
 */
#include "base/span.h"

#include <endian.h>

#define ROOT_2 0x6a09e667f3bcc909ull
#define ROOT_3 0xbb67ae8584caa73bull
#define ROOT_5 0x3c6ef372fe94f82bull
#define ROOT_7 0xa54ff53a5f1d36f1ull
#define ROOT_11 0x510e527fade682d1ull
#define ROOT_13 0x9b05688c2b3e6c1full

__extension__ typedef unsigned __int128 span_uint128;

static inline uint64_t span_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

static inline uint64_t span_half(const char *at)
{
    uint32_t half;
    memcpy(&half, at, sizeof half);
    return le32toh(half);
}

static inline uint64_t span_rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline uint64_t span_fold(uint64_t a, uint64_t b)
{
    span_uint128 product = (span_uint128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t span_step(uint64_t state, uint64_t low, uint64_t high, uint64_t root)
{
    state ^= high;
    return (span_rotate(state, 23) + low) ^ span_fold(low ^ root, state);
}

static inline uint64_t span_block(uint64_t state, const char *at, uint64_t root)
{
    return span_step(state, span_word(at), span_word(at + 8), root);
}

/* Up to 16 bytes as two words; which bytes land where depends on the length alone. */
static inline void span_tail(const char *at, size_t length, uint64_t *ret_low, uint64_t *ret_high)
{
    if (length >= 8) {
        *ret_low = span_word(at);
        *ret_high = span_word(at + length - 8);
    } else if (length >= 4) {
        *ret_low = span_half(at);
        *ret_high = span_half(at + length - 4);
    } else if (length > 0) {
        *ret_low = (uint64_t)(unsigned char)at[0] << 16 | (uint64_t)(unsigned char)at[length / 2] << 8 |
                   (unsigned char)at[length - 1];
        *ret_high = 0;
    } else {
        *ret_low = *ret_high = 0;
    }
}

uint64_t span_hash(struct span bytes)
{
    const char *at = bytes.at;
    size_t left = bytes.length;
    uint64_t state = ROOT_2;

    if (left > 48) {
        uint64_t second = ROOT_3, third = ROOT_5;
        do {
            state = span_block(state, at, ROOT_7);
            second = span_block(second, at + 16, ROOT_11);
            third = span_block(third, at + 32, ROOT_13);
            at += 48;
            left -= 48;
        } while (left > 48);
        state ^= span_rotate(second, 17) + span_rotate(third, 41);
    }
    while (left > 16) {
        state = span_block(state, at, ROOT_7);
        at += 16;
        left -= 16;
    }

    uint64_t low, high;
    span_tail(at, left, &low, &high);
    state = span_step(state, low, high, ROOT_3);
    return span_fold(state ^ ROOT_5, (uint64_t)bytes.length ^ ROOT_11 ^ span_rotate(state, 32));
}

/* A bijection of 64 bits in which every input bit reaches every output bit. */
static inline uint64_t span_mix(uint64_t value)
{
    value ^= value >> 32;
    value *= ROOT_13;
    value ^= value >> 29;
    value *= ROOT_11;
    return value ^ value >> 32;
}

void span_hash128(struct span bytes, uint8_t ret[16])
{
    const char *at = bytes.at;
    size_t left = bytes.length;
    uint64_t x = ROOT_2, y = span_mix(ROOT_3 ^ (uint64_t)bytes.length); /* or a byte of the tail could undo it */
    uint64_t low, high;

    while (left > 16) {
        x = span_mix(x ^ span_word(at));
        y = span_mix(y ^ span_word(at + 8) ^ x);
        x += span_rotate(y, 31);
        at += 16;
        left -= 16;
    }
    span_tail(at, left, &low, &high);
    x = span_mix(x ^ low);
    y = span_mix(y ^ high ^ x);
    x = span_mix(x + y + ROOT_5);
    y = span_mix(y ^ x ^ ROOT_7);
    x += y;

    x = htole64(x);
    y = htole64(y);
    memcpy(ret, &x, 8);
    memcpy(ret + 8, &y, 8);
}

size_t span_utf8(struct span bytes)
{
    size_t i = 0;
    while (i < bytes.length) {
        const unsigned char *b = (const unsigned char *)bytes.at + i;
        size_t more = *b < 0x80                 ? 0
                      : *b >= 0xc2 && *b < 0xe0 ? 1
                      : *b >= 0xe0 && *b < 0xf0 ? 2
                      : *b >= 0xf0 && *b < 0xf5 ? 3
                                                : SIZE_MAX;
        if (more == SIZE_MAX || more >= bytes.length - i)
            return i;
        for (size_t k = 1; k <= more; k++)
            if ((b[k] & 0xc0) != 0x80)
                return i;
        bool overlong = (*b == 0xe0 && b[1] < 0xa0) || (*b == 0xf0 && b[1] < 0x90);
        bool outside = (*b == 0xed && b[1] >= 0xa0) || (*b == 0xf4 && b[1] >= 0x90);
        if (overlong || outside)
            return i;
        i += more + 1;
    }
    return i;
}

size_t span_printable(struct span bytes, size_t at)
{
    const unsigned char *b = (const unsigned char *)bytes.at + at;
    size_t length = *b < 0x80 ? 1 : *b < 0xe0 ? 2 : *b < 0xf0 ? 3 : 4;
    if (*b < 0x20 || *b == 0x7f || length > bytes.length - at ||
        span_utf8((struct span){bytes.at + at, length}) != length)
        return 0;
    bool obeyed = (*b == 0xc2 && b[1] < 0xa0) || /* C1: as good as an escape sequence to some terminals */
                  (*b == 0xd8 && b[1] == 0x9c);  /* U+061C */
    if (*b == 0xe2 && b[1] == 0x80)              /* U+200E, U+200F, U+2028 to U+202E */
        obeyed = b[2] == 0x8e || b[2] == 0x8f || (b[2] >= 0xa8 && b[2] <= 0xae);
    if (*b == 0xe2 && b[1] == 0x81) /* U+2066 to U+2069 */
        obeyed = b[2] >= 0xa6 && b[2] <= 0xa9;
    return obeyed ? 0 : length;
}
