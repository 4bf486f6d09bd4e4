/*
 * value.h - what a flow test writes as YAML, beside what there is as JSON.
 *
 * A text without quotes that is a JSON number, true, false or null is that; every other one, and all in quotes, is a
 * string.
 */
#ifndef SLUICE_FLOWTEST_VALUE_H
#define SLUICE_FLOWTEST_VALUE_H

#include "event/json.h"
#include "pipeline/tree.h"

const char *value_text(const struct node *node, struct arena *arena); /* as JSON in one line */

/* The first place where two values differ. */
struct difference {
    struct place place;            /* of what was expected */
    const char *path;              /* "data.retryCount", "[0]"; "": the whole */
    const char *expected, *actual; /* as JSON; actual NULL: there is none */
    size_t same;                   /* scalars that agree, of all that were looked at */
};

/* Whether `actual`, accepted JSON, has what `node` says: of an object the members that it names, of a list each
 * element, in order, and no more. Else *ret says where not. ret->path is where the value stands, "" at first. */
bool value_matches(const struct node *node, struct span actual, struct arena *arena, struct difference *ret);

#endif
