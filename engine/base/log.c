/*
 * log.c - see log.h. A line is built on the stack and written by one write(2), so lines of different threads never mix.
 * When stderr cannot take it the line is lost and the engine goes on: a log must not stop events.
 */
#include "base/log.h"

#include "base/buffer.h"
#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_SENTENCE_MAX = 2048, /* bytes of a sentence as it was formatted; longer ones are cut */
    LOG_LINE_MAX = 16384,    /* bytes of a line; every byte of a sentence and a hint may become six */
};

/* How the process logs is a property of the process, set once at its start. */
static _Atomic int log_least = LOG_INFO;
static _Atomic int log_json = -1; /* -1: not known yet */

struct log_text { /* a line in the making */
    size_t length;
    char at[LOG_LINE_MAX];
};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_least, (int)level, memory_order_relaxed);
}

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

static void log_write(enum log_level level, const char *component, const char *sentence, const char *hint)
{
    static const char *const words[] = {"debug", "info", "warn", "error"};
    static const char *const columns[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
    struct log_text line;
    line.length = 0;

    if (log_is_json()) {
        log_word(&line, "{\"time\":\"");
        log_time(&line);
        log_word(&line, "\",\"level\":\"");
        log_word(&line, words[level]);
        log_word(&line, "\",\"component\":\"");
        log_escaped(&line, component, true);
        log_word(&line, "\",\"message\":\"");
        log_escaped(&line, sentence, true);
        if (hint[0] != '\0') {
            log_word(&line, "\",\"hint\":\"");
            log_escaped(&line, hint, true);
        }
        log_word(&line, "\"");
        line.at[line.length++] = '}';
    } else {
        log_time(&line);
        log_word(&line, " ");
        log_word(&line, columns[level]);
        log_word(&line, " ");
        log_escaped(&line, component, false);
        log_word(&line, ": ");
        log_escaped(&line, sentence, false);
        if (hint[0] != '\0') {
            log_word(&line, "; ");
            log_escaped(&line, hint, false);
        }
    }
    line.at[line.length++] = '\n';

    ssize_t written;
    do
        written = write(STDERR_FILENO, line.at, line.length);
    while (written < 0 && errno == EINTR);
}

/* missed: how many lines like this one were not written before it. */
static void log_sentence(enum log_level level, const char *component, int64_t missed, const char *format,
                         va_list arguments)
{
    int saved_errno = errno;
    char sentence[LOG_SENTENCE_MAX];
    int length = vsnprintf(sentence, sizeof sentence, format, arguments);
    if (length >= (int)sizeof sentence)
        memcpy(sentence + sizeof sentence - 4, "...", 4);
    else if (missed > 0 && length >= 0)
        snprintf(sentence + length, sizeof sentence - (size_t)length, " (and %lld more like it before)",
                 (long long)missed);
    log_write(level, component, sentence, "");
    errno = saved_errno;
}

static bool log_wanted(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_least, memory_order_relaxed);
}

void log_line(enum log_level level, const char *component, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (log_wanted(level))
        log_sentence(level, component, 0, format, arguments);
    va_end(arguments);
}

/* 0 is a site that never logged: its first line is always written, even when the machine has just booted. */
static bool log_due(struct log_rate *rate, int64_t interval_ms)
{
    int64_t now_ms = clock_monotonic_ms(), next_ms = __atomic_load_n(&rate->next_ms, __ATOMIC_RELAXED);
    return (next_ms == 0 || now_ms >= next_ms) &&
           __atomic_compare_exchange_n(&rate->next_ms, &next_ms, now_ms + interval_ms, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

void log_line_rarely(struct log_rate *rate, int64_t interval_ms, enum log_level level, const char *component,
                     const char *format, ...)
{
    if (!log_wanted(level))
        return;
    if (!log_due(rate, interval_ms)) {
        __atomic_add_fetch(&rate->missed, 1, __ATOMIC_RELAXED);
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    log_sentence(level, component, __atomic_exchange_n(&rate->missed, 0, __ATOMIC_RELAXED), format, arguments);
    va_end(arguments);
}

void log_error(const char *component, const struct error *error)
{
    int saved_errno = errno;
    log_write(LOG_ERROR, component, error->text, error->hint);
    errno = saved_errno;
}
