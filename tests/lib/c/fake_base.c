/*
 * fake_base.c - see fake_base.h.
 */
#include "fake_base.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_LOG_MAX = 64 * 1024 };

static int64_t monotonic_ms, wall_ms;
static char lines[FAKE_LOG_MAX];
static size_t length;

void fake_base_reset(void)
{
    monotonic_ms = 5000000;
    wall_ms = 1700000000000;
    length = 0;
    lines[0] = '\0';
}

void fake_clock_advance(int64_t ms)
{
    monotonic_ms += ms;
    wall_ms += ms;
}

int64_t clock_monotonic_ns(void)
{
    return monotonic_ms * 1000000;
}

int64_t clock_monotonic_ms(void)
{
    return monotonic_ms;
}

int64_t clock_wall_ms(void)
{
    return wall_ms;
}

int64_t clock_wall_ns(void)
{
    return wall_ms * 1000000;
}

bool clock_is_stopped(void)
{
    return false;
}

void clock_move_to(int64_t wall_to_ms)
{
    (void)wall_to_ms;
}

struct timespec timespec_of_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
}

bool fake_log_has(const char *text)
{
    return strstr(lines, text) != NULL;
}

static void keep(const char *component, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
static void keep(const char *component, const char *format, va_list args)
{
    char line[2048];
    vsnprintf(line, sizeof line, format, args);
    if (getenv("LOG_SHOW") != NULL)
        fprintf(stderr, "# %s: %s\n", component, line);
    if (length + sizeof line < sizeof lines)
        length += (size_t)snprintf(lines + length, sizeof lines - length, "%s\n", line);
}

void log_set_level(enum log_level level)
{
    (void)level;
}

void log_set_json(int on)
{
    (void)on;
}

void log_flush(void)
{
}

void log_line(enum log_level level, const char *component, const char *format, ...)
{
    va_list args;
    (void)level;
    va_start(args, format);
    keep(component, format, args);
    va_end(args);
}

void log_error(const char *component, const struct error *error)
{
    log_line(LOG_ERROR, component, "%s", error->text);
}

void log_line_rarely(struct log_rate *rate, int64_t interval_ms, enum log_level level, const char *component,
                     const char *format, ...)
{
    va_list args;
    (void)rate, (void)interval_ms, (void)level;
    va_start(args, format);
    keep(component, format, args);
    va_end(args);
}
