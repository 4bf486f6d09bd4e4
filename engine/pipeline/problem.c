/*
 * problem.c - collects what is wrong with a configuration, so that one run reports all of it.
 */
#include "pipeline/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROBLEM_TEXT_MAX = 2048, PROBLEMS_MAX = 1000 };

void problems_init(struct problems *problems, struct arena *arena)
{
    *problems = (struct problems){.arena = arena};
}

/* A line of text whatever it was made from: control characters as \xNN, bytes that are no UTF-8 as '?'. */
static const char *printable(struct arena *arena, const char *text)
{
    char *out = arena_alloc(arena, 4 * strlen(text) + 1), *at = out;
    for (const unsigned char *in = (const unsigned char *)text; *in != '\0';) {
        size_t length = *in < 0x80                  ? 1
                        : *in >= 0xf0 && *in < 0xf5 ? 4
                        : *in >= 0xe0 && *in < 0xf0 ? 3
                        : *in >= 0xc2 && *in < 0xe0 ? 2
                                                    : 0;
        size_t good = 1;
        while (good < length && (in[good] & 0xc0) == 0x80)
            good++;
        bool wrong = length == 0 || good < length || (*in == 0xe0 && in[1] < 0xa0) || (*in == 0xed && in[1] > 0x9f) ||
                     (*in == 0xf0 && in[1] < 0x90) || (*in == 0xf4 && in[1] > 0x8f);
        if (wrong) {
            *at++ = '?';
            in++;
        } else if (*in < 0x20 || *in == 0x7f) {
            at += snprintf(at, 5, "\\x%02x", *in++);
        } else {
            memcpy(at, in, length);
            at += length;
            in += length;
        }
    }
    *at = '\0';
    return out;
}

static void problem_put(struct problems *problems, struct place place, bool warning, const char *code,
                        const char *format, va_list args)
{
    char text[PROBLEM_TEXT_MAX];
    if (problems->count == PROBLEMS_MAX)
        return;
    vsnprintf(text, sizeof text, format, args);
    if (problems->count == problems->size) {
        size_t size = problems->size == 0 ? 16 : problems->size * 2;
        struct problem *grown = arena_array(problems->arena, struct problem, size);
        if (problems->count > 0)
            memcpy(grown, problems->list, problems->count * sizeof *grown);
        problems->list = grown;
        problems->size = size;
    }
    problems->list[problems->count++] = (struct problem){place, warning, code, printable(problems->arena, text)};
    problems->errors += !warning;
}

void problem_add(struct problems *problems, struct place place, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem_put(problems, place, false, code, format, args);
    va_end(args);
}

void problem_warn(struct problems *problems, struct place place, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem_put(problems, place, true, code, format, args);
    va_end(args);
}

static bool has_problem(const struct problems *problems, const struct problem *problem)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *other = &problems->list[i];
        if (strcmp(other->text, problem->text) == 0 && other->place.line == problem->place.line &&
            other->place.column == problem->place.column && strcmp(other->place.file, problem->place.file) == 0)
            return true;
    }
    return false;
}

void problems_merge(struct problems *problems, const struct problems *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct problem *problem = &from->list[i];
        if (has_problem(problems, problem))
            continue;
        if (problem->warning)
            problem_warn(problems, problem->place, problem->code, "%s", problem->text);
        else
            problem_add(problems, problem->place, problem->code, "%s", problem->text);
    }
}

static int by_place(const void *left, const void *right)
{
    const struct problem *a = left, *b = right;
    int file = strcmp(a->place.file == NULL ? "" : a->place.file, b->place.file == NULL ? "" : b->place.file);
    if (file != 0)
        return file;
    if (a->place.line != b->place.line)
        return a->place.line < b->place.line ? -1 : 1;
    return a->place.column != b->place.column ? (a->place.column < b->place.column ? -1 : 1) : strcmp(a->text, b->text);
}

void problems_sort(struct problems *problems)
{
    if (problems->count > 1)
        qsort(problems->list, problems->count, sizeof *problems->list, by_place);
}

void problems_print(const struct problems *problems, bool json, struct buffer *out)
{
    if (json)
        buffer_byte(out, '[');
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->list[i];
        const char *word = problem->warning ? "warning" : "error",
                   *file = problem->place.file == NULL ? "" : problem->place.file;
        if (!json) {
            buffer_format(out, "%s:%d:%d: %s: %s\n", file, problem->place.line, problem->place.column, word,
                          problem->text);
            continue;
        }
        buffer_format(out, "%s{\"level\":\"%s\",\"code\":\"%s\",\"line\":%d,\"column\":%d,\"file\":", i > 0 ? "," : "",
                      word, problem->code, problem->place.line, problem->place.column);
        buffer_json_string(out, span_of(file));
        buffer_text(out, ",\"message\":");
        buffer_json_string(out, span_of(problem->text));
        buffer_byte(out, '}');
    }
    if (json)
        buffer_text(out, "]\n");
}

/* Edit distance with transpositions, given up past `most`. */
static size_t distance(const char *a, const char *b, size_t most)
{
    enum { NAME_MAX_LENGTH = 64 };
    size_t la = strlen(a), lb = strlen(b);
    size_t rows[3][NAME_MAX_LENGTH + 1];
    if (la > NAME_MAX_LENGTH || lb > NAME_MAX_LENGTH || la > lb + most || lb > la + most)
        return most + 1;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *now = rows[i % 3], *last = rows[(i - 1) % 3], *older = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && older[j - 2] + 1 < best)
                best = older[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *nearest_name(const char *word, const char *const *names)
{
    size_t most = strlen(word) < 4 ? 1 : strlen(word) < 8 ? 2 : 3, best = most + 1;
    const char *near = NULL;
    for (; *names != NULL; names++) {
        size_t far = distance(word, *names, most);
        if (far < best) {
            best = far;
            near = *names;
        }
    }
    return near;
}
