/*
 * field.h - rows of field tables: what they are called, what they expect in words, a value as configuration writes it.
 *
 * Shared by the checks of a descriptor, by settings, inputs and descriptions, so that all of them say the same about
 * a field. The rows are those of a checked descriptor, except in field_type_word() and field_member_size(), which
 * take any type.
 */
#ifndef SLUICE_PLUGIN_FIELD_H
#define SLUICE_PLUGIN_FIELD_H

#include "base/error.h"
#include "base/span.h"
#include "sluice/plugin.h"

enum { FIELD_WORDS_MAX = 512 };

const char *field_type_word(uint32_t type); /* "text", "int64", …; NULL for no type */
size_t field_member_size(uint32_t type);    /* of the struct member it fills; 0 for no type */
const char *field_meta_word(uint32_t meta); /* "event_id", …; NULL for none */
bool field_meta_is_text(uint32_t meta);
static inline bool field_is_meta(const struct sluice_field *field)
{
    return field->type == SLUICE_TYPE_META_TEXT || field->type == SLUICE_TYPE_META_INT64;
}
static inline bool field_is_bounded(const struct sluice_field *field)
{
    return field->min != 0 || field->max != 0;
}
/* A bound of a double that is none must not refuse what no int64 holds. */
static inline bool field_takes_double(const struct sluice_field *field, double value)
{
    return !field_is_bounded(field) || ((field->min == SLUICE_NO_MIN || value >= (double)field->min) &&
                                        (field->max == SLUICE_NO_MAX || value <= (double)field->max));
}

/* "an integer from 1 to 10", "one of a, b, c"; cut at the end of buf. Returns buf. */
const char *field_expected(const struct sluice_field *field, char buf[FIELD_WORDS_MAX]);

bool field_choice_fits(const char *choices, struct span text); /* true without choices */

/* Puts a value as it is written in the configuration into its member of `base`. A text or JSON value keeps pointing
 * to `text`.
 * -EINVAL with "expected …, got …" (no field name). */
int field_parse(const struct sluice_field *field, struct span text, void *base, struct error *error);
/* Its fallback, or {NULL, 0} / 0. */
void field_fallback(const struct sluice_field *field, void *base);

static inline void field_store_text(const struct sluice_field *field, struct span text, void *base)
{
    struct sluice_text value = {text.at, text.length};
    memcpy((char *)base + field->offset, &value, sizeof value);
}
static inline void field_store_int64(const struct sluice_field *field, int64_t value, void *base)
{
    memcpy((char *)base + field->offset, &value, sizeof value);
}
static inline void field_store_double(const struct sluice_field *field, double value, void *base)
{
    memcpy((char *)base + field->offset, &value, sizeof value);
}
static inline void field_store_bool(const struct sluice_field *field, int32_t value, void *base)
{
    memcpy((char *)base + field->offset, &value, sizeof value);
}

#endif
