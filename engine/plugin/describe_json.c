/*
 * describe_json.c - what a plugin declares, for programs.
 */
#include "plugin/describe.h"

#include "plugin/field.h"

#include <jansson.h>
#include <stdlib.h>

static json_t *string_or_null(const char *text)
{
    return text == NULL ? json_null() : json_string(text);
}

/* What stands between the separators of a text, as a list; null without a text. */
static json_t *parts_json(const char *text, const char *separator)
{
    if (text == NULL)
        return json_null();
    json_t *list = json_array();
    for (const char *at = text; at != NULL;) {
        size_t length = strcspn(at, separator);
        json_array_append_new(list, json_stringn(at, length));
        at = at[length] != '\0' ? at + length + 1 : NULL;
    }
    return list;
}

static json_t *field_json(const struct sluice_field *field, bool set)
{
    bool bounded = field_is_bounded(field), secret = (field->flags & SLUICE_SECRET) != 0;
    json_t *row = json_object();
    json_object_set_new(row, "name", json_string(field->name));
    if (field->nested != 0)
        json_object_set_new(row, "path",
                            parts_json(field->name, ".")); /* `name` holds no dot but between its members */
    json_object_set_new(row, "type", json_string(field_type_word(field->type)));
    json_object_set_new(row, "help", string_or_null(field->help));
    if (field_is_meta(field)) {
        json_object_set_new(row, "meta", json_string(field_meta_word(field->meta)));
        return row;
    }
    if (!set) {
        json_object_set_new(row, "required", json_boolean((field->flags & SLUICE_OPTIONAL) == 0));
        json_object_set_new(row, "default",
                            string_or_null(secret && field->fallback != NULL ? "***" : field->fallback));
        json_object_set_new(row, "secret", json_boolean(secret));
    }
    json_object_set_new(row, "choices", parts_json(field->choices, "|"));
    json_object_set_new(row, "min", bounded && field->min != SLUICE_NO_MIN ? json_integer(field->min) : json_null());
    json_object_set_new(row, "max", bounded && field->max != SLUICE_NO_MAX ? json_integer(field->max) : json_null());
    return row;
}

static json_t *fields_json(const struct sluice_field *fields, bool set)
{
    json_t *list = json_array();
    for (; fields != NULL && fields->name != NULL; fields++)
        json_array_append_new(list, field_json(fields, set));
    return list;
}

static json_t *handler_json(const struct sluice_handler *handler)
{
    json_t *row = json_object(), *outcomes = json_array();
    for (const struct sluice_outcome *outcome = handler->outcomes; outcome != NULL && outcome->name != NULL; outcome++)
        json_array_append_new(outcomes, json_pack("{s:s, s:s?}", "name", outcome->name, "help", outcome->help));
    json_object_set_new(row, "name", json_string(handler->name));
    json_object_set_new(row, "help", string_or_null(handler->help));
    json_object_set_new(row, "kind", json_string(describe_kind_word(handler->kind)));
    json_object_set_new(row, "max_events", json_integer(handler->max_events));
    json_object_set_new(row, "uses_store", json_boolean(handler->uses_store != 0));
    json_object_set_new(row, "fields", fields_json(handler->input, false));
    json_object_set_new(row, "outcomes", outcomes);
    json_object_set_new(row, "sets", fields_json(handler->sets, true));
    return row;
}

/* Of the contract: a version, and the names of what is used or offered of it that is not promised yet. */
static json_t *abi_json(uint16_t major, uint16_t minor, const char *const *unstable)
{
    json_t *rows = json_array();
    for (; unstable != NULL && *unstable != NULL; unstable++)
        json_array_append_new(rows, json_string(*unstable));
    return json_pack("{s:i, s:i, s:o}", "major", major, "minor", minor, "unstable", rows);
}

void describe_json(const struct sluice_plugin *plugin, const struct described *from, struct buffer *out)
{
    json_t *all = json_object(), *handlers = json_array();
    for (const struct sluice_handler *handler = plugin->handlers; handler->name != NULL; handler++)
        json_array_append_new(handlers, handler_json(handler));
    json_object_set_new(all, "name", json_string(plugin->name));
    json_object_set_new(all, "version", json_string(plugin->version));
    json_object_set_new(all, "help", string_or_null(plugin->help));
    json_object_set_new(all, "library", json_string(from->path));
    json_object_set_new(all, "sha256", json_string(from->sha256));
    json_object_set_new(all, "note", json_boolean(from->note));
    json_object_set_new(
        all, "abi",
        abi_json(plugin->abi_major, plugin->abi_minor, plugin->reserved == 0 ? NULL : from->engine->unstable_rows));
    json_object_set_new(all, "engine_abi",
                        abi_json(from->engine->major, from->engine->minor, from->engine->unstable_rows));
    json_object_set_new(all, "settings", fields_json(plugin->settings, false));
    json_object_set_new(all, "handlers", handlers);
    char *text = json_dumps(all, JSON_INDENT(2));
    if (text == NULL)
        out->failed = true;
    else
        buffer_text(out, text);
    buffer_byte(out, '\n');
    free(text);
    json_decref(all);
}
