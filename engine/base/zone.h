/*
 * zone.h - a time zone of the system's tz database: how far its clocks are from UTC, at any time.
 *
 * The files are read as RFC 8536 has them, versions 2 and later, with the rule behind their last transition, so that
 * times to come are right as well. Nothing of the process is touched or asked: TZ is not. A zone is immutable and
 * shared by all threads; it is as it was when it was read.
 */
#ifndef SLUICE_BASE_ZONE_H
#define SLUICE_BASE_ZONE_H

#include "base/arena.h"
#include "base/error.h"

struct zone;

/* The zone of that name, like "Europe/Berlin", from $TZDIR or /usr/share/zoneinfo; "UTC" needs no file. It lives in
 * `arena`. NULL, with a sentence and a hint, when there is none or its file cannot be read. */
struct zone *zone_read(const char *name, struct arena *arena, struct error *error);

/* What the clocks show less UTC at `at_s` (seconds since 1970 UTC), in seconds; *ret_until_s: when that changes next,
 * INT64_MAX for never. A change that changes nothing may be told of. */
int32_t zone_offset(const struct zone *zone, int64_t at_s, int64_t *ret_until_s);

enum { ZONE_TEXT_MAX = 40 };
/* What a clock of the zone shows, as RFC 3339: "2026-03-29T03:00:00+02:00". Returns buf. */
const char *zone_text(const struct zone *zone, int64_t at_s, char buf[ZONE_TEXT_MAX]);

#endif
