/*
 * descriptor_text.h - names and texts of a descriptor that is not checked yet: whether they are good, and how to show
 * them.
 */
#ifndef SLUICE_PLUGIN_DESCRIPTOR_TEXT_H
#define SLUICE_PLUGIN_DESCRIPTOR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
    DESCRIPTOR_NAME_MAX = 64, /* bytes of a name or a version */
    DESCRIPTOR_SHOWN_MAX = DESCRIPTOR_NAME_MAX + 4,
    DESCRIPTOR_TEXT_MAX = 1024, /* of a help, a fallback, choices */
};

/* The length of a string that must end within `max` bytes, or -1. */
static inline long text_length(const char *text, size_t max)
{
    size_t length = strnlen(text, max + 1);
    return length > max ? -1 : (long)length;
}
/* [a-z][a-z0-9_]*, 1..DESCRIPTOR_NAME_MAX bytes. */
bool descriptor_name_fits(const char *name);
/* NULL, or one line of UTF-8 of at most DESCRIPTOR_TEXT_MAX bytes. */
bool descriptor_text_fits(const char *text);
/* A name for a sentence even when it is no good: cut, unprintable bytes as '?'. Returns buf. */
const char *descriptor_show(const char *name, char buf[DESCRIPTOR_SHOWN_MAX]);

#endif
