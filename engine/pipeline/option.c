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

int choice_index(const char *choices, struct span text)
{
    for (int index = 0; choices != NULL; index++) {
        size_t length = strcspn(choices, "|");
        if (span_equal(text, (struct span){choices, length}))
            return index;
        choices = choices[length] == '|' ? choices + length + 1 : NULL;
    }
    return -1;
}

/* "a, b or c"; lives in the arena. */
static const char *choice_words(struct arena *arena, const char *choices)
{
    const char *words = "";
    for (bool first = true; choices != NULL; first = false) {
        size_t length = strcspn(choices, "|");
        const char *between = first ? "" : choices[length] == '|' ? ", " : " or ";
        words = arena_format(arena, "%s%s%.*s", words, between, (int)length, choices);
        choices = choices[length] == '|' ? choices + length + 1 : NULL;
    }
    return words;
}

static void option_store(const struct option *option, struct node *node, const char *what, void *base,
                         struct problems *problems)
{
    int64_t number = 0;
    double real = 0;
    const char *text = NULL;
    bool flag = false;
    char *at = option->type == OPTION_TEXT     ? (char *)&text
               : option->type == OPTION_BOOL   ? (char *)&flag
               : option->type == OPTION_NUMBER ? (char *)&real
                                               : (char *)&number;
    if (!option->own) /* else its value is checked and not stored */
        at = (char *)base + option->offset;
    switch (option->type) {
    case OPTION_TEXT:
        if (!node_text(node, what, (const char **)(void *)at, problems))
            break;
        if (option->choices != NULL && choice_index(option->choices, node->text) < 0)
            problem_add(problems, node->place, "bad_value", "%s: expected %s, got %s", what,
                        choice_words(problems->arena, option->choices), node_shown(node, problems->arena));
        else if (option->min > 0 && node->text.length == 0)
            problem_add(problems, node->place, "bad_value", "%s: expected a text, got an empty one%s", what,
                        node->interpolated ? ": what ${…} stands for is set, and empty" : "");
        break;
    case OPTION_BOOL:
        node_bool(node, what, (bool *)at, problems);
        break;
    case OPTION_INT32:
        if (node_int(node, what, option->min, option->min == 0 && option->max == 0 ? INT32_MAX : option->max, &number,
                     problems) &&
            !option->own)
            *(int32_t *)(void *)at = (int32_t)number;
        break;
    case OPTION_INT64:
        node_int(node, what, option->min, option_max(option), (int64_t *)(void *)at, problems);
        break;
    case OPTION_NUMBER:
        if (node_number(node, what, (double)option->min, option->max == 0 ? OPTION_NUMBER_MAX : (double)option->max,
                        &real, problems))
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

bool option_check(const struct option *option, struct node *node, const char *what, struct problems *problems)
{
    struct option unstored = *option;
    size_t before = problems->errors;
    unstored.own = true;
    option_store(&unstored, node, what, NULL, problems);
    return problems->errors == before;
}

void options_default(const struct option *options, void *base)
{
    for (const struct option *option = options; option->key != NULL; option++) {
        if (option->fallback == NULL || option->own)
            continue;
        char *at = (char *)base + option->offset;
        struct span text = span_of(option->fallback);
        switch (option->type) {
        case OPTION_TEXT:
            *(const char **)(void *)at = option->fallback;
            break;
        case OPTION_BOOL:
            *(bool *)at = span_is(text, "true");
            break;
        case OPTION_INT32:
            *(int32_t *)(void *)at = (int32_t)strtol(option->fallback, NULL, 10);
            break;
        case OPTION_INT64:
            *(int64_t *)(void *)at = strtoll(option->fallback, NULL, 10);
            break;
        case OPTION_NUMBER:
            *(double *)(void *)at = strtod(option->fallback, NULL);
            break;
        case OPTION_DURATION:
            duration_parse(text, (int64_t *)(void *)at);
            break;
        case OPTION_SIZE:
            size_parse(text, (int64_t *)(void *)at);
            break;
        default:
            break;
        }
    }
}

/* What other programs call it counts the first try; guessing would be off by one. */
static void refuse_attempts(const struct node *key, const struct node *value, const char *what,
                            struct problems *problems)
{
    int64_t attempts = 0;
    bool number = value->kind == NODE_SCALAR && value->text.length > 0 && value->text.length < 10 &&
                  strspn(value->text.at, "0123456789") == value->text.length;
    if (number)
        attempts = strtoll(value->text.at, NULL, 10);
    if (attempts > 0)
        problem_add(
            problems, key->place, "max_attempts",
            "%s: there is no 'max_attempts', which counts the first try; write 'max_retries: %lld', which does not",
            what, (long long)attempts - 1);
    else
        problem_add(problems, key->place, "max_attempts",
                    "%s: there is no 'max_attempts', which counts the first try; write 'max_retries', one less", what);
}

void options_apply(const struct option *options, struct node *mapping, struct place place, const char *what, void *base,
                   struct arena *arena, struct problems *problems)
{
    const char *keys[OPTION_KEYS_MAX + 1] = {NULL};
    size_t count = 0;
    bool root = options == pipeline_options;
    if (mapping != NULL && mapping->broken)
        return;
    if (mapping != NULL && mapping->kind != NODE_MAPPING) {
        problem_add(problems, mapping->place, "bad_value", "%s: expected a mapping, got %s", what,
                    node_shown(mapping, arena));
        return;
    }
    struct node *attempts = node_get(mapping, "max_attempts");
    for (const struct option *option = options; option->key != NULL; option++) {
        keys[count++] = option->key;
        struct node *node = node_get(mapping, option->key);
        bool empty = node != NULL && node->kind == NODE_SCALAR && node->text.length == 0 && !node->quoted &&
                     !node->interpolated;
        if (node != NULL && !(empty && option->required && option->type >= OPTION_SECTION))
            option_store(option, node, root ? option->key : arena_format(arena, "%s.%s", what, option->key), base,
                         problems);
        else if (option->required && (attempts == NULL || strcmp(option->key, "max_retries") != 0))
            problem_add(problems, mapping == NULL ? place : mapping->place, "missing_key", "%s: '%s' is missing: %s",
                        what, option->key, option->help);
    }
    bool retries = options == retry_options || options == ladder_options || options == backoff_options;
    for (size_t i = 0; attempts != NULL && retries && i < mapping->count; i++)
        if (mapping->items[i] == attempts) {
            refuse_attempts(mapping->keys[i], attempts, what, problems);
            keys[count++] = "max_attempts"; /* reported */
        }
    if (mapping != NULL)
        node_refuse_unknown(mapping, what, keys, problems);
}
