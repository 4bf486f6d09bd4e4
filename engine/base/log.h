/*
 * log.h - the engine's life, one line an event, on stderr: text on a terminal, JSON elsewhere.
 *
 * A line is a time, a level, a component (a word: "bus", "lane") and a sentence; fields follow as key/value pairs.
 * Control characters are escaped, long values cut: nothing from outside can forge a line. No event payload is ever
 * logged. Threads: any; no caller waits for stderr: a line that it does not take is lost and counted (log_output.h).
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include "base/error.h"

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
void log_set_json(int on); /* 1 JSON, 0 text; the default looks at isatty(2) */
void log_line(enum log_level level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The sentence of `error`, and its hint. */
void log_error(const char *component, const struct error *error);
/* At most one line an interval for each call site, which says how many it stands for: for what would otherwise
 * repeat for as long as an outage lasts. */
struct log_rate {
    int64_t next_ms, missed;
};
#define log_rarely(interval_ms, level, component, ...)                                                                 \
    do {                                                                                                               \
        static struct log_rate log_rate_;                                                                              \
        log_line_rarely(&log_rate_, (interval_ms), (level), (component), __VA_ARGS__);                                 \
    } while (0)
void log_line_rarely(struct log_rate *rate, int64_t interval_ms, enum log_level level, const char *component,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

int64_t log_lost(void); /* lines of this process that were lost */
/* Waits until lines that had no room yet are written, half a second at most. exit() does it; call it before _exit(). */
void log_flush(void);

#define log_debug(component, ...) log_line(LOG_DEBUG, (component), __VA_ARGS__)
#define log_info(component, ...) log_line(LOG_INFO, (component), __VA_ARGS__)
#define log_warn(component, ...) log_line(LOG_WARN, (component), __VA_ARGS__)

#endif
