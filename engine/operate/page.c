/*
 * page.c - see page.h.
 */
#include "operate/page.h"

#include "operate/json.h"
#include "pipeline/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_SHOWN = 100 }; /* bytes of a value in a sentence */

static int shown(struct span value)
{
    return value.length < PAGE_SHOWN ? (int)value.length : PAGE_SHOWN;
}

int page_older(struct span value, int64_t *ret_ms, struct error *error)
{
    if (duration_parse(value, ret_ms) == 0 && *ret_ms >= 0)
        return 0;
    return error_set(error, EINVAL, "older: expected a duration, as 15m, got '%.*s'", shown(value), value.at);
}

int page_limit(struct span value, struct arena *arena, int most, int64_t *ret, struct error *error)
{
    const char *text = arena_string(arena, value);
    char *end = NULL;
    *ret = strtoll(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && *ret >= 1 && *ret <= most)
        return 0;
    return error_set(error, EINVAL, "limit: expected a number from 1 to %d, got '%.*s'", most, shown(value), value.at);
}

int page_bad_place(struct error *error)
{
    return error_set(error, EINVAL, "after: expected the \"next\" of a page before");
}

int page_unknown(struct span name, struct arena *arena, const char *const *names, const char *expected,
                 struct error *error)
{
    const char *near = nearest_name(arena_string(arena, name), names);
    return error_set(error, EINVAL, "unknown '%.*s'%s%s%s; expected %s", shown(name), name.at,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "",
                     expected);
}

bool page_id(const char *text)
{
    return strlen(text) == 36 && strspn(text, "-0123456789abcdef") == 36;
}

size_t page_count(size_t found, int64_t limit, bool *ret_more)
{
    *ret_more = found > (size_t)limit;
    return *ret_more ? (size_t)limit : found;
}

void page_json(const char *name, const void *list, size_t count, const char *next,
               void (*each)(const void *list, size_t i, struct buffer *out), struct buffer *out)
{
    buffer_format(out, "{\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        buffer_text(out, i == 0 ? "" : ",");
        each(list, i, out);
    }
    buffer_text(out, "]");
    json_text(out, ",", "next", next);
    buffer_text(out, "}\n");
}
