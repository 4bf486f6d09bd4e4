/*
 * sha256.h - the SHA-256 of a file (FIPS 180-4): what `sha256sum` prints. Any thread may ask.
 */
#ifndef SLUICE_BASE_SHA256_H
#define SLUICE_BASE_SHA256_H

enum { SHA256_DIGITS = 64 };

/* Lower-case hex digits and a NUL. 0, or -errno when the file cannot be read; *ret is "" then. */
int sha256_file(const char *path, char ret[SHA256_DIGITS + 1]);

#endif
