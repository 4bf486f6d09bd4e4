/*
 * log.c - see log.h. Levels and rates; log_text.c makes a line of bytes, log_output.c writes it.
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/log_output.h"
#include "base/log_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* How the process logs is a property of the process, set once at its start. */
static _Atomic int log_least = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_least, (int)level, memory_order_relaxed);
}

static void log_put(enum log_level level, const char *component, const char *sentence, const char *hint)
{
    struct log_text line;
    log_text_compose(&line, level, component, sentence, hint);
    log_output_put(&line);
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
    log_put(level, component, sentence, "");
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
    log_put(LOG_ERROR, component, error->text, error->hint);
    errno = saved_errno;
}
