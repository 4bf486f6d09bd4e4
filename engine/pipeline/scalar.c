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
    int64_t number = 0, product;
    while (digits < text.length && text.at[digits] >= '0' && text.at[digits] <= '9') {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text.at[digits] - '0', &number))
            return -ERANGE;
        digits++;
    }
    struct span unit = {text.at + digits, text.length - digits};
    for (; digits > 0 && units->name != NULL; units++)
        if (span_is(unit, units->name))
            break;
    if (digits == 0 || units->name == NULL)
        return -EINVAL;
    if (__builtin_mul_overflow(number, units->factor, &product))
        return -ERANGE;
    *ret = product;
    return 0;
}

static const struct unit duration_units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                             {"h", 3600000}, {"d", 86400000}, {0}};
static const struct unit size_units[] = {
    {"B", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}, {0}};

int duration_parse(struct span text, int64_t *ret_ms)
{
    return quantity_parse(text, duration_units, ret_ms);
}

int size_parse(struct span text, int64_t *ret_bytes)
{
    return quantity_parse(text, size_units, ret_bytes);
}

static const char *quantity_text(int64_t value, const struct unit *units, char buf[32])
{
    const struct unit *best = units;
    for (; units->name != NULL; units++)
        if (value != 0 && value % units->factor == 0)
            best = units;
    snprintf(buf, 32, "%lld%s", (long long)(value / best->factor), best->name);
    return buf;
}

const char *duration_text(int64_t ms, char buf[32])
{
    return quantity_text(ms, duration_units, buf);
}

const char *size_text(int64_t bytes, char buf[32])
{
    return quantity_text(bytes, size_units, buf);
}

const char *node_shown(const struct node *node, struct arena *arena)
{
    if (node->kind != NODE_SCALAR)
        return node->kind == NODE_MAPPING ? "a mapping" : "a list";
    if (node->text.length == 0)
        return node->interpolated ? "nothing: what ${…} stands for is set, and empty" : "nothing";
    if (node->interpolated)
        return "***";
    return arena_format(arena, "'%.80s'%s", node->text.at, node->text.length > 80 ? "…" : "");
}

static bool refuse(struct node *node, const char *what, const char *expected, struct problems *problems)
{
    if (!node->broken)
        problem_add(problems, node->place, "bad_value", "%s: expected %s, got %s", what, expected,
                    node_shown(node, problems->arena));
    return false;
}

/* Of numbers and switches: the quotes make a text of them. */
static bool refuse_plain(struct node *node, const char *what, const char *expected, struct problems *problems)
{
    if (node->kind != NODE_SCALAR || !node->quoted || node->interpolated || node->broken)
        return refuse(node, what, expected, problems);
    problem_add(problems, node->place, "bad_value", "%s: expected %s, got the text %s; take the quotes off", what,
                expected, node_shown(node, problems->arena));
    return false;
}

bool node_text(struct node *node, const char *what, const char **ret, struct problems *problems)
{
    node->used = true;
    if (node->broken || node->kind != NODE_SCALAR ||
        (!node->quoted && !node->interpolated &&
         (node->text.length == 0 || span_is(node->text, "~") || span_is(node->text, "null"))))
        return refuse(node, what, "a text", problems);
    *ret = node->text.at;
    return true;
}

bool node_bool(struct node *node, const char *what, bool *ret, struct problems *problems)
{
    node->used = true;
    bool yes = node->kind == NODE_SCALAR && span_is(node->text, "true"),
         no = node->kind == NODE_SCALAR && span_is(node->text, "false");
    if ((!yes && !no) || (node->quoted && !node->interpolated))
        return refuse_plain(node, what, "true or false", problems);
    *ret = yes;
    return true;
}

static bool plain(const struct node *node)
{
    return !node->broken && node->kind == NODE_SCALAR && (!node->quoted || node->interpolated) && node->text.length > 0;
}

bool node_int(struct node *node, const char *what, int64_t min, int64_t max, int64_t *ret, struct problems *problems)
{
    char expected[96], *end = NULL;
    node->used = true;
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)min, (long long)max);
    if (!plain(node))
        return refuse_plain(node, what, expected, problems);
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
        return refuse_plain(node, what, expected, problems);
    double value = strtod(node->text.at, &end);
    if (*end != '\0' || !isfinite(value) || value < min || value > max)
        return refuse(node, what, expected, problems);
    *ret = value;
    return true;
}

bool node_duration(struct node *node, const char *what, int64_t min_ms, int64_t max_ms, int64_t *ret_ms,
                   struct problems *problems)
{
    char expected[160], least[32], most[32];
    int64_t value = 0;
    node->used = true;
    snprintf(expected, sizeof expected, "a duration with its unit from %s to %s, like 250ms, 5m or 2h",
             duration_text(min_ms, least), duration_text(max_ms, most));
    if (node->broken || node->kind != NODE_SCALAR || duration_parse(node->text, &value) != 0 || value < min_ms ||
        value > max_ms)
        return refuse(node, what, expected, problems);
    *ret_ms = value;
    return true;
}

bool node_size(struct node *node, const char *what, int64_t min, int64_t max, int64_t *ret_bytes,
               struct problems *problems)
{
    char expected[160], least[32], most[32];
    int64_t value = 0;
    node->used = true;
    snprintf(expected, sizeof expected, "a size with its unit from %s to %s, like 64KiB", size_text(min, least),
             size_text(max, most));
    if (node->broken || node->kind != NODE_SCALAR || size_parse(node->text, &value) != 0 || value < min || value > max)
        return refuse(node, what, expected, problems);
    *ret_bytes = value;
    return true;
}
