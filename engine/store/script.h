/*
 * script.h - a text of several SQL statements, taken apart the way the server does it.
 *
 * Only for sentences about a script, and to refuse one: the server itself is sent the whole text.
 */
#ifndef SLUICE_STORE_SCRIPT_H
#define SLUICE_STORE_SCRIPT_H

#include "base/span.h"

struct script_part {
    struct span text; /* from its first word to before its ';' */
    int line;         /* of that word, from 1 */
};

/* The statement at *offset or behind it, and *offset behind that. False: none is left. Comments, quoted text and bodies
 * of functions are not looked into. */
bool script_next(const char *sql, size_t *offset, struct script_part *ret);
/* Where a failure was: in the character `position` (from 1), or, when that is 0, in the statement behind the first
 * `done` ones. *ret is that statement, with the line of the failure itself. */
bool script_failed(const char *sql, size_t done, int position, struct script_part *ret);
/* Whether the statement would end the transaction that the script is run in, or begin one. */
bool script_is_transaction(struct span statement);

#endif
