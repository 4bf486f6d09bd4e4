/*
 * pause.h - what is paused, by an operator or by the breaker of a dependency: one row of sluice.pause, as data, and its
 * JSON.
 *
 * What a pause covers is known to pipeline/pausable; who makes and ends one is in operate/, who obeys it in run/ and
 * batch/.
 */
#ifndef SLUICE_FLOW_PAUSE_H
#define SLUICE_FLOW_PAUSE_H

#include "base/buffer.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum pause_kind {
    PAUSE_TOPIC = 0,
    PAUSE_HANDLER,
    PAUSE_TAP,
    PAUSE_SCHEDULE,
    PAUSE_DEPENDENCY,
    PAUSE_BREAKER,
    PAUSE_KIND_COUNT
};

struct pause {
    enum pause_kind kind;
    const char *name;
    const char *actor, *reason; /* NULL: no reason was given */
    int64_t since_ms, until_ms; /* since 1970 UTC; INT64_MAX: until it is resumed */
    bool half_open;             /* of a breaker: until_ms is over, and one event is let through to find out */
};

const char *pause_kind_word(enum pause_kind kind);          /* "topic" */
bool pause_kind_of(struct span word, enum pause_kind *ret); /* false: no such word */
/* "paused by ana@box since 2026-11-29T09:00:00.000Z, until it is resumed: deploy of payment". For people. */
void pause_print_text(const struct pause *pause, struct buffer *out);
/* {"kind","name","actor","since","until","reason"}; until and reason may be null; a breaker's "state" is open or
 * half-open. */
void pause_print_json(const struct pause *pause, struct buffer *out);

#endif
