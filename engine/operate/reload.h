/*
 * reload.h - what is answered to who asked for a reload, as JSON and as lines for people.
 *
 *   {"accepted":true, "plan":false, "file":PATH, "old":{"hash":…}, "new":{"hash":…},
 *    "changes":[{"change":"changed", "of":"topic", "name":…, "field":…, "old":…, "new":…}, …],
 *    "plugins":[{"name":…, "old":{"version":…, "hash":…}, "new":{…}, "replaced":true}, …], "duration_ms":12}
 *
 * Where it is refused, there are "reason" (a word, below), "why" (a sentence) and "problems" as well, those of the file
 * with file, line, column and text. Answers are at most RELOAD_TOLD_MAX bytes: "changes_left_out" and
 * "problems_left_out" count what did not fit. No secret is in them (pipeline/difference.h).
 */
#ifndef SLUICE_OPERATE_RELOAD_H
#define SLUICE_OPERATE_RELOAD_H

#include "base/buffer.h"
#include "pipeline/difference.h"

enum { RELOAD_TOLD_MAX = 60 * 1024 };

#define RELOAD_INVALID "invalid"             /* the file or a plugin is wrong */
#define RELOAD_NEEDS_RESTART "needs_restart" /* a running engine cannot change that */
#define RELOAD_FAILED "failed"               /* the new worker could not begin */
#define RELOAD_OTHER_FILE "other_file"       /* the engine runs another file */

struct reload_told {
    bool accepted, plan;
    const char *file;
    /* As they were loaded. now NULL: it was not, and an engine reads it for the answer. before NULL: what runs is not
     * known, so nothing is compared. */
    const struct pipeline *before, *now;
    struct span versions_before, versions_now; /* lines of plugin/versions.h */
    const struct difference *difference;       /* NULL: found here */
    const char *why; /* refused: lines, those of problems_print() and others; NULL: what the difference says */
    int64_t duration_ms;
};

/* Appends the answer. */
void reload_tell(const struct reload_told *told, struct buffer *out);
/* Appends such an answer for people, in lines: what came of it, then changes, plugins and problems. -EINVAL: it is no
 * such answer. */
int reload_text(struct span answer, struct buffer *out);

#endif
