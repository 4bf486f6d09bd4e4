/*
 * server_clock.c - see server_clock.h.
 */
#include "flowtest/server_clock.h"

#include <strings.h>

struct sql_scan {
    const char *at, *end;
    struct span before; /* the word before, when nothing but a dot is between: its schema */
    bool bodies;
};

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80) != 0;
}

static bool begins(const struct sql_scan *scan, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(scan->end - scan->at) >= length && memcmp(scan->at, text, length) == 0;
}

/* Behind the closing `quote`; twice it is one of the text. `escapes`: a backslash takes what follows it along. */
static void skip_quoted(struct sql_scan *scan, char quote, bool escapes)
{
    for (scan->at++; scan->at < scan->end; scan->at++) {
        if (escapes && *scan->at == '\\' && scan->at + 1 < scan->end)
            scan->at++;
        else if (*scan->at == quote && scan->at + 1 < scan->end && scan->at[1] == quote)
            scan->at++;
        else if (*scan->at == quote)
            break;
    }
    scan->at += scan->at < scan->end;
}

static void skip_line(struct sql_scan *scan)
{
    while (scan->at < scan->end && *scan->at != '\n')
        scan->at++;
}

/* They nest. */
static void skip_comment(struct sql_scan *scan)
{
    int depth = 0;
    do {
        int step = begins(scan, "/*") ? 1 : begins(scan, "*/") ? -1 : 0;
        depth += step;
        scan->at += step == 0 ? 1 : 2;
    } while (depth > 0 && scan->at < scan->end);
}

/* $tag$ … $tag$, or of `bodies` its beginning alone; a lone dollar, as in $1. */
static void skip_dollar(struct sql_scan *scan)
{
    const char *tag = scan->at, *at = tag + 1;
    while (at < scan->end && is_word_byte(*at))
        at++;
    if (at == scan->end || *at != '$' || (tag[1] >= '0' && tag[1] <= '9')) {
        scan->at++;
        return;
    }
    size_t length = (size_t)(at + 1 - tag);
    scan->at = at + 1;
    while (!scan->bodies && scan->at < scan->end &&
           ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, tag, length) != 0))
        scan->at++;
    scan->at += !scan->bodies && scan->at < scan->end ? length : 0;
}

static bool is_one_of(struct span word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (word.length == strlen(*words) && strncasecmp(word.at, *words, word.length) == 0)
            return true;
    return false;
}

static bool tells_server_time(const struct sql_scan *scan, struct span word)
{
    static const char *const always[] = {
        "current_timestamp", "current_time", "current_date", "localtimestamp", "localtime", "timeofday", NULL};
    static const char *const functions[] = {"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp",
                                            NULL};
    static const char *const schema[] = {"pg_catalog", NULL};
    return is_one_of(word, always) || (is_one_of(word, functions) && is_one_of(scan->before, schema));
}

/* A word, and whether it is one; E'…' begins as one does. */
static bool take_word(struct sql_scan *scan, struct span *ret)
{
    const char *begin = scan->at;
    while (scan->at < scan->end && is_word_byte(*scan->at))
        scan->at++;
    *ret = (struct span){begin, (size_t)(scan->at - begin)};
    if (scan->at < scan->end && *scan->at == '\'' && ret->length == 1 && (*begin == 'e' || *begin == 'E')) {
        skip_quoted(scan, '\'', true);
        return false;
    }
    return tells_server_time(scan, *ret);
}

static void skip_other(struct sql_scan *scan)
{
    if (*scan->at == '\'' || *scan->at == '"')
        skip_quoted(scan, *scan->at, false);
    else if (begins(scan, "--"))
        skip_line(scan);
    else if (begins(scan, "/*"))
        skip_comment(scan);
    else if (*scan->at == '$')
        skip_dollar(scan);
    else
        scan->at++;
}

struct span server_clock_find(struct span sql, bool bodies)
{
    struct sql_scan scan = {.at = sql.at, .end = sql.at + sql.length, .bodies = bodies};
    struct span word;
    while (scan.at < scan.end) {
        if (is_word_byte(*scan.at)) {
            if (take_word(&scan, &word))
                return word;
            scan.before = word;
            if (scan.at < scan.end && *scan.at == '.')
                scan.at++;
            else
                scan.before = (struct span){NULL, 0};
            continue;
        }
        scan.before = (struct span){NULL, 0};
        skip_other(&scan);
    }
    return (struct span){NULL, 0};
}
