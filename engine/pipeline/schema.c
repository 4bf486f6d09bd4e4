/*
 * schema.c - the JSON schema of pipeline.yaml, from the tables that read it: editors complete and check the file with
 * it.
 *
 * It knows shapes, names and ranges; what hangs together is for `sluice validate`. Every scalar may be an
 * interpolation.
 */
#include "pipeline/option.h"

#include <jansson.h>
#include <stdlib.h>

#define SCHEMA_INTERPOLATED "\\$\\{"

static json_t *reference(const char *name)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/$defs/%s", name));
}

static json_t *either(json_t *one)
{
    return json_pack("{s:[o,o]}", "anyOf", one, reference("interpolated"));
}

static json_t *choices_schema(const char *choices)
{
    json_t *list = json_array();
    for (const char *at = choices; at != NULL;) {
        size_t length = strcspn(at, "|");
        json_array_append_new(list, json_stringn(at, length));
        at = at[length] == '|' ? at + length + 1 : NULL;
    }
    return either(json_pack("{s:o}", "enum", list));
}

static json_t *table_schema(const struct option *options);

static json_t *text_schema(const struct option *option)
{
    json_t *schema = json_pack("{s:s}", "type", "string");
    if (option->min > 0)
        json_object_set_new(schema, "minLength", json_integer(option->min));
    return schema;
}

/* "a,b" or [a, b] */
static json_t *list_schema(const struct option *option)
{
    json_t *item = option->choices != NULL ? choices_schema(option->choices) : text_schema(option);
    return json_pack("{s:[o, {s:s, s:i, s:o}]}", "anyOf", text_schema(option), "type", "array", "minItems", 1, "items",
                     item);
}

static json_t *number_schema(const struct option *option, const char *type)
{
    json_t *schema = json_pack("{s:s}", "type", type);
    if (option->min != 0 || option->max != 0) {
        json_object_set_new(schema, "minimum", json_integer(option->min));
        json_object_set_new(schema, "maximum", json_integer(option->max));
    }
    return either(schema);
}

static json_t *map_schema(const struct option *option)
{
    json_t *schema = json_pack("{s:[s,s], s:o}", "type", "object", "null", "additionalProperties",
                               table_schema(option->section));
    if (option->section == request_options)
        json_object_set_new(schema, "propertyNames",
                            json_pack("{s:s}", "pattern", "^(GET|POST|PUT|PATCH|DELETE) /[^/]"));
    return schema;
}

static json_t *route_schema(const struct option *option)
{
    return json_pack("{s:[{s:s}, o, o, {s:s, s:i, s:i, s:{s:[{s:s}, o]}}]}", "anyOf", "type", "string",
                     table_schema(option->section), table_schema(target_options), "type", "array", "minItems", 1,
                     "maxItems", ROUTE_TARGETS_MAX, "items", "anyOf", "type", "string", table_schema(target_options));
}

static json_t *type_schema(const struct option *option)
{
    switch (option->type) {
    case OPTION_TEXT:
        if (option->list)
            return list_schema(option);
        return option->choices != NULL ? choices_schema(option->choices) : text_schema(option);
    case OPTION_BOOL:
        return either(json_pack("{s:s}", "type", "boolean"));
    case OPTION_INT32:
    case OPTION_INT64:
        return number_schema(option, "integer");
    case OPTION_NUMBER:
        return number_schema(option, "number");
    case OPTION_DURATION:
        return reference("duration");
    case OPTION_SIZE:
        return reference("size");
    case OPTION_SECTION:
        return table_schema(option->section);
    case OPTION_MAP:
        return map_schema(option);
    case OPTION_LIST:
        return json_pack("{s:s, s:i, s:o}", "type", "array", "minItems", 1, "items",
                         option->section != NULL ? table_schema(option->section)
                                                 : json_pack("{s:s}", "type", "string"));
    case OPTION_ROUTES:
        return json_pack("{s:s, s:o}", "type", "object", "additionalProperties", route_schema(option));
    case OPTION_NAMES:
        return json_pack("{s:[s,s], s:o}", "type", "object", "null", "additionalProperties",
                         option->choices != NULL ? choices_schema(option->choices) : text_schema(option));
    case OPTION_ANY:
        break;
    }
    return json_pack("{s:[s,s]}", "type", "object", "null");
}

/* A fallback in the type of its key. */
static json_t *fallback_json(const struct option *option)
{
    switch (option->type) {
    case OPTION_BOOL:
        return json_boolean(strcmp(option->fallback, "true") == 0);
    case OPTION_INT32:
    case OPTION_INT64:
        return json_integer(strtoll(option->fallback, NULL, 10));
    case OPTION_NUMBER:
        return json_real(strtod(option->fallback, NULL));
    default:
        return json_string(option->fallback);
    }
}

static json_t *table_schema(const struct option *options)
{
    json_t *properties = json_object(), *required = json_array();
    for (const struct option *option = options; option->key != NULL; option++) {
        json_t *property = type_schema(option);
        if (option->help != NULL)
            json_object_set_new(property, "description", json_string(option->help));
        if (option->fallback != NULL)
            json_object_set_new(property, "default", fallback_json(option));
        json_object_set_new(properties, option->key, property);
        if (option->required)
            json_array_append_new(required, json_string(option->key));
    }
    json_t *schema = json_pack("{s:[s,s], s:b, s:o}", "type", "object", "null", "additionalProperties", 0, "properties",
                               properties);
    if (json_array_size(required) > 0) {
        json_object_set_new(schema, "type", json_string("object"));
        json_object_set(schema, "required", required);
    }
    json_decref(required);
    if (options == schedule_options)
        json_object_set_new(schema, "oneOf", json_pack("[{s:[s]}, {s:[s]}]", "required", "every", "required", "cron"));
    return schema;
}

static int append(const char *bytes, size_t length, void *context)
{
    buffer_append(context, bytes, length);
    return 0;
}

void pipeline_schema(struct buffer *out)
{
    json_t *schema = json_pack("{s:s, s:s, s:{s:{s:s, s:s}, s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s}}}", "$schema",
                               "https://json-schema.org/draft/2020-12/schema", "title", "pipeline.yaml of Sluice",
                               "$defs", "interpolated", "type", "string", "pattern", SCHEMA_INTERPOLATED, "duration",
                               "type", "string", "pattern", "^[0-9]+(ms|s|m|h|d)$|" SCHEMA_INTERPOLATED, "description",
                               "a duration with its unit: 250ms, 1s, 5m, 2h, 7d", "size", "type", "string", "pattern",
                               "^[0-9]+(B|KiB|MiB|GiB)$|" SCHEMA_INTERPOLATED, "description",
                               "a size with its unit: 512B, 64KiB, 1MiB");
    json_t *table = table_schema(pipeline_options);
    json_object_update(schema, table);
    json_decref(table);
    json_dump_callback(schema, append, out, JSON_INDENT(2));
    buffer_byte(out, '\n');
    json_decref(schema);
}
