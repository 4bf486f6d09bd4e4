/*
 * log_text.c - see log_text.h.
 */
#include "base/log_text.h"

#include "base/clock.h"
#include "base/span.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How the process logs is a property of the process, set once at its start. */
static _Atomic int log_json = -1; /* -1: not known yet */

void log_set_json(int on)
{
    atomic_store_explicit(&log_json, on != 0, memory_order_relaxed);
}

static bool log_is_json(void)
{
    int json = atomic_load_explicit(&log_json, memory_order_relaxed);
    if (json < 0) {
        json = !isatty(STDERR_FILENO);
        atomic_store_explicit(&log_json, json, memory_order_relaxed);
    }
    return json != 0;
}

/* Leaves two bytes free for what ends the line. */
static void log_put(struct log_text *line, const char *bytes, size_t length)
{
    size_t room = sizeof line->at - 2 - line->length;
    if (length > room)
        return;
    memcpy(line->at + line->length, bytes, length);
    line->length += length;
}

static void log_word(struct log_text *line, const char *word)
{
    log_put(line, word, strlen(word));
}

static unsigned long log_code_point(const unsigned char *at, size_t length)
{
    unsigned long code = *at & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (at[i] & 0x3fu);
    return code;
}

/* Puts what is not printable: \xNN for each byte. JSON says the character, which is below U+10000; \u00NN for a byte
 * that is none. Returns the bytes that it took. */
static size_t log_escape(struct log_text *line, struct span text, size_t at, bool json)
{
    const unsigned char *bytes = (const unsigned char *)text.at + at;
    size_t left = text.length - at, length = *bytes >= 0xe0 && left >= 3 ? 3 : *bytes >= 0xc0 && left >= 2 ? 2 : 1;
    char escape[8];
    if (!json || length == 1 || span_utf8((struct span){text.at + at, length}) != length)
        length = 1;
    if (*bytes == '\n' || *bytes == '\t')
        snprintf(escape, sizeof escape, "\\%c", *bytes == '\n' ? 'n' : 't');
    else if (json)
        snprintf(escape, sizeof escape, "\\u%04lx", length == 1 ? *bytes : log_code_point(bytes, length));
    else
        snprintf(escape, sizeof escape, "\\x%02x", *bytes);
    log_word(line, escape);
    return length;
}

/* Puts text from anywhere: printable characters as they are. */
static void log_escaped(struct log_text *line, const char *words, bool json)
{
    struct span text = span_of(words);
    for (size_t at = 0; at < text.length;) {
        size_t length = span_printable(text, at);
        if (length == 0) {
            at += log_escape(line, text, at, json);
            continue;
        }
        if (json && (text.at[at] == '"' || text.at[at] == '\\'))
            log_word(line, "\\");
        log_put(line, text.at + at, length);
        at += length;
    }
}

static void log_time(struct log_text *line)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm parts;
    char text[40];
    gmtime_r(&seconds, &parts);
    size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    length += (size_t)snprintf(text + length, sizeof text - length, ".%03dZ", (int)(now_ms % 1000));
    log_put(line, text, length);
}

void log_text_compose(struct log_text *ret, enum log_level level, const char *component, const char *sentence,
                      const char *hint)
{
    static const char *const words[] = {"debug", "info", "warn", "error"};
    static const char *const columns[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    ret->length = 0;

    if (log_is_json()) {
        log_word(ret, "{\"time\":\"");
        log_time(ret);
        log_word(ret, "\",\"level\":\"");
        log_word(ret, words[level]);
        log_word(ret, "\",\"component\":\"");
        log_escaped(ret, component, true);
        log_word(ret, "\",\"message\":\"");
        log_escaped(ret, sentence, true);
        if (hint[0] != '\0') {
            log_word(ret, "\",\"hint\":\"");
            log_escaped(ret, hint, true);
        }
        log_word(ret, "\"");
        ret->at[ret->length++] = '}';
    } else {
        log_time(ret);
        log_word(ret, " ");
        log_word(ret, columns[level]);
        log_word(ret, " ");
        log_escaped(ret, component, false);
        log_word(ret, ": ");
        log_escaped(ret, sentence, false);
        if (hint[0] != '\0') {
            log_word(ret, "; ");
            log_escaped(ret, hint, false);
        }
    }
    ret->at[ret->length++] = '\n';
}
