/*
 * clock.c - base/clock.h and base/log.h, for the engine in this world: time is the world's, and the log is silent.
 *
 * The linker takes these instead of the objects of the same functions in the archives.
 */
#include "base/clock.h"

#include "base/log.h"
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>

static const struct world *clock_world;
bool log_shown;

void clock_of(const struct world *world)
{
    clock_world = world;
}

int64_t clock_monotonic_ms(void)
{
    return clock_world->now_ms;
}

int64_t clock_monotonic_ns(void)
{
    return clock_world->now_ms * 1000000;
}

int64_t clock_wall_ms(void)
{
    return SIM_WALL_MS + clock_world->now_ms;
}

int64_t clock_wall_ns(void)
{
    return (SIM_WALL_MS + clock_world->now_ms) * 1000000;
}

bool clock_is_stopped(void)
{
    return false;
}

void clock_move_to(int64_t wall_ms)
{
    (void)wall_ms;
}

struct timespec timespec_of_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
}

static void log_write(const char *component, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void log_write(const char *component, const char *format, va_list arguments)
{
    /* "memory": the engine ends the process for want of it, and nothing else tells why. */
    if (!log_shown && strcmp(component, "memory") != 0)
        return;
    fprintf(stderr, "%lld ms %s: ", (long long)clock_world->now_ms, component);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void log_flush(void)
{
}

void log_line(enum log_level level, const char *component, const char *format, ...)
{
    va_list arguments;
    (void)level;
    va_start(arguments, format);
    log_write(component, format, arguments);
    va_end(arguments);
}

void log_line_rarely(struct log_rate *rate, int64_t interval_ms, enum log_level level, const char *component,
                     const char *format, ...)
{
    va_list arguments;
    (void)rate;
    (void)interval_ms;
    (void)level;
    va_start(arguments, format);
    log_write(component, format, arguments);
    va_end(arguments);
}
