/*
 * correlation.h - the value that ties the events of one chain: which values can, and which of them are the same.
 *
 * A text of 1 to EVENT_ID_MAX bytes without control characters is itself. A number without a fraction, within 64 bits,
 * is its decimal digits however it is written: 7772, 7772.0, 7.772e3 and the text "7772" are one correlation. Nothing
 * else ties events: no fraction, null, boolean, object or array.
 */
#ifndef SLUICE_EVENT_CORRELATION_H
#define SLUICE_EVENT_CORRELATION_H

#include "event/json.h"

enum correlation_kind {
    CORRELATION_USABLE = 0,
    CORRELATION_MISSING, /* no such field, or null */
    CORRELATION_UNUSABLE
};

/* Of a field of an event's data. *ret is set when it is usable, and lives as long as the data and the arena; when it is
 * not, *ret_got (may be NULL) says what there is instead: "an object". */
enum correlation_kind correlation_read(const struct json_object *data, struct span field, struct arena *arena,
                                       struct span *ret, const char **ret_got);
/* Of one member. */
enum correlation_kind correlation_of(const struct json_member *member, struct arena *arena, struct span *ret,
                                     const char **ret_got);

#endif
