/*
 * script.c - a text of several SQL statements, taken apart the way psql and the server do it.
 *
 * What ends a statement is a ';' outside of quotes, comments, parentheses and the body of a routine that is written as
 * "begin atomic … end".
 */
#include "store/script.h"

#include <string.h>
#include <strings.h>

struct scan {
    const char *at;
    int words, parentheses, blocks; /* of this statement */
    bool create, routine;           /* "create [or replace] function|procedure" */
};

static bool is_word(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || (byte & 0x80) != 0;
}

static bool is_blank(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Behind a comment; `at` itself when there is none. The block comments of SQL are nested. */
static const char *comment_end(const char *at)
{
    if (at[0] == '-' && at[1] == '-')
        return at + strcspn(at, "\r\n");
    if (at[0] != '/' || at[1] != '*')
        return at;
    for (int depth = 0; *at != '\0';) {
        int step = at[0] == '/' && at[1] == '*' ? 1 : at[0] == '*' && at[1] == '/' ? -1 : 0;
        depth += step;
        at += step == 0 ? 1 : 2;
        if (depth == 0)
            break;
    }
    return at;
}

/* Behind blanks and comments. */
static const char *gap_end(const char *at)
{
    while (is_blank(*at) || comment_end(at) != at)
        at = comment_end(at) != at ? comment_end(at) : at + 1;
    return at;
}

/* Behind the quote that ends what begins at `at`. */
static const char *quoted_end(const char *at, bool escapes)
{
    char quote = *at++;
    while (*at != '\0' && *at != quote)
        at += escapes && at[0] == '\\' && at[1] != '\0' ? 2 : 1;
    return *at == '\0' ? at : at + 1; /* a doubled quote begins the next one */
}

/* Behind E'…', which goes on with its escapes behind a doubled quote, and behind a line's end: E'a'\n'b\''. */
static const char *escaped_end(const char *at)
{
    for (const char *next = at; *next == '\'';) {
        at = quoted_end(next, true);
        next = gap_end(at);
        bool line_between = memchr(at, '\n', (size_t)(next - at)) != NULL ||
                            memchr(at, '\r', (size_t)(next - at)) != NULL;
        if (next != at && !line_between)
            break;
    }
    return at;
}

/* Behind $tag$ … $tag$; behind the '$' when that begins no such text. */
static const char *dollar_end(const char *at)
{
    const char *tag = at + 1;
    while (is_word(*tag))
        tag++;
    if (*tag != '$' || (at[1] >= '0' && at[1] <= '9'))
        return at + 1;
    size_t length = (size_t)(tag + 1 - at);
    for (const char *end = tag + 1; (end = strchr(end, '$')) != NULL; end++)
        if (strncmp(end, at, length) == 0)
            return end + length;
    return at + strlen(at);
}

static bool is(const char *at, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(at, word, length) == 0;
}

static void scan_word(struct scan *scan)
{
    const char *at = scan->at;
    while (is_word(*scan->at) || *scan->at == '$')
        scan->at++;
    size_t length = (size_t)(scan->at - at);
    if (scan->words++ == 0)
        scan->create = is(at, length, "create");
    if (scan->create && scan->words <= 4 && (is(at, length, "function") || is(at, length, "procedure")))
        scan->routine = true;
    if (!scan->routine || scan->parentheses > 0)
        return;
    const char *next = gap_end(scan->at);
    bool body = is(at, length, "begin") && strncasecmp(next, "atomic", 6) == 0 && !is_word(next[6]);
    if (body || (scan->blocks > 0 && is(at, length, "case")))
        scan->blocks++;
    else if (scan->blocks > 0 && is(at, length, "end"))
        scan->blocks--;
}

/* One token. */
static void scan_token(struct scan *scan)
{
    const char *at = scan->at;
    if (comment_end(at) != at)
        scan->at = comment_end(at);
    else if ((*at == 'e' || *at == 'E') && at[1] == '\'')
        scan->at = escaped_end(at + 1);
    else if (*at == '\'' || *at == '"')
        scan->at = quoted_end(at, false);
    else if (*at == '$')
        scan->at = dollar_end(at);
    else if (is_word(*at))
        scan_word(scan);
    else {
        scan->parentheses += *at == '(' || *at == '['                              ? 1
                             : (*at == ')' || *at == ']') && scan->parentheses > 0 ? -1
                                                                                   : 0;
        scan->at++;
    }
}

static int line_of(const char *sql, const char *at)
{
    int line = 1;
    for (const char *end = sql; (end = memchr(end, '\n', (size_t)(at - end))) != NULL; end++)
        line++;
    return line;
}

bool script_next(const char *sql, size_t *offset, struct script_part *ret)
{
    struct scan scan = {.at = sql + *offset};
    for (scan.at = gap_end(scan.at); *scan.at == ';';)
        scan.at = gap_end(scan.at + 1);
    const char *begin = scan.at;
    while (*scan.at != '\0' && (*scan.at != ';' || scan.parentheses > 0 || scan.blocks > 0))
        scan_token(&scan);
    const char *end = scan.at;
    *offset = (size_t)(end - sql) + (*end == ';');
    *ret = (struct script_part){{begin, (size_t)(end - begin)}, line_of(sql, begin)};
    return end > begin;
}

/* In bytes; the server counts characters. */
static const char *character(const char *sql, int position)
{
    for (; *sql != '\0' && position > 1; position--)
        for (sql++; (*sql & 0xC0) == 0x80; sql++)
            ;
    return sql;
}

bool script_failed(const char *sql, size_t done, int position, struct script_part *ret)
{
    const char *at = position > 0 ? character(sql, position) : NULL;
    size_t offset = 0;
    for (size_t n = 0; script_next(sql, &offset, ret); n++) {
        bool here = at == NULL ? n == done : at < sql + offset || sql[offset] == '\0';
        if (!here)
            continue;
        if (at != NULL)
            ret->line = line_of(sql, at);
        return true;
    }
    return false;
}

/* The word at *at, and *at at the next one. */
static struct span word_at(const char **at, const char *end)
{
    const char *word = *at;
    while (*at < end && is_word(**at))
        (*at)++;
    struct span ret = {word, (size_t)(*at - word)};
    while (*at < end && (is_blank(**at) || comment_end(*at) != *at))
        *at = comment_end(*at) != *at ? comment_end(*at) : *at + 1;
    return ret;
}

bool script_is_transaction(struct span statement)
{
    static const char *const words[] = {"abort", "begin", "commit", "end", "start", NULL};
    const char *at = statement.at, *end = statement.at + statement.length;
    struct span first = word_at(&at, end), second = word_at(&at, end);
    for (size_t i = 0; words[i] != NULL; i++)
        if (is(first.at, first.length, words[i]))
            return true;
    bool prepares = is(first.at, first.length, "prepare") && is(second.at, second.length, "transaction");
    if (!is(first.at, first.length, "rollback"))
        return prepares;
    if (is(second.at, second.length, "work") || is(second.at, second.length, "transaction"))
        second = word_at(&at, end);
    return !is(second.at, second.length, "to"); /* a savepoint of the script's own */
}
