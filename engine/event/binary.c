/*
 * binary.c - see binary.h. Headers are few, so they are walked; only an event in binary mode is walked more than once.
 */
#include "event/binary.h"

#include <errno.h>
#include <strings.h>

static bool binary_is(struct span name, const char *text, size_t length)
{
    return name.length == length && memcmp(name.at, text, length) == 0;
}

static bool binary_is_attribute(struct span name)
{
    return name.length >= 3 && memcmp(name.at, "ce_", 3) == 0;
}

static bool binary_is_read(struct span name)
{
    return binary_is_attribute(name) || span_is(name, HEADER_CONTENT_TYPE);
}

static enum binary_mode binary_mode_of(struct span type)
{
    static const char cloudevents[] = "application/cloudevents";
    size_t length = sizeof cloudevents - 1;
    if (type.length < length || strncasecmp(type.at, cloudevents, length) != 0)
        return MODE_VALUE;
    struct span format = {type.at + length, type.length - length};
    bool json = format.length >= 5 && strncasecmp(format.at, "+json", 5) == 0 &&
                (format.length == 5 || format.at[5] == ';' || format.at[5] == ' ');
    return json ? MODE_STRUCTURED : MODE_UNREADABLE;
}

enum binary_mode binary_look(const struct record *record)
{
    enum binary_mode by_type = MODE_VALUE;
    bool attributes = false;
    for (size_t i = 0; i < record->header_count; i++) {
        struct span name = record->headers[i].name;
        if (name.length < 5 || name.at[0] != 'c' || record->headers[i].value.at == NULL)
            continue;
        if (binary_is(name, HEADER_CONTENT_TYPE, sizeof HEADER_CONTENT_TYPE - 1))
            by_type = binary_mode_of(record->headers[i].value);
        else if (binary_is(name, "ce_id", 5) || binary_is(name, "ce_specversion", 14))
            attributes = true;
    }
    return by_type != MODE_VALUE ? by_type : attributes ? MODE_BINARY : MODE_VALUE;
}

void binary_find(const struct record *record, struct binary *ret)
{
    *ret = (struct binary){0};
    const struct {
        const char *name;
        struct span *span;
    } known[] = {{"ce_id", &ret->id},
                 {"ce_specversion", &ret->version},
                 {"ce_type", &ret->type},
                 {"ce_source", &ret->source},
                 {"ce_subject", &ret->subject},
                 {"ce_time", &ret->time},
                 {HEADER_CONTENT_TYPE, &ret->content_type}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        *known[i].span = record_header(record, known[i].name);
    for (size_t i = 0; i < record->header_count; i++) {
        const struct header *header = &record->headers[i];
        ret->id_count += span_is(header->name, "ce_id");
        if (binary_is_read(header->name))
            ret->size += header->name.length + header->value.length;
    }
}

static bool binary_is_text(struct span text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            return false;
    return span_utf8(text) == text.length;
}

int binary_check(const struct record *record, struct error *error)
{
    for (size_t i = 0; i < record->header_count; i++) {
        const struct header *header = &record->headers[i];
        if (!binary_is_read(header->name))
            continue;
        if (!binary_is_text(header->name))
            return error_set(error, EINVAL, "the name of a header that begins with \"ce_\" is not UTF-8 text");
        if (!binary_is_text(header->value))
            return error_set(error, EINVAL, "the header %.*s is not UTF-8 text without control characters",
                             (int)header->name.length, header->name.at);
        for (size_t j = 0; j < i; j++)
            if (span_equal(record->headers[j].name, header->name))
                return error_set(error, EINVAL, "the header %.*s stands twice", (int)header->name.length,
                                 header->name.at);
    }
    return 0;
}

uint64_t binary_hash(const struct record *record, const struct binary *binary)
{
    /* The hash of four hashes: no two ways to cut the same bytes look alike. Not of the time, nor of other attributes:
     * a producer that sends an event again may write others. */
    const struct span parts[] = {record->value, binary->type, binary->source, binary->subject};
    uint8_t hashes[4 * 8];
    for (size_t i = 0; i < 4; i++) {
        uint64_t hash = span_hash(parts[i]);
        for (size_t j = 0; j < 8; j++)
            hashes[8 * i + j] = (uint8_t)(hash >> (56 - 8 * j));
    }
    return span_hash((struct span){(const char *)hashes, sizeof hashes});
}

/* Attributes that are written for all events in one place, or that would be the data. */
static bool binary_is_written(struct span attribute)
{
    return span_is(attribute, "specversion") || span_is(attribute, "datacontenttype") || span_is(attribute, "data") ||
           span_is(attribute, "data_base64");
}

static void binary_member(struct buffer *out, struct span name, struct span value)
{
    buffer_byte(out, ',');
    buffer_json_string(out, name);
    buffer_byte(out, ':');
    buffer_json_string(out, value);
}

struct span event_whole(const struct event *event, struct arena *arena)
{
    const struct record *record = event->record;
    if (!event->binary)
        return record->value;
    struct span type = record_header(record, HEADER_CONTENT_TYPE);
    /* Room for all of it at once: an attribute has quotes and backslashes to escape, and no control characters. */
    size_t size = 128 + event->data.text.length + 2 * type.length;
    for (size_t i = 0; i < record->header_count; i++)
        if (binary_is_attribute(record->headers[i].name))
            size += 6 + 2 * (record->headers[i].name.length + record->headers[i].value.length);
    struct buffer out = {.at = arena_alloc_raw(arena, size), .size = size, .max = size};

    buffer_text(&out, "{\"specversion\":\"1.0\"");
    for (size_t i = 0; i < record->header_count; i++) {
        struct span name = record->headers[i].name;
        if (!binary_is_attribute(name) || record->headers[i].value.at == NULL)
            continue;
        struct span attribute = {name.at + 3, name.length - 3};
        if (!binary_is_written(attribute))
            binary_member(&out, attribute, record->headers[i].value);
    }
    binary_member(&out, SPAN("datacontenttype"), type.length > 0 ? type : SPAN("application/json"));
    buffer_text(&out, ",\"data\":");
    buffer_span(&out, event->data.text);
    buffer_byte(&out, '}');
    return buffer_view(&out);
}
