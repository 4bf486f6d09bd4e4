/*
 * input.c - the fields of one event are put into the struct that a handler reads.
 *
 * Called for every event: nothing is copied but texts with escapes, nothing is allocated outside the arena. Members
 * of real events mostly stand in the order of the table, so the search goes on behind the last member that was
 * found.
 */
#include "plugin/plugin.h"

#include "plugin/field.h"

#include <errno.h>
#include <inttypes.h>

static bool name_equal(const struct json_member *member, struct span name, struct arena *arena)
{
    if (!member->name_escaped)
        return member->name.length == name.length && memcmp(member->name.at, name.at, name.length) == 0;
    struct span quoted = {member->name.at - 1, member->name.length + 2};
    return span_equal(json_unescape(quoted, true, arena), name);
}

/* The fields of one event on their way into a struct. */
struct filling {
    const struct json_object *data;
    struct arena *arena;
    size_t next;                 /* the member behind the last one that was found */
    const struct opened *opened; /* the objects that nested fields reached into: each is read once */
};

struct opened {
    const struct opened *before;
    const struct json_member *member;
    struct json_object object;
};

static const struct json_member *member_find(const struct json_object *data, struct span name, size_t *next,
                                             struct arena *arena)
{
    size_t at = *next;
    for (size_t i = 0; i < data->count; i++, at++) {
        at = at < data->count ? at : 0;
        if (name_equal(&data->members[at], name, arena)) {
            *next = at + 1;
            return &data->members[at];
        }
    }
    return NULL;
}

static const struct json_object *member_open(struct filling *filling, const struct json_member *member)
{
    for (const struct opened *opened = filling->opened; opened != NULL; opened = opened->before)
        if (opened->member == member)
            return &opened->object;
    struct opened *opened = arena_new(filling->arena, struct opened);
    *opened = (struct opened){.before = filling->opened, .member = member};
    json_members(member->value, filling->arena, &opened->object);
    filling->opened = opened;
    return &opened->object;
}

/* The member that a field is read from, NULL when it is absent; *ret_name is the part of the name that it has, or that
 * the first one on the way has which is absent, null or no object. */
static const struct json_member *member_of(struct filling *filling, const struct sluice_field *field,
                                           struct span *ret_name)
{
    const char *at = field->name;
    *ret_name = span_of(at);
    if (field->nested == 0)
        return member_find(filling->data, *ret_name, &filling->next, filling->arena);
    const struct json_object *object = filling->data;
    for (;;) {
        size_t length = strcspn(at, ".");
        const struct json_member *member = json_find(object, (struct span){at, length});
        ret_name->length = (size_t)(at + length - field->name);
        if (member == NULL || at[length] == '\0' || member->kind != JSON_KIND_OBJECT)
            return member;
        object = member_open(filling, member);
        at += length + 1;
    }
}

/* What came instead. Numbers are shown, texts are not: they may be anything, and anybody's. */
static int refuse(const struct sluice_field *field, const struct json_member *member, struct span name,
                  struct arena *arena, struct error *error)
{
    static const char *const kinds[] = {
        [JSON_KIND_OBJECT] = "an object", [JSON_KIND_ARRAY] = "an array", [JSON_KIND_STRING] = "a string",
        [JSON_KIND_NUMBER] = "a number",  [JSON_KIND_TRUE] = "true",      [JSON_KIND_FALSE] = "false",
        [JSON_KIND_NULL] = "null"};
    char expected[FIELD_WORDS_MAX];
    bool inside = field->name[name.length] != '\0';
    field_expected(field, expected);
    if (inside && (member == NULL || member->kind == JSON_KIND_NULL))
        return error_set(error, EINVAL, "field '%s' is missing: expected %s; '%.*s' is %s", field->name, expected,
                         (int)name.length, name.at, member == NULL ? "missing" : "null");
    if (inside)
        return error_set(error, EINVAL, "field '%s': expected %s in an object '%.*s', got %s", field->name, expected,
                         (int)name.length, name.at, kinds[member->kind]);
    if (member == NULL)
        return error_set(error, EINVAL, "field '%s' is missing: expected %s", field->name, expected);
    if (member->kind == JSON_KIND_NUMBER)
        return error_set(error, EINVAL, "field '%s': expected %s, got %.*s", field->name, expected,
                         member->value.length > 40 ? 40 : (int)member->value.length, member->value.at);
    if (member->kind == JSON_KIND_STRING && field->type == SLUICE_TYPE_TEXT && field->choices == NULL)
        return error_set(error, EINVAL, "field '%s': expected %s, got %zu bytes", field->name, expected,
                         json_unescape(member->value, member->value_escaped, arena).length);
    if (member->kind == JSON_KIND_STRING && field->type == SLUICE_TYPE_TEXT)
        return error_set(error, EINVAL, "field '%s': expected %s, got another text", field->name, expected);
    return error_set(error, EINVAL, "field '%s': expected %s, got %s", field->name, expected, kinds[member->kind]);
}

static bool outside(const struct sluice_field *field, int64_t value)
{
    return field_is_bounded(field) && (value < field->min || value > field->max);
}

static bool value_store(const struct sluice_field *field, const struct json_member *member, struct arena *arena,
                        void *ret)
{
    struct span text;
    int64_t number;
    double real;
    switch (field->type) {
    case SLUICE_TYPE_TEXT:
        if (member->kind != JSON_KIND_STRING)
            return false;
        text = member->value_escaped ? json_unescape(member->value, true, arena)
                                     : (struct span){member->value.at + 1, member->value.length - 2};
        if (outside(field, (int64_t)text.length) || !field_choice_fits(field->choices, text))
            return false;
        field_store_text(field, text, ret);
        return true;
    case SLUICE_TYPE_INT64:
        if (member->kind != JSON_KIND_NUMBER || json_int64(member->value, &number) != 0 || outside(field, number))
            return false;
        field_store_int64(field, number, ret);
        return true;
    case SLUICE_TYPE_DOUBLE:
        if (member->kind != JSON_KIND_NUMBER || json_double(member->value, &real) != 0 ||
            !field_takes_double(field, real))
            return false;
        field_store_double(field, real, ret);
        return true;
    case SLUICE_TYPE_BOOL:
        if (member->kind != JSON_KIND_TRUE && member->kind != JSON_KIND_FALSE)
            return false;
        field_store_bool(field, member->kind == JSON_KIND_TRUE, ret);
        return true;
    default: /* SLUICE_TYPE_JSON: fields.c lets no other through */
        if (outside(field, (int64_t)member->value.length))
            return false;
        field_store_text(field, member->value, ret);
        return true;
    }
}

static void meta_store(const struct sluice_field *field, const struct event *event, const struct input_meta *meta,
                       void *ret)
{
    struct span text = {"", 0};
    int64_t number = 0;
    switch (field->meta) {
    case SLUICE_META_EVENT_ID:
        text = event->id_text;
        break;
    case SLUICE_META_TOPIC:
        text = event->record->topic;
        break;
    case SLUICE_META_KEY:
        text = event->record->key;
        break;
    case SLUICE_META_EVENT_NAME:
        text = event->name;
        break;
    case SLUICE_META_TIMESTAMP:
        number = event->timestamp_ms;
        break;
    case SLUICE_META_ATTEMPT:
        number = meta->attempt;
        break;
    case SLUICE_META_RETRIES_LEFT:
        number = meta->retries_left;
        break;
    case SLUICE_META_RETRY_COUNT:
        number = meta->retry_count;
        break;
    }
    if (field->type == SLUICE_TYPE_META_INT64)
        field_store_int64(field, number, ret);
    else
        field_store_text(field, text.at == NULL ? (struct span){"", 0} : text, ret);
}

int input_fill(const struct sluice_field *fields, const struct event *event, const struct input_meta *meta,
               struct arena *arena, void *ret, struct error *error)
{
    struct filling filling = {.data = &event->data, .arena = arena};
    for (const struct sluice_field *field = fields; field != NULL && field->name != NULL; field++) {
        if (field_is_meta(field)) {
            meta_store(field, event, meta, ret);
            continue;
        }
        struct span name;
        const struct json_member *member = member_of(&filling, field, &name);
        if ((field->flags & SLUICE_OPTIONAL) != 0 && (member == NULL || member->kind == JSON_KIND_NULL))
            field_fallback(field, ret);
        else if (member == NULL || field->name[name.length] != '\0' || !value_store(field, member, arena, ret))
            return refuse(field, member, name, arena, error);
    }
    return 0;
}
