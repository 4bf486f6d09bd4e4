/*
 * buffer.c - see buffer.h. Grows by doubling, so appending stays linear.
 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buffer_init(struct buffer *buffer, size_t max)
{
    *buffer = (struct buffer){.max = max};
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->at);
    buffer_init(buffer, buffer->max);
}

char *buffer_reserve(struct buffer *buffer, size_t extra)
{
    if (buffer->failed)
        return NULL;
    if (extra > buffer->max - buffer->length) {
        buffer->failed = true;
        return NULL;
    }
    size_t needed = buffer->length + extra;
    if (needed <= buffer->size && buffer->at != NULL)
        return buffer->at + buffer->length;

    size_t size = buffer->size < 256 ? 256 : buffer->size;
    while (size < needed)
        size = size > SIZE_MAX / 2 ? needed : size * 2;
    if (size > buffer->max && needed <= buffer->max)
        size = buffer->max > 0 ? buffer->max : 1; /* a pointer is promised even for no bytes at all */
    char *at = realloc(buffer->at, size);
    if (at == NULL) {
        buffer->failed = true;
        return NULL;
    }
    buffer->at = at;
    buffer->size = size;
    return at + buffer->length;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    char *at = buffer_reserve(buffer, length);
    if (at == NULL || length == 0)
        return;
    memcpy(at, bytes, length);
    buffer->length += length;
}

void buffer_span(struct buffer *buffer, struct span text)
{
    buffer_append(buffer, text.at, text.length);
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_byte(struct buffer *buffer, char byte)
{
    buffer_append(buffer, &byte, 1);
}

void buffer_int64(struct buffer *buffer, int64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        digits[--at] = '-';
    buffer_append(buffer, digits + at, sizeof digits - at);
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    char small[256];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);

    if (length < 0) {
        buffer->failed = true;
    } else if ((size_t)length < sizeof small) {
        buffer_append(buffer, small, (size_t)length);
    } else {
        char *large = malloc((size_t)length + 1);
        if (large == NULL) {
            buffer->failed = true;
        } else {
            vsnprintf(large, (size_t)length + 1, format, again);
            buffer_append(buffer, large, (size_t)length);
            free(large);
        }
    }
    va_end(again);
}

/* Appends the escape of one byte that may not stand in a JSON string as it is. */
static void buffer_json_escape(struct buffer *buffer, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    size_t length = 2;

    switch (byte) {
    case '"':
    case '\\':
        escape[1] = (char)byte;
        break;
    case '\n':
        escape[1] = 'n';
        break;
    case '\r':
        escape[1] = 'r';
        break;
    case '\t':
        escape[1] = 't';
        break;
    default:
        length = sizeof escape;
    }
    buffer_append(buffer, escape, length);
}

void buffer_json_string(struct buffer *buffer, struct span text)
{
    buffer_byte(buffer, '"');
    size_t begin = 0;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
            continue;
        buffer_append(buffer, text.at + begin, i - begin);
        buffer_json_escape(buffer, byte);
        begin = i + 1;
    }
    if (text.length > begin)
        buffer_append(buffer, text.at + begin, text.length - begin);
    buffer_byte(buffer, '"');
}

bool buffer_write(const struct buffer *buffer, FILE *out)
{
    return buffer->length == 0 || fwrite(buffer->at, 1, buffer->length, out) == buffer->length;
}
