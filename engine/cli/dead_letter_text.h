/*
 * dead_letter_text.h - dead letters for people, on standard output. Whatever an event holds is shown by plain.h.
 */
#ifndef SLUICE_CLI_DEAD_LETTER_TEXT_H
#define SLUICE_CLI_DEAD_LETTER_TEXT_H

#include "operate/dead_letter.h"

void dead_letters_print(const struct dead_letter_page *page); /* a line each */
void dead_letter_print(const struct dead_letter *letter);     /* everything of one */

#endif
