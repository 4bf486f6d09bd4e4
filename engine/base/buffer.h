/*
 * buffer.h - bytes that grow, up to a maximum given at the start.
 *
 * Appending past the maximum, or out of memory, sets `failed` and changes nothing; later appends are ignored. So a
 * writer appends everything and checks `failed` once at the end. Kept between uses with buffer_clear().
 */
#ifndef SLUICE_BASE_BUFFER_H
#define SLUICE_BASE_BUFFER_H

#include "base/span.h"

#include <stdio.h>

struct buffer {
    char *at;      /* NULL while empty; owned */
    size_t length; /* bytes in use */
    size_t size;   /* bytes allocated */
    size_t max;    /* bytes it may ever hold */
    bool failed;
};

void buffer_init(struct buffer *buffer, size_t max);
void buffer_free(struct buffer *buffer); /* back to the state after buffer_init; a zeroed buffer is fine */
static inline void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}
/* Room for `extra` more bytes; returns where they go (advance with buffer->length), or NULL when failed. */
char *buffer_reserve(struct buffer *buffer, size_t extra);
void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_span(struct buffer *buffer, struct span text);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_byte(struct buffer *buffer, char byte);
void buffer_int64(struct buffer *buffer, int64_t value); /* decimal */
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `text` as a JSON string with its quotes; it must be valid UTF-8. Control characters are escaped. */
void buffer_json_string(struct buffer *buffer, struct span text);
static inline struct span buffer_view(const struct buffer *buffer) /* valid until the next append */
{
    return (struct span){buffer->at, buffer->length};
}

/* What is in it, perhaps nothing; false when the stream takes less, which ferror() also tells. */
bool buffer_write(const struct buffer *buffer, FILE *out);

#endif
