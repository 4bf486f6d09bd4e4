/*
 * sha256.c - see sha256.h. Names of one letter are those of FIPS 180-4.
 */
#include "base/sha256.h"

#include "base/span.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { ROUNDS = 64, LENGTH_BYTES = 8, DIGEST_BYTES = SHA256_DIGITS / 2, BLOCK_BYTES = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[BLOCK_BYTES];
};

static const uint32_t round_constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word >> bits | word << (32 - bits);
}

static void block_add(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[ROUNDS], s[8];
    for (size_t t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
               block[4 * t + 3];
    for (size_t t = 16; t < ROUNDS; t++)
        w[t] = (rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10) + w[t - 7] +
               (rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 16];
    memcpy(s, state, sizeof s);
    for (size_t t = 0; t < ROUNDS; t++) {
        uint32_t a = s[0], b = s[1], c = s[2], e = s[4], f = s[5], g = s[6];
        uint32_t one = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
                       round_constants[t] + w[t];
        uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += one;
        s[0] = one + two;
    }
    for (size_t i = 0; i < 8; i++)
        state[i] += s[i];
}

static void sha256_begin(struct sha256 *hash)
{
    *hash = (struct sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

static void sha256_add(struct sha256 *hash, struct span bytes)
{
    while (bytes.length > 0) {
        size_t used = hash->length % BLOCK_BYTES, room = BLOCK_BYTES - used;
        size_t taken = bytes.length < room ? bytes.length : room;
        if (taken == BLOCK_BYTES)
            block_add(hash->state, (const uint8_t *)bytes.at);
        else
            memcpy(hash->block + used, bytes.at, taken);
        if (taken != BLOCK_BYTES && taken == room)
            block_add(hash->state, hash->block);
        hash->length += taken;
        bytes = (struct span){bytes.at + taken, bytes.length - taken};
    }
}

static void sha256_end(struct sha256 *hash, uint8_t ret[DIGEST_BYTES])
{
    static const char padding[BLOCK_BYTES] = {(char)0x80};
    uint64_t bits = hash->length * 8;
    size_t used = hash->length % BLOCK_BYTES, room = BLOCK_BYTES - LENGTH_BYTES;
    char length[LENGTH_BYTES];
    sha256_add(hash, (struct span){padding, used < room ? room - used : room + BLOCK_BYTES - used});
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        length[i] = (char)(bits >> (8 * (LENGTH_BYTES - 1 - i)));
    sha256_add(hash, (struct span){length, LENGTH_BYTES});
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        ret[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

int sha256_file(const char *path, char ret[SHA256_DIGITS + 1])
{
    char bytes[64 * 1024];
    uint8_t digest[DIGEST_BYTES];
    struct sha256 hash;
    ssize_t got = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = file < 0 ? -errno : 0;
    ret[0] = '\0';
    sha256_begin(&hash);
    while (r == 0 && (got = read(file, bytes, sizeof bytes)) != 0) {
        if (got > 0)
            sha256_add(&hash, (struct span){bytes, (size_t)got});
        else if (errno != EINTR)
            r = -errno;
    }
    if (file >= 0)
        close(file);
    sha256_end(&hash, digest);
    for (size_t i = 0; r == 0 && i < DIGEST_BYTES; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    return r;
}
