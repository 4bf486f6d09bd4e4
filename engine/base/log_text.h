/*
 * log_text.h - a log line as bytes: text for a terminal, JSON elsewhere. Nothing is written here.
 *
 * What is not printable (span_printable()) is escaped and long values are cut, so nothing from outside can forge a line
 * or turn one around.
 */
#ifndef SLUICE_BASE_LOG_TEXT_H
#define SLUICE_BASE_LOG_TEXT_H

#include "base/log.h"

#include <stddef.h>

enum {
    LOG_SENTENCE_MAX = 2048, /* bytes of a sentence as it was formatted; longer ones are cut */
    LOG_LINE_MAX = 16384,    /* bytes of a line; every byte of a sentence and a hint may become six */
};

struct log_text { /* a line, with the newline at its end */
    size_t length;
    char at[LOG_LINE_MAX];
};

/* `hint` may be "". Looks at isatty(2) once, unless log_set_json() chose the format. */
void log_text_compose(struct log_text *ret, enum log_level level, const char *component, const char *sentence,
                      const char *hint);

#endif
