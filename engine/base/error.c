/*
 * error.c - see error.h. Every text is formatted aside first, so that an argument may point into the error that it
 * fills.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies `from` into to[size]; what does not fit is cut before the character that would be torn. */
static void error_copy(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(to, from, length);
    to[length] = '\0';
}

int error_set(struct error *error, int code, const char *format, ...)
{
    if (error == NULL)
        return -code;

    char text[ERROR_TEXT_MAX + 4]; /* a few bytes more than fit, so that error_copy sees where a character ends */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);

    error->code = code;
    error_copy(error->text, sizeof error->text, text);
    error->hint[0] = '\0';
    return -code;
}

int error_hint(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return -1;

    char hint[ERROR_HINT_MAX + 4];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(hint, sizeof hint, format, arguments);
    va_end(arguments);

    error_copy(error->hint, sizeof error->hint, hint);
    return -error->code;
}

int error_prefix(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return -1;

    char prefix[ERROR_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);

    char text[2 * ERROR_TEXT_MAX + 4];
    snprintf(text, sizeof text, "%s: %s", prefix, error->text);
    error_copy(error->text, sizeof error->text, text);
    return -error->code;
}
