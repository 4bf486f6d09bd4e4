/*
 * correlation.c - see correlation.h.
 */
#include "event/correlation.h"

#include "event/event.h"

enum { EXPONENT_MAX = 100000 };

/* A JSON number as an integer, whatever its notation. False: it has a fraction, or more than 64 bits. */
static bool number_whole(struct span number, int64_t *ret)
{
    const char *at = number.at, *end = number.at + number.length;
    const bool negative = at < end && *at == '-';
    bool fraction = false, negative_exponent = false;
    int64_t exponent = 0, said = 0;
    int zeros = 0; /* of the mantissa so far: they count when another digit follows */
    uint64_t value = 0, scaled;

    for (at += negative; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        exponent -= fraction;
        zeros++;
        if (*at == '0')
            continue;
        for (; zeros > 0 && value > 0; zeros--)
            if (__builtin_mul_overflow(value, 10u, &value))
                return false;
        zeros = 0;
        if (__builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    }
    for (at += at < end; at < end; at++) {
        if (*at == '-' || *at == '+')
            negative_exponent = *at == '-';
        else if (said < EXPONENT_MAX)
            said = said * 10 + (*at - '0');
    }
    exponent += zeros + (negative_exponent ? -said : said);
    if (value == 0)
        exponent = 0;
    if (exponent < 0)
        return false;
    for (; exponent > 0; exponent--, value = scaled)
        if (__builtin_mul_overflow(value, 10u, &scaled))
            return false;
    if (value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static enum correlation_kind correlation_text(const struct json_member *member, struct arena *arena, struct span *ret,
                                              const char **ret_got)
{
    struct span text = json_unescape(member->value, member->value_escaped, arena);
    *ret_got = text.length == 0 ? "an empty text" : text.length > EVENT_ID_MAX ? "a longer text" : NULL;
    for (size_t i = 0; i < text.length && *ret_got == NULL; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            *ret_got = "a text with a control character";
    if (*ret_got != NULL)
        return CORRELATION_UNUSABLE;
    *ret = text;
    return CORRELATION_USABLE;
}

enum correlation_kind correlation_of(const struct json_member *member, struct arena *arena, struct span *ret,
                                     const char **ret_got)
{
    static const char *const others[] = {[JSON_KIND_OBJECT] = "an object",
                                         [JSON_KIND_ARRAY] = "a list",
                                         [JSON_KIND_TRUE] = "true",
                                         [JSON_KIND_FALSE] = "false",
                                         [JSON_KIND_NULL] = "null"};
    const char *ignored;
    int64_t number;
    if (ret_got == NULL)
        ret_got = &ignored;
    switch (member->kind) {
    case JSON_KIND_STRING:
        return correlation_text(member, arena, ret, ret_got);
    case JSON_KIND_NUMBER:
        if (!number_whole(member->value, &number)) {
            *ret_got = "a number with a fraction or of more than 64 bits";
            return CORRELATION_UNUSABLE;
        }
        *ret = span_of(arena_format(arena, "%lld", (long long)number));
        return CORRELATION_USABLE;
    default:
        *ret_got = others[member->kind];
        return member->kind == JSON_KIND_NULL ? CORRELATION_MISSING : CORRELATION_UNUSABLE;
    }
}

enum correlation_kind correlation_read(const struct json_object *data, struct span field, struct arena *arena,
                                       struct span *ret, const char **ret_got)
{
    const struct json_member *member = json_find(data, field);
    if (member != NULL)
        return correlation_of(member, arena, ret, ret_got);
    if (ret_got != NULL)
        *ret_got = "nothing";
    return CORRELATION_MISSING;
}
