/*
 * option.c - applies a table of options to a mapping.
 */
#include "pipeline/option.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPTION_KEYS_MAX = 64, OPTION_NUMBER_MAX = 1000000000 };

static int64_t option_max(const struct option *option)
{
    return option->min == 0 && option->max == 0 ? INT64_MAX : option->max;
}

static void option_store(const struct option *option, struct node *node, const char *what, void *base, struct problems *problems)
{
    int64_t number = 0;
    double real = 0;
    const char *text = NULL;
    bool flag = false;
    char *at = option->type == OPTION_TEXT     ? (char *)&text
               : option->type == OPTION_BOOL   ? (char *)&flag
               : option->type == OPTION_NUMBER ? (char *)&real
                                               : (char *)&number;
    if (!option->own) /* else it is only looked at */
        at = (char *)base + option->offset;
    switch (option->type) {
    case OPTION_TEXT:
        if (!node_text(node, what, (const char **)(void *)at, problems) || option->choices == NULL)
            break;
        for (const char *choice = option->choices; choice != NULL;) {
            size_t length = strcspn(choice, "|");
            if (span_equal(node->text, (struct span){choice, length}))
                return;
            choice = choice[length] == '|' ? choice + length + 1 : NULL;
        }
        problem_add(problems, node->place, "bad_value", "%s: expected one of %s, got '%s'", what, option->choices, node->text.at);
        break;
    case OPTION_BOOL:
        node_bool(node, what, (bool *)at, problems);
        break;
    case OPTION_INT32:
        if (node_int(node, what, option->min, option->min == 0 && option->max == 0 ? INT32_MAX : option->max, &number, problems) &&
            !option->own)
            *(int32_t *)(void *)at = (int32_t)number;
        break;
    case OPTION_INT64:
        node_int(node, what, option->min, option_max(option), (int64_t *)(void *)at, problems);
        break;
    case OPTION_NUMBER:
        if (node_number(node, what, (double)option->min, option->max == 0 ? OPTION_NUMBER_MAX : (double)option->max, &real, problems))
            *(double *)(void *)at = real;
        break;
    case OPTION_DURATION:
        node_duration(node, what, option->min, option_max(option), (int64_t *)(void *)at, problems);
        break;
    case OPTION_SIZE:
        node_size(node, what, option->min, option_max(option), (int64_t *)(void *)at, problems);
        break;
    default:
        break;
    }
}

void options_default(const struct option *options, void *base)
{
    for (const struct option *option = options; option->key != NULL; option++) {
        if (option->fallback == NULL || option->own)
            continue;
        char *at = (char *)base + option->offset;
        struct span text = span_of(option->fallback);
        switch (option->type) {
        case OPTION_TEXT: *(const char **)(void *)at = option->fallback; break;
        case OPTION_BOOL: *(bool *)at = span_is(text, "true"); break;
        case OPTION_INT32: *(int32_t *)(void *)at = (int32_t)strtol(option->fallback, NULL, 10); break;
        case OPTION_INT64: *(int64_t *)(void *)at = strtoll(option->fallback, NULL, 10); break;
        case OPTION_NUMBER: *(double *)(void *)at = strtod(option->fallback, NULL); break;
        case OPTION_DURATION: duration_parse(text, (int64_t *)(void *)at); break;
        case OPTION_SIZE: size_parse(text, (int64_t *)(void *)at); break;
        default: break;
        }
    }
}

void options_apply(const struct option *options, struct node *mapping, struct place place, const char *what, void *base, struct arena *arena,
                   struct problems *problems)
{
    const char *keys[OPTION_KEYS_MAX + 1] = {NULL};
    size_t count = 0;
    if (mapping != NULL && mapping->kind != NODE_MAPPING) {
        problem_add(problems, mapping->place, "bad_value", "%s: expected a mapping", what);
        return;
    }
    for (const struct option *option = options; option->key != NULL; option++) {
        keys[count++] = option->key;
        struct node *node = node_get(mapping, option->key);
        if (node != NULL)
            option_store(option, node, arena_format(arena, "%s.%s", what, option->key), base, problems);
        else if (option->required)
            problem_add(problems, mapping == NULL ? place : mapping->place, "missing_key", "%s: '%s' is missing: %s", what, option->key, option->help);
    }
    if (mapping != NULL)
        node_refuse_unknown(mapping, what, keys, problems);
}
