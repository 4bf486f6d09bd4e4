/*
 * field_table.c - see field_table.h.
 */
#include "plugin/field_table.h"

#include "plugin/descriptor_text.h"
#include "plugin/field.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *role_word(enum field_role role)
{
    static const char *const words[] = {[FIELDS_OF_EVENT] = "field",
                                        [FIELDS_OF_REQUEST] = "field",
                                        [FIELDS_OF_SETTINGS] = "setting",
                                        [FIELDS_SET] = "`sets` field"};
    return words[role];
}

/* A key of JSON data: printable ASCII that needs no escape. A setting: a word. */
static bool name_fits(const char *name, enum field_role role)
{
    if (*name == '\0' || text_length(name, DESCRIPTOR_NAME_MAX) < 0)
        return false;
    for (const char *at = name; *at != '\0'; at++) {
        bool word = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_' ||
                    (at > name && *at >= '0' && *at <= '9');
        if (role == FIELDS_OF_SETTINGS ? !word : *at <= 0x20 || *at >= 0x7f || *at == '"' || *at == '\\')
            return false;
    }
    return true;
}

/* "address.country": names with one '.' between them. */
static bool path_fits(const char *name)
{
    size_t names = 1;
    for (const char *at = strchr(name, '.'); at != NULL; at = strchr(at + 1, '.'), names++)
        if (at == name || at[1] == '.' || at[1] == '\0')
            return false;
    return names <= FIELD_PATH_MAX;
}

static int nested_check(const struct sluice_field *field, const struct field_table *table, struct error *error)
{
    if (field->nested == 0)
        return 0;
    if (table->minor == 0)
        return error_set(error, EINVAL, "its `reserved` is %" PRIu32 ", expected 0", field->nested);
    if (field->nested > 1)
        return error_set(error, EINVAL, "its `nested` is %" PRIu32 ", expected 0 or 1", field->nested);
    if (table->role == FIELDS_OF_SETTINGS || table->role == FIELDS_SET) {
        error_set(error, EINVAL, "its `nested` is 1, but only an event's and a request's fields reach inside");
        return error_hint(error, "use type json for what has members, with a name of its own");
    }
    if (field_is_meta(field))
        return error_set(error, EINVAL, "its `nested` means nothing for what the event itself says");
    if (!path_fits(field->name)) {
        error_set(error, EINVAL, "its name is no path into the data");
        return error_hint(error, "write up to %d names with one '.' between them, as \"address.country\"",
                          FIELD_PATH_MAX);
    }
    return 0;
}

static bool type_fits(uint32_t type, enum field_role role)
{
    bool meta = type == SLUICE_TYPE_META_TEXT || type == SLUICE_TYPE_META_INT64;
    bool unit = type == SLUICE_TYPE_DURATION || type == SLUICE_TYPE_SIZE;
    return meta ? role == FIELDS_OF_EVENT : unit ? role == FIELDS_OF_SETTINGS : true;
}

/* Each check returns 0 or the sentence's code; the sentence has no place yet. */
static int type_check(const struct sluice_field *field, enum field_role role, struct error *error)
{
    static const char *const places[] = {[FIELDS_OF_EVENT] = "an event's fields",
                                         [FIELDS_OF_REQUEST] = "a request's fields",
                                         [FIELDS_OF_SETTINGS] = "settings",
                                         [FIELDS_SET] = "`sets`"};
    const char *word = field_type_word(field->type);
    if (word == NULL)
        return error_set(error, EINVAL, "its type is %" PRIu32 ", which is no SLUICE_TYPE_* of plugin ABI %u.%u",
                         field->type, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    if (!type_fits(field->type, role))
        return error_set(error, EINVAL, "the type %s cannot stand in %s", word, places[role]);
    if (!field_is_meta(field))
        return field->meta == 0
                   ? 0
                   : error_set(error, EINVAL, "its `meta` is %" PRIu32 ", but its type is %s", field->meta, word);
    if (field_meta_word(field->meta) == NULL)
        return error_set(error, EINVAL, "its `meta` is %" PRIu32 ", which is no SLUICE_META_*", field->meta);
    bool text = field_meta_is_text(field->meta);
    if (text != (field->type == SLUICE_TYPE_META_TEXT))
        return error_set(error, EINVAL, "%s is %s, but its type is %s", field_meta_word(field->meta),
                         text ? "a text" : "an integer", word);
    if (field->flags != 0 || field->fallback != NULL || field->choices != NULL || field_is_bounded(field))
        return error_set(error, EINVAL,
                         "flags, fallback, choices and bounds mean nothing for what the event itself says");
    return 0;
}

static int flags_check(const struct sluice_field *field, enum field_role role, struct error *error)
{
    uint32_t known = role == FIELDS_OF_SETTINGS ? SLUICE_OPTIONAL | SLUICE_SECRET : SLUICE_OPTIONAL;
    if ((field->flags & ~known) == SLUICE_SECRET)
        return error_set(error, EINVAL, "SLUICE_SECRET is for settings only");
    if ((field->flags & ~known) != 0)
        return error_set(error, EINVAL, "its `flags` are 0x%" PRIx32 ", with a bit that plugin ABI %u.%u does not know",
                         field->flags, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    if (field->fallback != NULL && (field->flags & SLUICE_OPTIONAL) == 0) {
        error_set(error, EINVAL, "it has a fallback, but is not SLUICE_OPTIONAL");
        return error_hint(error, "add .flags = SLUICE_OPTIONAL, or leave the fallback out");
    }
    return 0;
}

static int bounds_check(const struct sluice_field *field, struct error *error)
{
    if (field->min > field->max)
        return error_set(error, EINVAL, "its min %" PRId64 " is above its max %" PRId64, field->min, field->max);
    if (field->type == SLUICE_TYPE_BOOL && field_is_bounded(field))
        return error_set(error, EINVAL, "bounds mean nothing for a bool");
    bool counted = field->type == SLUICE_TYPE_TEXT || field->type == SLUICE_TYPE_JSON ||
                   field->type == SLUICE_TYPE_DURATION || field->type == SLUICE_TYPE_SIZE;
    if (counted && field->min < 0)
        return error_set(error, EINVAL, "its min %" PRId64 " is negative, which a %s never is", field->min,
                         field_type_word(field->type));
    if (field->choices == NULL)
        return 0;
    if (field->type != SLUICE_TYPE_TEXT)
        return error_set(error, EINVAL, "choices are for texts, but its type is %s", field_type_word(field->type));
    size_t length = strlen(field->choices);
    if (length == 0 || field->choices[0] == '|' || field->choices[length - 1] == '|' ||
        strstr(field->choices, "||") != NULL)
        return error_set(error, EINVAL, "its choices '%s' have an empty one", field->choices);
    return 0;
}

static int texts_check(const struct sluice_field *field, struct error *error)
{
    const struct {
        const char *what, *text;
    } texts[] = {{"help", field->help}, {"fallback", field->fallback}, {"choices", field->choices}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!descriptor_text_fits(texts[i].text))
            return error_set(error, EINVAL, "its `%s` is no line of UTF-8 of at most %d bytes", texts[i].what,
                             DESCRIPTOR_TEXT_MAX);
    return 0;
}

/* The member it fills: inside the struct, aligned, and no other field's. */
static int member_check(const struct sluice_field *field, const struct sluice_field *others, size_t count,
                        const struct field_table *table, struct error *error)
{
    size_t size = field_member_size(field->type), align = size == sizeof(int32_t) ? sizeof(int32_t) : sizeof(int64_t);
    const char *owner = table->role == FIELDS_OF_SETTINGS ? "state_size" : "input_size";
    if (table->role == FIELDS_SET)
        return 0;
    if (size > table->owner_size || field->offset > table->owner_size - size) {
        error_set(error, EINVAL, "its member of %zu bytes at offset %zu is outside of the `%s` of %zu", size,
                  field->offset, owner, table->owner_size);
        return error_hint(error, "`%s` is the sizeof of the struct that the offsets are in", owner);
    }
    if (field->offset % align != 0)
        return error_set(error, EINVAL, "its offset %zu is no multiple of %zu, as its type %s needs", field->offset,
                         align, field_type_word(field->type));
    for (size_t i = 0; i < count; i++)
        if (field->offset < others[i].offset + field_member_size(others[i].type) &&
            others[i].offset < field->offset + size)
            return error_set(error, EINVAL, "it fills the same bytes as '%s'", others[i].name);
    return 0;
}

/* A fallback must be a value that the configuration could hold. */
static int fallback_check(const struct sluice_field *field, struct error *error)
{
    struct sluice_field at_start = *field;
    char scratch[sizeof(struct sluice_text)];
    at_start.offset = 0;
    if (field->fallback == NULL)
        return 0;
    int r = field_parse(&at_start, span_of(field->fallback), scratch, error);
    return r == 0 ? 0 : error_prefix(error, "its fallback");
}

static int field_check(const struct sluice_field *rows, size_t count, const struct field_table *table,
                       struct error *error)
{
    const struct sluice_field *field = &rows[count];
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, field->name) == 0)
            return error_set(error, EINVAL, "there are two of that name");
    int r = texts_check(field, error);
    if (r == 0)
        r = type_check(field, table->role, error);
    if (r == 0)
        r = nested_check(field, table, error);
    if (r == 0)
        r = flags_check(field, table->role, error);
    if (r == 0)
        r = bounds_check(field, error);
    if (r == 0)
        r = member_check(field, rows, count, table, error);
    if (r == 0)
        r = fallback_check(field, error);
    return r;
}

/* A bound that is left out beside the other one is none. */
static void bounds_complete(struct sluice_field *field)
{
    if (field->min > 0 && field->max == 0)
        field->max = SLUICE_NO_MAX;
    else if (field->max < 0 && field->min == 0)
        field->min = SLUICE_NO_MIN;
}

int field_table_copy(const struct sluice_field *from, const struct field_table *table, struct arena *arena,
                     const struct sluice_field **ret, struct error *error)
{
    size_t count = 0;
    char shown[DESCRIPTOR_SHOWN_MAX];
    if (from == NULL) {
        *ret = NULL;
        return 0;
    }
    for (const char *row = (const char *)from; *(const char *const *)(const void *)row != NULL; row += table->row_size)
        if (++count > FIELD_TABLE_MAX) {
            error_set(error, EINVAL, "%s: a table has more than %d %ss", table->where, FIELD_TABLE_MAX,
                      role_word(table->role));
            return error_hint(error, "end the table with a row of zeros: {0}");
        }
    struct sluice_field *copy = arena_array(arena, struct sluice_field, count + 1);
    for (size_t i = 0; i < count; i++) {
        size_t size = table->row_size < sizeof copy[i] ? table->row_size : sizeof copy[i];
        memcpy(&copy[i], (const char *)from + i * table->row_size, size);
        bounds_complete(&copy[i]);
        descriptor_show(copy[i].name, shown);
        if (!name_fits(copy[i].name, table->role)) {
            error_set(error, EINVAL, "%s: %s '%s' has no good name", table->where, role_word(table->role), shown);
            return error_hint(error,
                              table->role == FIELDS_OF_SETTINGS
                                  ? "settings are named by letters, digits and '_', at most %d bytes"
                                  : "fields are named by printable ASCII without '\"' and '\\', at most %d bytes",
                              DESCRIPTOR_NAME_MAX);
        }
        if (field_check(copy, i, table, error) != 0)
            return error_prefix(error, "%s: %s '%s'", table->where, role_word(table->role), shown);
    }
    *ret = copy;
    return 0;
}
