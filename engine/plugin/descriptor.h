/*
 * descriptor.h - what sluice_plugin() returned is read with mistrust and copied at this header's sizes.
 *
 * Every table is bounded before it is walked, every row is checked, and only the bytes that the declared version has
 * are read. A pointer that points nowhere still crashes: that is what plugin_probe()'s child is for.
 */
#ifndef SLUICE_PLUGIN_DESCRIPTOR_H
#define SLUICE_PLUGIN_DESCRIPTOR_H

#include "base/arena.h"
#include "base/error.h"
#include "sluice/plugin.h"

enum {
    DESCRIPTOR_NAME_MAX = 64, /* bytes of a name or a version */
    DESCRIPTOR_SHOWN_MAX = DESCRIPTOR_NAME_MAX + 4,
    DESCRIPTOR_TEXT_MAX = 1024, /* of a help, a fallback, choices */
    DESCRIPTOR_HANDLERS_MAX = 64,
    DESCRIPTOR_FIELDS_MAX = 256,
    DESCRIPTOR_OUTCOMES_MAX = 64,
    DESCRIPTOR_INPUT_MAX = 64 * 1024,        /* bytes of an input struct */
    DESCRIPTOR_STATE_MAX = 64 * 1024 * 1024, /* bytes of a state */
    DESCRIPTOR_EVENTS_MAX = 10000,           /* events a call */
};

/* The versions an engine knows: sizes[m] are those of MAJOR.m, up to its own minor. */
struct abi_sizes {
    uint32_t plugin, handler, field, outcome;
};
struct abi {
    uint16_t major, minor;
    const struct abi_sizes *sizes;
};
extern const struct abi abi_current;

/* Checks and copies. `name` is what the sentences begin with: a path. The strings stay where they are, in the
 * library. */
int descriptor_copy(const struct sluice_plugin *from, const struct abi *abi, const char *name, struct arena *arena,
                    const struct sluice_plugin **ret, struct error *error);

/* Of fields.c: copies and checks one table of fields. `where` is what it belongs to ("handler 'charge'",
 * "settings"). */
enum field_role { FIELDS_OF_EVENT, FIELDS_OF_REQUEST, FIELDS_OF_SETTINGS, FIELDS_SET };
struct field_table {
    const char *where;
    enum field_role role;
    size_t row_size;   /* the declared step */
    size_t owner_size; /* of the struct that offsets are in; unused by FIELDS_SET */
};
int fields_copy(const struct sluice_field *from, const struct field_table *table, struct arena *arena,
                const struct sluice_field **ret, struct error *error);

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
