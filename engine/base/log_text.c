/*
 * log_text.c - see log_text.h.
 */
#include "base/log_text.h"

#include "base/clock.h"

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

/* The length of the UTF-8 character at `at`, 0 when there is none or when it is a control character (also U+0080 to
 * U+009F, which terminals obey). */
static size_t log_character(const unsigned char *at)
{
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f;
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0; /* the NUL at the end stops us as well */
    if ((at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90))
        return 0;
    return length;
}

/* Puts text from anywhere: printable characters as they are, all other bytes as \xNN (in JSON: \u00NN). */
static void log_escaped(struct log_text *line, const char *text, bool json)
{
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        size_t length = log_character(at);
        char escape[8];
        if (length == 1 && json && (*at == '"' || *at == '\\')) {
            snprintf(escape, sizeof escape, "\\%c", *at);
            log_word(line, escape);
        } else if (length > 0) {
            log_put(line, (const char *)at, length);
        } else {
            if (*at == '\n' || *at == '\t')
                snprintf(escape, sizeof escape, "\\%c", *at == '\n' ? 'n' : 't');
            else
                snprintf(escape, sizeof escape, json ? "\\u%04x" : "\\x%02x", *at);
            log_word(line, escape);
        }
        at += length > 0 ? length : 1;
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
