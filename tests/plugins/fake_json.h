/*
 * fake_json.h - as much JSON as the fake host needs: check a text, walk an object or an array, undo the escapes of a
 * string.
 *
 * Written for tests: small, no dependency. A value is handed out as the bytes that stand in the text.
 */
#ifndef SLUICE_TESTS_FAKE_JSON_H
#define SLUICE_TESTS_FAKE_JSON_H

#include "sluice/plugin.h"

#include <stdbool.h>

/* The end of the value that starts at `at` (after white space), or NULL when it is no JSON. */
const char *fake_json_end(const char *at, const char *end);
/* Exactly one JSON value, with nothing but white space around it. */
bool fake_json_valid(struct sluice_text json);
/* Steps through the members of an object or the items of an array (then *ret_name is {NULL, 0}): start with *cursor
 * = NULL; false at the end. The text must be valid. Names come as they are written, between their quotes. */
bool fake_json_next(struct sluice_text json, const char **cursor, struct sluice_text *ret_name,
                    struct sluice_text *ret_value);
/* The characters of a string ("…" with its quotes); from malloc, NUL-terminated. */
char *fake_json_unescape(struct sluice_text string, size_t *ret_length);
/* `text` as a JSON string with its quotes; from malloc, NUL-terminated. */
char *fake_json_escape(struct sluice_text text);
/* Well-formed UTF-8 without overlong forms and surrogates. */
bool fake_utf8_valid(struct sluice_text text);

#endif
