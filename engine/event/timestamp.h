/*
 * timestamp.h - times as the wire writes them: RFC 3339 text and milliseconds since 1970 UTC.
 */
#ifndef SLUICE_EVENT_TIMESTAMP_H
#define SLUICE_EVENT_TIMESTAMP_H

#include "base/span.h"

#define TIMESTAMP_MIN_MS (-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define TIMESTAMP_MAX_MS 253402300799999   /* 9999-12-31T23:59:59.999Z */

enum { TIMESTAMP_TEXT = 24 }; /* bytes of what timestamp_format() writes, without the NUL */

/* Reads "2025-01-02T03:04:05.678Z": any number of digits behind the point (cut to milliseconds) or none, an offset as
 * Z, ±hh:mm, ±hhmm or ±hh, none meaning UTC, and a space or lower case for the T. -EINVAL for anything else and for
 * dates that do not exist. */
int timestamp_parse(struct span text, int64_t *ret_ms);
/* "YYYY-MM-DDThh:mm:ss.mmmZ" and a NUL; a time outside the years 0 to 9999 becomes the nearest one inside. */
void timestamp_format(int64_t ms, char buf[TIMESTAMP_TEXT + 1]);

#endif
