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

void json_time(struct buffer *out, const char *separator, const char *name, int64_t ms)
{
    char text[TIMESTAMP_TEXT + 1];
    timestamp_format(ms, text);
    text[TIMESTAMP_TEXT] = '\0';
    json_text(out, separator, name, ms == 0 ? NULL : text);
}
