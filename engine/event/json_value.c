/*
 * json_value.c - what json.h does with text that json_scan() has accepted: members and numbers. Nothing is
 * checked twice here; handed anything else, the results mean nothing, but no byte outside the span is read.
 */
#include "event/json.h"

#include "event/json_names.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

enum { MEMBERS_LOCAL = 64, NUMBER_LOCAL = 128 };

/* ---------------------------------------------------------------- members */

static const char *value_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* `at` is behind the opening quote; the position of the closing one (or `end`). */
static const char *value_string(const char *at, const char *end, bool *escaped)
{
    while (at < end && *at != '"') {
        if (*at == '\\') {
            *escaped = true;
            if (++at == end)
                break;
        }
        at++;
    }
    return at;
}

/* The position behind the value that begins at `at`. */
static const char *value_skip(const char *at, const char *end, enum json_kind *ret_kind, bool *ret_escaped)
{
    size_t depth = 0;
    bool ignored = false;

    switch (*at) {
    case '"':
        *ret_kind = JSON_KIND_STRING;
        at = value_string(at + 1, end, ret_escaped);
        return at < end ? at + 1 : end;
    case '{':
    case '[':
        *ret_kind = *at == '{' ? JSON_KIND_OBJECT : JSON_KIND_ARRAY;
        for (; at < end; at++) {
            if (*at == '"') {
                at = value_string(at + 1, end, &ignored);
                if (at == end)
                    break;
            } else if (*at == '{' || *at == '[') {
                depth++;
            } else if ((*at == '}' || *at == ']') && --depth == 0) {
                return at + 1;
            }
        }
        return end;
    default:
        *ret_kind = *at == 't'   ? JSON_KIND_TRUE
                    : *at == 'f' ? JSON_KIND_FALSE
                    : *at == 'n' ? JSON_KIND_NULL
                                 : JSON_KIND_NUMBER;
        while (at < end && *at != ',' && *at != '}' && *at != ']' && (unsigned char)*at > ' ')
            at++;
        return at;
    }
}

/* Reads a value at `at` and the comma behind it, if there is one; the position behind. */
static const char *value_read(const char *at, const char *end, struct json_member *ret)
{
    const char *value = at;
    at = value_skip(at, end, &ret->kind, &ret->value_escaped);
    ret->value = (struct span){value, (size_t)(at - value)};
    at = value_space(at, end);
    return at < end ? at + 1 : end;
}

/* Reads `"name": value` at `at` and the comma behind it, if there is one; the position behind, or NULL when there is
 * none. */
static const char *value_member(const char *at, const char *end, struct json_member *ret)
{
    *ret = (struct json_member){0};
    at = value_space(at, end);
    if (at == end || *at != '"')
        return NULL;
    const char *name = at + 1;
    at = value_string(name, end, &ret->name_escaped);
    ret->name = (struct span){name, (size_t)(at - name)};
    at = value_space(at < end ? at + 1 : end, end);
    at = value_space(at < end ? at + 1 : end, end); /* over the colon */
    return at == end ? NULL : value_read(at, end, ret);
}

/* Reads an element of an array at `at`, likewise. */
static const char *value_element(const char *at, const char *end, struct json_member *ret)
{
    *ret = (struct json_member){0};
    at = value_space(at, end);
    return at == end || *at == ']' ? NULL : value_read(at, end, ret);
}

static void values_read(struct span object,
                        const char *(*read)(const char *at, const char *end, struct json_member *ret),
                        struct arena *arena, struct json_object *ret)
{
    struct json_member local[MEMBERS_LOCAL], *members = local;
    size_t count = 0, size = MEMBERS_LOCAL;
    const char *end = object.at + object.length;
    const char *at = object.length > 0 ? object.at + 1 : end;
    struct json_member member;

    while ((at = read(at, end, &member)) != NULL) {
        if (count == size) {
            struct json_member *larger = arena_alloc_raw(arena, 2 * size * sizeof *larger);
            memcpy(larger, members, size * sizeof *larger);
            members = larger;
            size *= 2;
        }
        members[count++] = member;
    }
    ret->text = object;
    ret->count = count;
    ret->members = members == local ? arena_copy(arena, local, count * sizeof *local) : members;
}

void json_members(struct span object, struct arena *arena, struct json_object *ret)
{
    values_read(object, value_member, arena, ret);
}

void json_elements(struct span array, struct arena *arena, struct json_object *ret)
{
    values_read(array, value_element, arena, ret);
}

const struct json_member *json_find(const struct json_object *object, struct span name)
{
    for (size_t i = 0; i < object->count; i++) {
        const struct json_member *member = &object->members[i];
        if (member->name_escaped ? json_name_spells(member->name, name) : span_equal(member->name, name))
            return member;
    }
    return NULL;
}

/* ---------------------------------------------------------------- numbers */

int json_int64(struct span number, int64_t *ret)
{
    const char *at = number.at, *end = number.at + number.length;
    bool negative = at < end && *at == '-', over = false;
    uint64_t value = 0;

    at += negative;
    if (at == end)
        return -EINVAL;
    for (; at < end; at++) {
        unsigned digit = (unsigned)(unsigned char)*at - '0';
        if (digit > 9)
            return -EINVAL;
        over |= __builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, digit, &value);
    }
    if (over || value > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return 0;
}

int json_double(struct span number, double *ret)
{
    char local[NUMBER_LOCAL], *text = local, *end;
    if (number.length == 0)
        return -EINVAL;
    if (number.length >= sizeof local && (text = malloc(number.length + 1)) == NULL)
        return -ENOMEM;
    memcpy(text, number.at, number.length);
    text[number.length] = '\0';

    /* A plugin may have changed the locale, and with it the decimal point that strtod() expects. */
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = strtod_l(text, &end, plain);
    freelocale(plain);
    bool whole = end == text + number.length;
    if (text != local)
        free(text);
    if (!whole)
        return -EINVAL;
    if (isinf(value))
        return -ERANGE;
    *ret = value;
    return 0;
}

void json_error(struct buffer *out, const char *word, const char *message)
{
    buffer_text(out, "{\"error\":");
    buffer_json_string(out, span_of(word));
    buffer_text(out, ",\"message\":");
    buffer_json_string(out, span_of(message));
}
