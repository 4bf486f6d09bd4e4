/*
 * sha256.h - the SHA-256 of bytes (FIPS 180-4): what `sha256sum` prints.
 *
 * A struct sha256 belongs to its caller, needs no freeing, and is used by one thread.
 */
#ifndef SLUICE_BASE_SHA256_H
#define SLUICE_BASE_SHA256_H

#include "base/error.h"
#include "base/span.h"

enum { SHA256_BYTES = 32, SHA256_DIGITS = 64, SHA256_BLOCK = 64 };

struct sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[SHA256_BLOCK];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, struct span bytes);
void sha256_end(struct sha256 *hash, uint8_t ret[SHA256_BYTES]);
/* Of a whole file, as lower-case digits and a NUL. 0, or -errno without a sentence: "" is what *ret has then. */
int sha256_file(const char *path, char ret[SHA256_DIGITS + 1]);

#endif
