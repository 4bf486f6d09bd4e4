/*
 * key_template.c - a topic's `key:`, "{userId}-{seatId}": compiled once, applied to each event that is emitted there.
 */
#include "event/event.h"

#include <errno.h>

struct key_piece {
    struct span text; /* a literal, or a field's name */
    bool field;
};

struct key_template {
    struct key_piece *pieces;
    size_t piece_count;
    struct span *names;
    size_t name_count;
};

/* Reads the piece at `at` (a literal up to the next brace, or a field with its braces); -EINVAL with a sentence. */
static int key_read_piece(struct span whole, size_t at, struct key_piece *ret, size_t *ret_next, struct error *error)
{
    const char *from = whole.at + at;
    size_t left = whole.length - at, length = 0;
    bool field = *from == '{';

    if (*from == '}')
        return error_set(error, EINVAL, "the key \"%.*s\" has a } at character %zu that no { opens", (int)whole.length,
                         whole.at, at + 1);
    from += field;
    left -= field;
    while (length < left && from[length] != '{' && from[length] != '}')
        length++;
    if (field && (length == left || from[length] != '}'))
        return error_set(error, EINVAL, "the key \"%.*s\" has a { at character %zu that no } closes", (int)whole.length,
                         whole.at, at + 1);
    if (field && length == 0)
        return error_set(error, EINVAL, "the key \"%.*s\" has {} at character %zu without the name of a field",
                         (int)whole.length, whole.at, at + 1);
    *ret = (struct key_piece){{from, length}, field};
    *ret_next = at + length + (field ? 2 : 0);
    return 0;
}

struct key_template *key_template_create(struct span text, struct arena *arena, struct error *error)
{
    if (text.length == 0 || text.length > EVENT_KEY_MAX) {
        error_set(error, EINVAL, "a key has 1 to %d characters, this one has %zu", EVENT_KEY_MAX, text.length);
        error_hint(error, "write it as literals and names of fields, like \"{userId}-{seatId}\"");
        return NULL;
    }
    struct key_template *template = arena_new(arena, struct key_template);
    text = arena_span(arena, text);
    template->pieces = arena_array(arena, struct key_piece, text.length);
    template->names = arena_array(arena, struct span, text.length);

    for (size_t at = 0; at < text.length;) {
        struct key_piece *piece = &template->pieces[template->piece_count];
        if (key_read_piece(text, at, piece, &at, error) != 0) {
            error_hint(error, "braces only stand around the name of a field, like \"{userId}-{seatId}\"");
            return NULL;
        }
        template->piece_count++;
        if (piece->field)
            template->names[template->name_count++] = piece->text;
    }
    return template;
}

size_t key_template_fields(const struct key_template *template, const struct span **ret_names)
{
    if (ret_names != NULL)
        *ret_names = template->names;
    return template->name_count;
}

/* The value of a field as JSON: the last overlay of that name, else what the data holds; {NULL, 0} when there is none.
 * */
static struct span key_value(struct span name, const struct json_object *data, const struct overlay *overlays,
                             size_t count)
{
    for (size_t i = count; i > 0; i--)
        if (span_equal(overlays[i - 1].name, name))
            return overlays[i - 1].json;
    const struct json_member *member = data != NULL ? json_find(data, name) : NULL;
    return member != NULL ? member->value : (struct span){NULL, 0};
}

static int key_append_field(struct span name, struct span value, struct arena *arena, struct buffer *out,
                            struct error *error)
{
    int64_t number;
    if (value.length == 0)
        return error_set(error, EINVAL, "the key needs the field \"%.*s\", which the event does not have",
                         (int)name.length, name.at);
    if (value.at[0] == '"' && value.length >= 2)
        buffer_span(out, json_unescape(value, memchr(value.at, '\\', value.length) != NULL, arena));
    else if (json_int64(value, &number) == 0)
        buffer_int64(out, number);
    else
        return error_set(error, EINVAL, "the key needs the field \"%.*s\" as text or as an integer", (int)name.length,
                         name.at);
    return 0;
}

int key_template_apply(const struct key_template *template, const struct json_object *data,
                       const struct overlay *overlays, size_t overlay_count, struct arena *arena, struct buffer *out,
                       struct error *error)
{
    size_t begin = out->length;
    int result = 0;
    for (size_t i = 0; i < template->piece_count && result == 0; i++) {
        const struct key_piece *piece = &template->pieces[i];
        if (piece->field)
            result = key_append_field(piece->text, key_value(piece->text, data, overlays, overlay_count), arena, out,
                                      error);
        else
            buffer_span(out, piece->text);
    }
    if (result == 0 && (out->failed || out->length - begin > EVENT_KEY_MAX))
        result = error_set(error, EINVAL, "the key of the event is longer than %d bytes", EVENT_KEY_MAX);
    if (result != 0)
        out->length = begin;
    return result;
}
