/*
 * reload.c - the answer as JSON.
 */
#include "operate/reload.h"

#include "operate/json.h"
#include "plugin/versions.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    CHANGES_MAX = 36 * 1024, /* bytes of the answer with them; plugins and problems follow */
    PLUGINS_MAX = 44 * 1024,
    PROBLEMS_MAX = RELOAD_TOLD_MAX - 4 * 1024,
    VALUE_SHOWN = 512, /* bytes of a value, or of a problem's sentence */
    SENTENCE_SHOWN = 2048,
};

/* At a character's end, with a mark. */
static void put_text(struct buffer *out, const char *separator, const char *name, struct span text, size_t most)
{
    struct buffer cut;
    if (text.length <= most) {
        json_bytes(out, separator, name, text);
        return;
    }
    buffer_init(&cut, most + 8);
    buffer_append(&cut, text.at, span_utf8((struct span){text.at, most}));
    buffer_text(&cut, "…");
    json_bytes(out, separator, name, buffer_view(&cut));
    buffer_free(&cut);
}

static void put_hash(struct buffer *out, const char *separator, const char *name, const struct pipeline *pipeline)
{
    char hash[HASH_TEXT];
    buffer_format(out, "%s\"%s\":", separator, name);
    if (pipeline == NULL || pipeline->root == NULL) {
        buffer_text(out, "null");
        return;
    }
    pipeline_hash(pipeline, hash);
    json_text(out, "{", "hash", hash);
    buffer_byte(out, '}');
}

/* ---------------------------------------------------------------------------------------------------------- changes */

static void put_change(struct buffer *out, const struct change *change)
{
    json_text(out, "{", "change", change_word(change->kind));
    json_bytes(out, ",", "of", span_of(change->of));
    json_bytes(out, ",", "name", span_of(change->name));
    if (change->field != NULL) {
        json_bytes(out, ",", "field", span_of(change->field));
        put_text(out, ",", "old", span_of(change->before), VALUE_SHOWN);
        put_text(out, ",", "new", span_of(change->now), VALUE_SHOWN);
    }
    buffer_byte(out, '}');
}

static void put_changes(struct buffer *out, const struct difference *difference)
{
    size_t i = 0;
    buffer_text(out, ",\"changes\":[");
    for (; i < difference->count && out->length < CHANGES_MAX; i++) {
        buffer_text(out, i > 0 ? "," : "");
        put_change(out, &difference->changes[i]);
    }
    buffer_byte(out, ']');
    if (i < difference->count)
        buffer_format(out, ",\"changes_left_out\":%zu", difference->count - i);
}

/* ---------------------------------------------------------------------------------------------------------- plugins */

static bool find_version(struct span lines, struct span name, struct plugin_version *ret)
{
    while (plugin_version_next(&lines, ret))
        if (span_equal(ret->name, name))
            return true;
    return false;
}

static void put_version(struct buffer *out, const char *name, const struct plugin_version *version)
{
    buffer_format(out, ",\"%s\":", name);
    if (version == NULL) {
        buffer_text(out, "null");
        return;
    }
    json_bytes(out, "{", "version", version->version);
    json_bytes(out, ",", "hash", version->hash);
    buffer_byte(out, '}');
}

static void put_plugin(struct buffer *out, const char *separator, struct span name, const struct plugin_version *old,
                       const struct plugin_version *new)
{
    bool replaced = old != NULL && new != NULL &&
                    !(span_equal(old->version, new->version) && span_equal(old->hash, new->hash));
    if (out->length >= PLUGINS_MAX)
        return;
    buffer_format(out, "%s{", separator);
    json_bytes(out, "", "name", name);
    put_version(out, "old", old);
    put_version(out, "new", new);
    buffer_format(out, ",\"replaced\":%s}", replaced ? "true" : "false");
}

/* Those of the new file, then those that are only in the old one. Nothing when the new ones were not loaded. */
static void put_plugins(struct buffer *out, struct span before, struct span now)
{
    struct plugin_version old, new;
    const char *separator = "";
    if (now.length == 0)
        return;
    buffer_text(out, ",\"plugins\":[");
    for (struct span lines = now; plugin_version_next(&lines, &new); separator = ",")
        put_plugin(out, separator, new.name, find_version(before, new.name, &old) ? &old : NULL, &new);
    for (struct span lines = before; plugin_version_next(&lines, &old);)
        if (!find_version(now, old.name, &new)) {
            put_plugin(out, separator, old.name, &old, NULL);
            separator = ",";
        }
    buffer_byte(out, ']');
}

/* --------------------------------------------------------------------------------------------------------- problems */

struct found {
    struct span file, text;
    long line, column;
    bool warning;
};

/* ":12" at the end, which is taken off; -1: there is none. */
static long take_number(struct span *text)
{
    size_t digits = 0;
    while (digits < text->length && text->at[text->length - 1 - digits] >= '0' &&
           text->at[text->length - 1 - digits] <= '9')
        digits++;
    if (digits == 0 || digits > 9 || digits == text->length || text->at[text->length - 1 - digits] != ':')
        return -1;
    text->length -= digits + 1;
    return strtol(text->at + text->length + 1, NULL, 10);
}

/* "FILE:LINE:COLUMN: error: TEXT", as problems_print() writes it. */
static bool read_problem(struct span line, struct found *ret)
{
    static const char *const words[] = {": error: ", ": warning: "};
    for (size_t w = 0; w < 2; w++) {
        const char *at = memmem(line.at, line.length, words[w], strlen(words[w]));
        if (at == NULL)
            continue;
        struct span place = {line.at, (size_t)(at - line.at)};
        ret->warning = w == 1;
        ret->text.at = at + strlen(words[w]);
        ret->text.length = line.length - place.length - strlen(words[w]);
        ret->column = take_number(&place);
        ret->line = ret->column < 0 ? -1 : take_number(&place);
        ret->file = place;
        if (ret->line >= 0)
            return true;
    }
    return false;
}

static struct span take_line(struct span *lines)
{
    const char *end = memchr(lines->at, '\n', lines->length);
    struct span line = {lines->at, end == NULL ? lines->length : (size_t)(end - lines->at)};
    size_t past = line.length + (end != NULL);
    *lines = (struct span){lines->at + past, lines->length - past};
    return line;
}

static void put_problem(struct buffer *out, const struct found *found)
{
    json_text(out, "{", "level", found->warning ? "warning" : "error");
    json_bytes(out, ",", "file", found->file);
    buffer_format(out, ",\"line\":%ld,\"column\":%ld", found->line, found->column);
    put_text(out, ",", "text", found->text, SENTENCE_SHOWN);
    buffer_byte(out, '}');
}

/* Returns how many errors there are. */
static size_t put_problems(struct buffer *out, struct span lines)
{
    struct found found;
    size_t put = 0, left_out = 0, errors = 0;
    buffer_text(out, ",\"problems\":[");
    while (lines.length > 0) {
        if (!read_problem(take_line(&lines), &found))
            continue;
        errors += !found.warning;
        if (out->length >= PROBLEMS_MAX) {
            left_out++;
            continue;
        }
        buffer_text(out, put++ > 0 ? "," : "");
        put_problem(out, &found);
    }
    buffer_byte(out, ']');
    if (left_out > 0)
        buffer_format(out, ",\"problems_left_out\":%zu", left_out);
    return errors;
}

/* What is no problem of the file, in one line. */
static void put_why(struct buffer *out, const struct reload_told *told, const struct difference *difference)
{
    struct buffer why;
    struct found found;
    struct span lines = span_of(told->why);
    buffer_init(&why, RELOAD_TOLD_MAX);
    for (size_t i = 0; i < difference->refused_count; i++)
        buffer_format(&why, "%s%s", i > 0 ? " | " : "", difference->refused[i]);
    while (difference->refused_count == 0 && lines.length > 0) {
        struct span line = take_line(&lines);
        if (line.length == 0 || read_problem(line, &found))
            continue;
        buffer_text(&why, why.length > 0 ? " | " : "");
        buffer_span(&why, line);
    }
    if (why.length == 0)
        buffer_text(&why, "the file, or what it names, is wrong");
    put_text(out, ",", "why", buffer_view(&why), SENTENCE_SHOWN);
    buffer_free(&why);
}

/* ------------------------------------------------------------------------------------------------------- the answer */

/* What was refused before it was loaded is read for the answer: what it would have changed. NULL: it cannot be. */
static const struct pipeline *read_refused(const struct pipeline *before, struct arena *arena)
{
    struct stat status;
    struct problems problems;
    struct pipeline *pipeline = NULL;
    if (stat(before->file, &status) != 0 || !S_ISREG(status.st_mode)) /* a pipe would wait for its writer */
        return NULL;
    problems_init(&problems, arena);
    return pipeline_load(before->file, arena, &problems, &pipeline) == 0 ? pipeline : NULL;
}

static void put_refusal(struct buffer *out, const struct reload_told *told, const struct difference *difference)
{
    static const struct difference none = {0};
    struct buffer problems;
    buffer_init(&problems, RELOAD_TOLD_MAX);
    size_t errors = put_problems(&problems, span_of(told->why));
    json_text(out, ",", "reason",
              errors > 0                      ? RELOAD_INVALID
              : difference->refused_count > 0 ? RELOAD_NEEDS_RESTART
                                              : RELOAD_FAILED);
    put_why(out, told, errors > 0 ? &none : difference);
    buffer_free(&problems);
}

void reload_tell(const struct reload_told *told, struct buffer *out)
{
    struct arena *arena = arena_create(64 * 1024, 256 * 1024 * 1024);
    struct difference found = {0};
    const struct difference *difference = told->difference;
    const struct pipeline *now = told->now;
    struct buffer answer; /* of its own: limits are bytes of the answer */
    char path[PATH_MAX];
    bool known = realpath(told->file, path) != NULL;
    if (now == NULL && told->before != NULL)
        now = read_refused(told->before, arena);
    if (difference == NULL && now != NULL && told->before != NULL)
        difference_find(told->before, now, arena, &found);
    if (difference == NULL)
        difference = &found;
    buffer_init(&answer, 2 * RELOAD_TOLD_MAX);
    buffer_format(&answer, "{\"accepted\":%s,\"plan\":%s", told->accepted ? "true" : "false",
                  told->plan ? "true" : "false");
    if (!told->accepted)
        put_refusal(&answer, told, difference);
    json_bytes(&answer, ",", "file", span_of(known ? path : told->file));
    put_hash(&answer, ",", "old", told->before);
    put_hash(&answer, ",", "new", now);
    put_changes(&answer, difference);
    put_plugins(&answer, told->versions_before, told->versions_now);
    if (!told->accepted)
        (void)put_problems(&answer, span_of(told->why));
    buffer_format(&answer, ",\"duration_ms\":%lld}\n", (long long)told->duration_ms);
    buffer_span(out, buffer_view(&answer));
    buffer_free(&answer);
    arena_destroy(arena);
}
