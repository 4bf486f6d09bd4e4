/*
 * json.c - see json.h.
 */
#include "operate/json.h"

#include "event/timestamp.h"

#include <string.h>

static void json_name(struct buffer *out, const char *separator, const char *name)
{
    buffer_text(out, separator);
    buffer_json_string(out, span_of(name));
    buffer_byte(out, ':');
}

void json_text(struct buffer *out, const char *separator, const char *name, const char *text)
{
    json_name(out, separator, name);
    if (text == NULL)
        buffer_text(out, "null");
    else
        buffer_json_string(out, span_of(text));
}

void json_bytes(struct buffer *out, const char *separator, const char *name, struct span bytes)
{
    struct buffer clean;
    if (bytes.at == NULL) {
        json_text(out, separator, name, NULL);
        return;
    }
    buffer_init(&clean, 3 * bytes.length + 1);
    while (bytes.length > 0) {
        size_t good = span_utf8(bytes), step = good < bytes.length ? good + 1 : good;
        buffer_append(&clean, bytes.at, good);
        if (step > good)
            buffer_text(&clean, "\xef\xbf\xbd");
        bytes = (struct span){bytes.at + step, bytes.length - step};
    }
    json_name(out, separator, name);
    buffer_json_string(out, buffer_view(&clean));
    buffer_free(&clean);
}

void json_time(struct buffer *out, const char *separator, const char *name, int64_t ms)
{
    char text[TIMESTAMP_TEXT + 1];
    timestamp_format(ms, text);
    text[TIMESTAMP_TEXT] = '\0';
    json_text(out, separator, name, ms == 0 ? NULL : text);
}
