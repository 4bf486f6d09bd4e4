/*
 * json_escape.c - what the escapes of a JSON string stand for. The text has been scanned, so each escape is whole.
 */
#include "event/json_escape.h"

static unsigned escape_hex(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (unsigned)(at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    return value;
}

size_t json_escape_decode(const char *at, char ret[4], const char **ret_end)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    *ret_end = at + 2;
    if (at[1] != 'u') {
        const char *found = strchr(from, at[1]);
        ret[0] = found != NULL ? to[found - from] : at[1];
        return 1;
    }

    unsigned code = escape_hex(at + 2);
    *ret_end = at + 6;
    if (code >= 0xd800 && code <= 0xdbff) {
        code = 0x10000 + ((code & 0x3ff) << 10) + (escape_hex(at + 8) & 0x3ff);
        *ret_end = at + 12;
    }
    if (code < 0x80) {
        ret[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        ret[i] = (char)(0x80 | (code & 0x3f));
    ret[0] = (char)((0xf00 >> length & 0xff) | code);
    return length;
}

struct span json_unescape(struct span string, bool escaped, struct arena *arena)
{
    struct span inside = {string.at + 1, string.length - 2};
    if (!escaped)
        return inside;

    char *bytes = arena_alloc_raw(arena, inside.length), *to = bytes;
    const char *at = inside.at, *end = inside.at + inside.length;
    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((backslash != NULL ? backslash : end) - at);
        memcpy(to, at, plain);
        to += plain;
        at += plain;
        if (backslash != NULL) {
            char decoded[4];
            size_t length = json_escape_decode(at, decoded, &at);
            memcpy(to, decoded, length);
            to += length;
        }
    }
    return (struct span){bytes, (size_t)(to - bytes)};
}
