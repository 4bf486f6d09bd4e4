/*
 * json_escape.h - the escapes in JSON strings that the scanner has accepted. For json*.c only; json_unescape() is in
 * json.h.
 */
#ifndef SLUICE_EVENT_JSON_ESCAPE_H
#define SLUICE_EVENT_JSON_ESCAPE_H

#include "event/json.h"

/* The bytes that the escape at `at` (its backslash) stands for, at most 4, and where it ends. */
size_t json_escape_decode(const char *at, char ret[4], const char **ret_end);

#endif
