/*
 * letter_page.h - a page of the dead letters that topics hold.
 */
#ifndef SLUICE_OPERATE_LETTER_PAGE_H
#define SLUICE_OPERATE_LETTER_PAGE_H

#include "operate/dead_letter.h"

/* As dead_letters_read(), whole. */
int letter_topics_page(const struct operation *operation, const struct letter_filter *filter, struct span below,
                       int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error);

#endif
