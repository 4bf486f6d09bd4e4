/*
 * fake_json.c - see fake_json.h.
 */
#include "fake_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '"')
            return at + 1;
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\') {
            if (++at == end || strchr("\"\\/bfnrtu", *at) == NULL)
                return NULL;
            if (*at == 'u') {
                for (int digit = 0; digit < 4; digit++)
                    if (++at == end || *at == '\0' || strchr("0123456789abcdefABCDEF", *at) == NULL)
                        return NULL;
            }
        }
    }
    return NULL;
}

static const char *digits_end(const char *at, const char *end)
{
    const char *start = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at == start ? NULL : at;
}

static const char *number_end(const char *at, const char *end)
{
    if (at < end && *at == '-')
        at++;
    if (at < end && *at == '0')
        at++;
    else
        at = digits_end(at, end);
    if (at != NULL && at < end && *at == '.')
        at = digits_end(at + 1, end);
    if (at != NULL && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = digits_end(at, end);
    }
    return at;
}

static const char *word_end(const char *at, const char *end, const char *word)
{
    size_t length = strlen(word);
    return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static const char *value_end(const char *at, const char *end, int depth);

static const char *container_end(const char *at, const char *end, int depth)
{
    bool object = *at == '{';
    char close = object ? '}' : ']';
    at = skip_space(at + 1, end);
    if (at < end && *at == close)
        return at + 1;
    while (at < end) {
        if (object) {
            if (*at != '"' || (at = string_end(at, end)) == NULL)
                return NULL;
            at = skip_space(at, end);
            if (at == end || *at++ != ':')
                return NULL;
        }
        at = value_end(at, end, depth + 1);
        if (at == NULL || (at = skip_space(at, end)) == end)
            return NULL;
        if (*at == close)
            return at + 1;
        if (*at++ != ',')
            return NULL;
        at = skip_space(at, end);
    }
    return NULL;
}

static const char *value_end(const char *at, const char *end, int depth)
{
    at = skip_space(at, end);
    if (at == end || depth > 64)
        return NULL;
    switch (*at) {
    case '{':
    case '[':
        return container_end(at, end, depth);
    case '"':
        return string_end(at, end);
    case 't':
        return word_end(at, end, "true");
    case 'f':
        return word_end(at, end, "false");
    case 'n':
        return word_end(at, end, "null");
    default:
        return number_end(at, end);
    }
}

const char *fake_json_end(const char *at, const char *end)
{
    return value_end(at, end, 0);
}

bool fake_json_valid(struct sluice_text json)
{
    if (json.at == NULL || !fake_utf8_valid(json))
        return false;
    const char *end = json.at + json.length, *at = value_end(json.at, end, 0);
    return at != NULL && skip_space(at, end) == end;
}

bool fake_json_next(struct sluice_text json, const char **cursor, struct sluice_text *ret_name,
                    struct sluice_text *ret_value)
{
    const char *end = json.at + json.length, *at = *cursor;
    bool object = *skip_space(json.at, end) == '{';
    at = at == NULL ? skip_space(json.at, end) + 1 : skip_space(at, end);
    if (at < end && *at == ',')
        at++;
    at = skip_space(at, end);
    if (at >= end || *at == '}' || *at == ']')
        return false;
    *ret_name = (struct sluice_text){NULL, 0};
    if (object) {
        const char *stop = string_end(at, end);
        *ret_name = (struct sluice_text){at + 1, (size_t)(stop - at) - 2};
        at = skip_space(skip_space(stop, end) + 1, end);
    }
    *cursor = value_end(at, end, 0);
    *ret_value = (struct sluice_text){at, (size_t)(*cursor - at)};
    return true;
}

static unsigned hex4(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], '\0'};
    return (unsigned)strtoul(digits, NULL, 16);
}

static size_t utf8_put(char *out, unsigned code)
{
    if (code < 0x80)
        return out[0] = (char)code, 1;
    if (code < 0x800)
        return out[0] = (char)(0xc0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3f)), 2;
    if (code < 0x10000)
        return out[0] = (char)(0xe0 | code >> 12), out[1] = (char)(0x80 | (code >> 6 & 0x3f)),
               out[2] = (char)(0x80 | (code & 0x3f)), 3;
    return out[0] = (char)(0xf0 | code >> 18), out[1] = (char)(0x80 | (code >> 12 & 0x3f)),
           out[2] = (char)(0x80 | (code >> 6 & 0x3f)), out[3] = (char)(0x80 | (code & 0x3f)), 4;
}

char *fake_json_unescape(struct sluice_text string, size_t *ret_length)
{
    char *out = malloc(string.length + 1);
    size_t length = 0;
    for (const char *at = string.at + 1, *end = string.at + string.length - 1; out != NULL && at < end; at++) {
        if (*at != '\\') {
            out[length++] = *at;
            continue;
        }
        at++;
        if (*at != 'u') {
            const char *from = "bfnrt", *to = "\b\f\n\r\t", *which = strchr(from, *at);
            out[length++] = which == NULL ? *at : to[which - from];
            continue;
        }
        unsigned code = hex4(at + 1);
        at += 4;
        if (code >= 0xd800 && code < 0xdc00 && end - at > 6 && at[1] == '\\' && at[2] == 'u') {
            code = 0x10000 + ((code - 0xd800) << 10) + (hex4(at + 3) - 0xdc00);
            at += 6;
        }
        length += utf8_put(out + length, code);
    }
    if (out != NULL)
        out[length] = '\0';
    if (ret_length != NULL)
        *ret_length = length;
    return out;
}

char *fake_json_escape(struct sluice_text text)
{
    char *out = malloc(text.length * 6 + 3), *at = out;
    if (out == NULL)
        return NULL;
    *at++ = '"';
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte < 0x20) {
            at += sprintf(at, "\\u%04x", byte);
            continue;
        }
        if (byte == '"' || byte == '\\')
            *at++ = '\\';
        *at++ = (char)byte;
    }
    *at++ = '"';
    *at = '\0';
    return out;
}

bool fake_utf8_valid(struct sluice_text text)
{
    const unsigned char *at = (const unsigned char *)text.at, *end = at + text.length;
    while (at < end) {
        unsigned lead = *at++;
        int more = lead < 0x80                   ? 0
                   : lead >= 0xc2 && lead < 0xe0 ? 1
                   : (lead & 0xf0) == 0xe0       ? 2
                   : lead >= 0xf0 && lead < 0xf5 ? 3
                                                 : -1;
        if (more < 0 || end - at < more)
            return false;
        unsigned code = lead & (0x7fU >> (more + (more > 0)));
        for (int i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            code = code << 6 | (*at & 0x3fU);
        }
        if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
            (more == 3 && (code < 0x10000 || code > 0x10ffff)))
            return false;
    }
    return true;
}
