/*
 * value.c - see value.h.
 */
#include "flowtest/value.h"

#include <stdio.h>

enum { VALUE_TEXT_MAX = 64 * 1024, VALUE_SHOWN_MAX = 400 };

/* A number as JSON writes it. */
static bool is_number(struct span text)
{
    struct json_object object;
    char wrapped[64];
    if (text.length == 0 || text.length > 40 || (text.at[0] != '-' && (text.at[0] < '0' || text.at[0] > '9')))
        return false;
    struct arena *arena = arena_create(1024, 64 * 1024);
    int length = snprintf(wrapped, sizeof wrapped, "{\"n\":%.*s}", (int)text.length, text.at);
    bool number = arena != NULL && json_scan((struct span){wrapped, (size_t)length}, arena, &object, NULL) == 0 &&
                  object.count == 1 && object.members[0].kind == JSON_KIND_NUMBER;
    arena_destroy(arena);
    return number;
}

static bool is_word(const struct node *node)
{
    return !node->quoted && (node->text.length == 0 || span_is(node->text, "null") || span_is(node->text, "true") ||
                             span_is(node->text, "false"));
}

static void value_json(const struct node *node, struct buffer *out)
{
    if (node->kind == NODE_SCALAR) {
        if (is_word(node))
            buffer_span(out, node->text.length == 0 ? SPAN("null") : node->text);
        else if (!node->quoted && is_number(node->text))
            buffer_span(out, node->text);
        else
            buffer_json_string(out, node->text);
        return;
    }
    bool mapping = node->kind == NODE_MAPPING;
    buffer_byte(out, mapping ? '{' : '[');
    for (size_t i = 0; i < node->count; i++) {
        if (i > 0)
            buffer_byte(out, ',');
        if (mapping) {
            buffer_json_string(out, node->keys[i]->text);
            buffer_byte(out, ':');
        }
        value_json(node->items[i], out);
    }
    buffer_byte(out, mapping ? '}' : ']');
}

const char *value_text(const struct node *node, struct arena *arena)
{
    struct buffer out;
    buffer_init(&out, VALUE_TEXT_MAX);
    value_json(node, &out);
    const char *text = arena_string(arena, buffer_view(&out));
    buffer_free(&out);
    return text;
}

static const char *shown(struct span text, struct arena *arena)
{
    return text.length <= VALUE_SHOWN_MAX
               ? arena_string(arena, text)
               : arena_format(arena, "%.*s…", (int)span_utf8((struct span){text.at, VALUE_SHOWN_MAX}), text.at);
}

static bool differ(const struct node *node, struct span actual, struct arena *arena, struct difference *ret)
{
    ret->place = node->place;
    ret->expected = value_text(node, arena);
    ret->actual = actual.at == NULL ? NULL : shown(actual, arena);
    return false;
}

static bool scalar_matches(const struct node *node, struct span actual, struct arena *arena)
{
    bool string = actual.at[0] == '"';
    if (is_word(node))
        return span_equal(actual, node->text.length == 0 ? SPAN("null") : node->text);
    if (!node->quoted && is_number(node->text)) {
        double expected, got;
        return !string && (span_equal(node->text, actual) ||
                           (json_double(node->text, &expected) == 0 && json_double(actual, &got) == 0 &&
                            (actual.at[0] == '-' || (actual.at[0] >= '0' && actual.at[0] <= '9')) && expected == got));
    }
    return string && span_equal(json_unescape(actual, true, arena), node->text);
}

static bool object_matches(const struct node *node, struct span actual, struct arena *arena, struct difference *ret)
{
    struct json_object object;
    const char *path = ret->path;
    bool same = true;
    if (actual.at[0] != '{')
        return differ(node, actual, arena, ret);
    json_members(actual, arena, &object);
    for (size_t i = 0; i < node->count; i++) {
        const struct json_member *member = json_find(&object, node->keys[i]->text);
        struct difference of_member = {.path = arena_format(arena, "%s%s%.*s", path, path[0] == '\0' ? "" : ".",
                                                            (int)node->keys[i]->text.length, node->keys[i]->text.at)};
        bool matches = member != NULL ? value_matches(node->items[i], member->value, arena, &of_member)
                                      : differ(node->items[i], (struct span){NULL, 0}, arena, &of_member);
        ret->same += of_member.same;
        of_member.same = ret->same;
        if (!matches && same)
            *ret = of_member;
        same = same && matches;
    }
    return same;
}

static bool list_matches(const struct node *node, struct span actual, struct arena *arena, struct difference *ret)
{
    struct json_object list;
    const char *path = ret->path;
    if (actual.at[0] != '[')
        return differ(node, actual, arena, ret);
    json_elements(actual, arena, &list);
    if (list.count != node->count)
        return differ(node, actual, arena, ret);
    for (size_t i = 0; i < node->count; i++) {
        ret->path = arena_format(arena, "%s[%zu]", path, i);
        if (!value_matches(node->items[i], list.members[i].value, arena, ret))
            return false;
    }
    return true;
}

bool value_matches(const struct node *node, struct span actual, struct arena *arena, struct difference *ret)
{
    if (node->kind == NODE_MAPPING)
        return object_matches(node, actual, arena, ret);
    if (node->kind == NODE_SEQUENCE)
        return list_matches(node, actual, arena, ret);
    if (!scalar_matches(node, actual, arena))
        return differ(node, actual, arena, ret);
    ret->same++;
    return true;
}
