/*
 * span.h - bytes that something else owns: a pointer and a length, not NUL-terminated.
 *
 * A span is copied by value and owns nothing; a function that returns one documents how long its bytes live.
 */
#ifndef SLUICE_BASE_SPAN_H
#define SLUICE_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *at; /* may be NULL only when length is 0 */
    size_t length;  /* bytes */
};

#define SPAN(literal) ((struct span){"" literal, sizeof literal - 1})

static inline struct span span_of(const char *text) /* of a C string; NULL gives the empty span */
{
    return (struct span){text, text == NULL ? 0 : strlen(text)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equal(a, span_of(text));
}

/* 64-bit hash of the bytes, the same in every process and on every machine (it chooses partitions and lanes). */
uint64_t span_hash(struct span bytes);
/* 128-bit hash of the bytes, the same everywhere; `ret` gets 16 bytes. Two different ids collide with odds of 2^-64
 * only after 2^32 ids. Not for secrets. */
void span_hash128(struct span bytes, uint8_t ret[16]);

/* Bytes of the longest beginning that is valid UTF-8; the length of all of it when it is. */
size_t span_utf8(struct span bytes);
/* Bytes of the character at `at` when a terminal shows it and obeys nothing in it; 0: it is invalid UTF-8, a control
 * character (those of C1 as well), a line separator, or one that turns the direction of the text around it. */
size_t span_printable(struct span bytes, size_t at);

#endif
