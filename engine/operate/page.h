/*
 * page.h - what all lists of an operator have in common: how a filter's values are read, how one row more than a page
 * tells that there is another, and a page as JSON.
 */
#ifndef SLUICE_OPERATE_PAGE_H
#define SLUICE_OPERATE_PAGE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

/* Each: 0, or -EINVAL with a sentence that names what was expected. */
int page_older(struct span value, int64_t *ret_ms, struct error *error); /* a duration */
int page_limit(struct span value, struct arena *arena, int most, int64_t *ret, struct error *error);
int page_bad_place(struct error *error); /* what was given is not the "next" of a page */
/* Of a filter that has none of this name; `names` ends with NULL, and `expected` are the same in words. */
int page_unknown(struct span name, struct arena *arena, const char *const *names, const char *expected,
                 struct error *error);

/* Whether the rest of a "next" is an id of 36 characters. */
bool page_id(const char *text);

/* Of rows that were asked for with one more than `limit`: how many the page has, and whether there is another. */
size_t page_count(size_t found, int64_t limit, bool *ret_more);

/* {"NAME":[…],"next":…} and a line end: each(list, i, out) prints one. */
void page_json(const char *name, const void *list, size_t count, const char *next,
               void (*each)(const void *list, size_t i, struct buffer *out), struct buffer *out);

#endif
