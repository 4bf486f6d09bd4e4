/*
 * json_names.h - names of members that may be written with escapes: "a" and "\u0061" are one name. For json*.c only.
 *
 * All names are those of a text that the scanner has read already, so their escapes are known to be whole.
 */
#ifndef SLUICE_EVENT_JSON_NAMES_H
#define SLUICE_EVENT_JSON_NAMES_H

#include "event/json.h"

/* Whether a name as written spells the plain bytes; those may hold backslashes that are no escapes. */
bool json_name_spells(struct span written, struct span plain);
/* The first member whose name stands before it as well, or NULL. */
const struct json_member *json_names_twice(const struct json_member *members, size_t count, struct arena *arena);

#endif
