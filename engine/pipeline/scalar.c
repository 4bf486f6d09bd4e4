/*
 * scalar.c - typed scalars: one grammar for each type, and a sentence that says what was expected.
 */
#include "pipeline/tree.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* "250ms", "1s", "5m", "1h30m" is refused: one number, one unit. */
static int quantity_parse(struct span text, const struct unit *units, int64_t *ret)
{
    size_t digits = 0;
    int64_t number = 0;
    while (digits < text.length && text.at[digits] >= '0' && text.at[digits] <= '9') {
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, text.at[digits] - '0', &number))
            return -ERANGE;
        digits++;
    }
    struct span unit = {text.at + digits, text.length - digits};
    for (; digits > 0 && units->name != NULL; units++)
        if (span_is(unit, units->name))
            return __builtin_mul_overflow(number, units->factor, ret) ? -ERANGE : 0;
    return -EINVAL;
}

int duration_parse(struct span text, int64_t *ret_ms)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
    return quantity_parse(text, units, ret_ms);
}

int size_parse(struct span text, int64_t *ret_bytes)
{
    static const struct unit units[] = {{"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}, {0}};
    return quantity_parse(text, units, ret_bytes);
}

static const char *shown(const struct node *node)
{
    return node->kind == NODE_MAPPING ? "a mapping" : node->kind == NODE_SEQUENCE ? "a list" : node->interpolated ? "***" : node->text.at;
}

static bool refuse(struct node *node, const char *what, const char *expected, struct problems *problems)
{
    bool quote = node->kind == NODE_SCALAR && !node->interpolated;
    problem_add(problems, node->place, "bad_value", "%s: expected %s, got %s%s%s", what, expected, quote ? "'" : "", shown(node), quote ? "'" : "");
    return false;
}

bool node_text(struct node *node, const char *what, const char **ret, struct problems *problems)
{
    node->used = true;
    if (node->kind != NODE_SCALAR || (!node->quoted && !node->interpolated && (node->text.length == 0 || span_is(node->text, "~") ||
                                                                              span_is(node->text, "null"))))
        return refuse(node, what, "a text", problems);
    *ret = node->text.at;
    return true;
}

bool node_bool(struct node *node, const char *what, bool *ret, struct problems *problems)
{
    node->used = true;
    bool yes = node->kind == NODE_SCALAR && span_is(node->text, "true"), no = node->kind == NODE_SCALAR && span_is(node->text, "false");
    if ((!yes && !no) || (node->quoted && !node->interpolated))
        return refuse(node, what, "true or false", problems);
    *ret = yes;
    return true;
}

static bool plain(const struct node *node)
{
    return node->kind == NODE_SCALAR && (!node->quoted || node->interpolated) && node->text.length > 0;
}

bool node_int(struct node *node, const char *what, int64_t min, int64_t max, int64_t *ret, struct problems *problems)
{
    char expected[96], *end = NULL;
    node->used = true;
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)min, (long long)max);
    if (!plain(node))
        return refuse(node, what, expected, problems);
    const char *text = node->text.at, *digits = *text == '-' ? text + 1 : text;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool octal = digits[0] == '0' && digits[1] != '\0';
    if (*digits < '0' || *digits > '9' || octal || *end != '\0' || errno != 0 || value < min || value > max)
        return refuse(node, what, expected, problems);
    *ret = value;
    return true;
}

bool node_number(struct node *node, const char *what, double min, double max, double *ret, struct problems *problems)
{
    char expected[96], *end = NULL;
    node->used = true;
    snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
    if (!plain(node) || strspn(node->text.at, "0123456789.-") != node->text.length)
        return refuse(node, what, expected, problems);
    double value = strtod(node->text.at, &end);
    if (*end != '\0' || !isfinite(value) || value < min || value > max)
        return refuse(node, what, expected, problems);
    *ret = value;
    return true;
}

static bool node_quantity(struct node *node, const char *what, int (*parse)(struct span, int64_t *), int64_t min, int64_t max,
                          const char *example, const char *unit, int64_t *ret, struct problems *problems)
{
    char expected[160];
    int64_t value = 0;
    node->used = true;
    snprintf(expected, sizeof expected, "a %s, from %lld to %lld %s", example, (long long)min, (long long)max, unit);
    if (node->kind != NODE_SCALAR || parse(node->text, &value) != 0 || value < min || value > max)
        return refuse(node, what, expected, problems);
    *ret = value;
    return true;
}

bool node_duration(struct node *node, const char *what, int64_t min_ms, int64_t max_ms, int64_t *ret_ms, struct problems *problems)
{
    return node_quantity(node, what, duration_parse, min_ms, max_ms, "duration with its unit, like 250ms, 1s, 5m, 2h or 7d", "ms", ret_ms, problems);
}

bool node_size(struct node *node, const char *what, int64_t min, int64_t max, int64_t *ret_bytes, struct problems *problems)
{
    return node_quantity(node, what, size_parse, min, max, "size with its unit, like 512B, 64KiB or 1MiB", "bytes", ret_bytes, problems);
}
