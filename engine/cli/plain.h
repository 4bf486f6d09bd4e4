/*
 * plain.h - bytes that somebody else chose, on a terminal: what could move its cursor or colour it is shown as \xNN.
 */
#ifndef SLUICE_CLI_PLAIN_H
#define SLUICE_CLI_PLAIN_H

#include "base/span.h"

#include <stdio.h>

/* At most `most` bytes of it, then "…"; 0: all. What span_printable() lets pass stays, line ends
 * and tabs do not. */
void plain_write(FILE *out, struct span bytes, size_t most);
/* The same, to standard output. */
void plain_print(struct span bytes, size_t most);
/* The same, and blanks up to `width` columns (a character is one). */
void plain_column(struct span bytes, size_t width);

#endif
