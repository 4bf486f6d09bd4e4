/*
 * error.h - what went wrong, for the person who can fix it.
 *
 * An error is a code (a positive errno or one of ERROR_*), a sentence that says where and what, and a hint that says
 * what to do. Functions return 0 or a negative code and fill the error that their caller passed; they never log it:
 * only the top of a call chain does. A NULL error is allowed everywhere.
 */
#ifndef SLUICE_BASE_ERROR_H
#define SLUICE_BASE_ERROR_H

enum {
    ERROR_TEXT_MAX = 1024, /* bytes of the sentence, its NUL included; longer ones are cut at a character */
    ERROR_HINT_MAX = 512,
};

struct error {
    int code;                  /* positive; 0 in a fresh error */
    char text[ERROR_TEXT_MAX]; /* one sentence without a final newline */
    char hint[ERROR_HINT_MAX]; /* "" when there is nothing to advise */
};

/* Fills `error` (may be NULL) and returns -code, so that `return error_set(error, EINVAL, "…")` reads as one thing. */
int error_set(struct error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Adds the advice to an error that is already set. Returns -error->code (or -1 when `error` is NULL). */
int error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the sentence, for the caller that knows where. Returns -error->code (-1 when NULL). */
int error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
