/*
 * event.c - from a record to an event: which form it has, its id, name, time and data, or why it is poison. Reads
 * the value once; what it returns points into it. Decides nothing about routes or fields: those know their topic.
 */
#include "event/event.h"

#include "event/binary.h"
#include "event/foreign.h"
#include "event/timestamp.h"

#include <errno.h>
#include <limits.h>
#include <strings.h>

enum { EVENT_HOPS_CLAMP = 1000000000 };

const char *event_dead_word(enum dead_reason reason)
{
    static const char *const words[DEAD_REASON_COUNT] = {
        [DEAD_BAD_JSON] = "bad_json",
        [DEAD_NOT_OBJECT] = "not_object",
        [DEAD_TOO_LARGE] = "too_large",
        [DEAD_TOO_DEEP] = "too_deep",
        [DEAD_BAD_ID] = "bad_id",
        [DEAD_BAD_ENVELOPE] = "bad_envelope",
        [DEAD_BAD_FIELD] = "bad_field",
        [DEAD_ID_CONFLICT] = "id_conflict",
        [DEAD_REJECTED] = "rejected",
        [DEAD_RETRIES_EXHAUSTED] = "retries_exhausted",
        [DEAD_DATABASE] = "database",
        [DEAD_PLUGIN_FAULT] = "plugin_fault",
        [DEAD_DEADLINE] = "deadline",
        [DEAD_HOPS] = "hops",
        [DEAD_CRASHED] = "crashed",
        [DEAD_BAD_OUTPUT] = "bad_output",
        [DEAD_BAD_CORRELATION] = "bad_correlation",
        [DEAD_RETIRED] = "retired",
        [DEAD_CANCELLED] = "cancelled",
        [DEAD_TOO_EARLY] = "too_early",
    };
    return reason > 0 && reason < DEAD_REASON_COUNT ? words[reason] : "unknown";
}

/* A record on its way to becoming an event. */
struct reading {
    const struct record *record;
    struct arena *arena;
    struct json_object envelope, data;
    struct event event;
    enum dead_reason reason;
    struct error *error;
};

#define reading_poison(reading, why, ...) ((reading)->reason = (why), error_set((reading)->error, EINVAL, __VA_ARGS__))

/* ---------------------------------------------------------------- limits and headers */

/* Headers that the engine itself adds on the way do not count: a retry or a dead letter adds several. */
static size_t event_foreign_headers(const struct record *record)
{
    static const char *const own[] = {"sluice-", "kafka_dlt-", "retry_topic-", HEADER_TRACEPARENT, HEADER_TRACESTATE};
    size_t foreign = record->header_count;
    for (size_t i = 0; i < record->header_count; i++) {
        struct span name = record->headers[i].name;
        for (size_t j = 0; j < sizeof own / sizeof own[0]; j++) {
            size_t length = strlen(own[j]);
            if (name.length >= length && memcmp(name.at, own[j], length) == 0) {
                foreign--;
                break;
            }
        }
    }
    return foreign;
}

static int event_check_size(struct reading *reading, size_t max_size)
{
    const struct record *record = reading->record;
    if (record->value.length > max_size)
        return reading_poison(reading, DEAD_TOO_LARGE, "the event has %zu bytes; the most is %zu", record->value.length,
                              max_size);
    if (record->key.length > EVENT_KEY_MAX)
        return reading_poison(reading, DEAD_TOO_LARGE, "the event's key has %zu bytes; the most is %d",
                              record->key.length, EVENT_KEY_MAX);
    if (record->header_count > EVENT_HEADERS_MAX && event_foreign_headers(record) > EVENT_HEADERS_MAX)
        return reading_poison(reading, DEAD_TOO_LARGE, "the event has %zu headers; the most is %d",
                              record->header_count, EVENT_HEADERS_MAX);
    if (record->header_count > EVENT_HEADERS_ALL)
        return reading_poison(reading, DEAD_TOO_LARGE, "the event has %zu headers; the most is %d",
                              record->header_count, EVENT_HEADERS_ALL);
    for (size_t i = 0; i < record->header_count; i++) {
        const struct header *header = &record->headers[i];
        if (header->name.length > EVENT_HEADER_NAME_MAX || header->value.length > EVENT_HEADER_VALUE_MAX)
            return reading_poison(reading, DEAD_TOO_LARGE,
                                  "the header '%.*s' has %zu bytes of name and %zu of value; the most is %d and %d",
                                  header->name.length > 40 ? 40 : (int)header->name.length, header->name.at,
                                  header->name.length, header->value.length, EVENT_HEADER_NAME_MAX,
                                  EVENT_HEADER_VALUE_MAX);
    }
    return 0;
}

/* A header's value as a number of decimal digits and nothing else, at most `max`; 0 when there is no such header, or it
 * has no value. */
static int event_header_number(struct reading *reading, const char *name, int64_t max, int64_t *ret)
{
    struct span text = record_header(reading->record, name);
    int64_t value = 0;
    if (text.at == NULL)
        return 0;
    int result = text.length == 0 || text.at[0] == '-' ? -EINVAL : json_int64(text, &value);
    if (result == -EINVAL)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "the header %s is not a number without sign", name);
    *ret = result == -ERANGE || value > max ? max : value;
    return 0;
}

static int event_read_headers(struct reading *reading)
{
    int64_t hops = 0;
    if (event_header_number(reading, HEADER_HOPS, EVENT_HOPS_CLAMP, &hops) != 0 ||
        event_header_number(reading, HEADER_NOT_BEFORE, TIMESTAMP_MAX_MS, &reading->event.not_before_ms) != 0)
        return -EINVAL;
    reading->event.hops = (int)hops;
    return 0;
}

/* ---------------------------------------------------------------- members of the envelope */

/* The text of a member that must be a string; false when it is another kind. */
static bool event_text(struct reading *reading, const struct json_member *member, struct span *ret)
{
    if (member->kind != JSON_KIND_STRING)
        return false;
    *ret = json_unescape(member->value, member->value_escaped, reading->arena);
    return true;
}

static int event_take_id(struct reading *reading, struct span text, const char *field)
{
    if (text.length == 0 || text.length > EVENT_ID_MAX)
        return reading_poison(reading, DEAD_BAD_ID, "\"%s\" has %zu bytes; an id has 1 to %d", field, text.length,
                              EVENT_ID_MAX);
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] < '!' || text.at[i] > '~')
            return reading_poison(reading, DEAD_BAD_ID,
                                  "byte %zu of \"%s\" is not a printable ASCII character other than space", i, field);
    reading->event.id_text = text;
    reading->event.id = event_id_of(text);
    return 0;
}

static int event_read_id(struct reading *reading)
{
    const char *field = reading->event.cloudevent ? "id" : "eventId";
    const struct json_member *member = json_find(&reading->envelope, span_of(field));
    struct span text;
    if (member == NULL)
        return reading_poison(reading, DEAD_BAD_ID, "the event has no \"%s\"", field);
    if (!event_text(reading, member, &text))
        return reading_poison(reading, DEAD_BAD_ID, "\"%s\" is not a string", field);
    return event_take_id(reading, text, field);
}

/* The name is optional in our own envelope, where the topic says the same; CloudEvents demands its "type". */
static int event_read_name(struct reading *reading)
{
    const char *field = reading->event.cloudevent ? "type" : "eventName";
    const struct json_member *member = json_find(&reading->envelope, span_of(field));
    if (member == NULL && !reading->event.cloudevent) {
        reading->event.name = reading->record->topic;
        return 0;
    }
    if (member == NULL)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "the event has no \"%s\"", field);
    if (!event_text(reading, member, &reading->event.name) || reading->event.name.length == 0)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "\"%s\" is not a string that says something", field);
    return 0;
}

static int event_read_time(struct reading *reading)
{
    const char *field = reading->event.cloudevent ? "time" : "timestamp";
    const struct json_member *member = json_find(&reading->envelope, span_of(field));
    int64_t ms = reading->record->timestamp_ms;
    int result = 0;
    struct span text;

    if (member != NULL && member->kind == JSON_KIND_NUMBER)
        result = json_int64(member->value, &ms) != 0 || ms < TIMESTAMP_MIN_MS || ms > TIMESTAMP_MAX_MS;
    else if (member != NULL && member->kind != JSON_KIND_NULL)
        result = !event_text(reading, member, &text) || timestamp_parse(text, &ms) != 0;
    if (result != 0)
        return reading_poison(reading, DEAD_BAD_ENVELOPE,
                              "\"%s\" is neither an RFC 3339 time nor a whole number of milliseconds since 1970",
                              field);
    reading->event.timestamp_ms = ms;
    return 0;
}

static int event_read_data(struct reading *reading)
{
    const struct json_member *member = json_find(&reading->envelope, SPAN("data"));
    if (member == NULL)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "the event has no \"data\"");
    if (member->kind != JSON_KIND_OBJECT)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "\"data\" is not an object");
    if (reading->data.text.at != NULL)
        reading->event.data = reading->data;
    else /* its name was written with escapes: the scan passed it by */
        json_members(member->value, reading->arena, &reading->event.data);
    return 0;
}

/* Whether a media type is JSON: application/json or anything/…+json, parameters ignored. */
static bool event_is_json_type(struct span type)
{
    const char *semicolon = type.length > 0 ? memchr(type.at, ';', type.length) : NULL;
    size_t length = semicolon != NULL ? (size_t)(semicolon - type.at) : type.length;
    while (length > 0 && type.at[length - 1] == ' ')
        length--;
    if (length < 5 || memchr(type.at, '/', length) == NULL)
        return false;
    return strncasecmp(type.at + length - 5, "/json", 5) == 0 || strncasecmp(type.at + length - 5, "+json", 5) == 0;
}

static int event_read_cloudevent(struct reading *reading, const struct json_member *version)
{
    struct span text;
    reading->event.cloudevent = true;
    if (version == NULL)
        return reading_poison(reading, DEAD_BAD_ENVELOPE,
                              "the header content-type says that it is a CloudEvent, and it has no \"specversion\"");
    if (!event_text(reading, version, &text) || !span_is(text, "1.0"))
        return reading_poison(reading, DEAD_BAD_ENVELOPE,
                              "\"specversion\" is not \"1.0\", the CloudEvents version that is read");
    const struct json_member *type = json_find(&reading->envelope, SPAN("datacontenttype"));
    if (type != NULL && type->kind != JSON_KIND_NULL &&
        (!event_text(reading, type, &text) || !event_is_json_type(text)))
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "\"datacontenttype\" is not a JSON media type");
    return 0;
}

/* What a value that is no good JSON object is poison for. */
static int event_bad_json(struct reading *reading, enum json_fault fault)
{
    char what[200];
    struct span value = reading->record->value;
    switch (fault) {
    case JSON_FAULT_NOT_OBJECT:
        reading->reason = DEAD_NOT_OBJECT;
        if (value.length == 0)
            return error_set(reading->error, EINVAL, "%s",
                             value.at == NULL ? "the record has no value (a tombstone)" : "the value is empty");
        break;
    case JSON_FAULT_TOO_DEEP:
        reading->reason = DEAD_TOO_DEEP;
        break;
    case JSON_FAULT_TOO_MANY:
        reading->reason = DEAD_TOO_LARGE;
        break;
    default:
        reading->reason = DEAD_BAD_JSON;
        if (foreign_describe(value, what, sizeof what))
            return error_set(reading->error, EINVAL, "%s", what);
    }
    if (reading->error != NULL)
        reading->error->code = EINVAL;
    return -EINVAL;
}

static int event_read_value(struct reading *reading, enum binary_mode mode)
{
    enum json_fault fault = 0;
    if (json_scan_nested(reading->record->value, SPAN("data"), reading->arena, &reading->envelope, &reading->data,
                         &fault, reading->error) != 0)
        return event_bad_json(reading, fault);

    const struct json_member *version = json_find(&reading->envelope, SPAN("specversion"));
    bool cloudevent = version != NULL || mode == MODE_STRUCTURED;
    int envelope = cloudevent ? event_read_cloudevent(reading, version) : 0;
    /* The id comes first whatever else is wrong: it names the dead letter. */
    enum dead_reason reason = reading->reason;
    struct error error = {0}, *asked = reading->error;
    if (envelope != 0)
        reading->error = &error;
    int id = event_read_id(reading);
    reading->error = asked;
    if (envelope != 0) {
        reading->reason = reason;
        return -EINVAL;
    }
    if (id != 0 || event_read_name(reading) != 0 || event_read_time(reading) != 0 || event_read_data(reading) != 0)
        return -EINVAL;
    return 0;
}

/* ---------------------------------------------------------------- binary mode */

static int event_read_attributes(struct reading *reading, const struct binary *binary)
{
    struct event *event = &reading->event;
    /* The id first here as well. */
    if (binary->id_count > 1)
        return reading_poison(reading, DEAD_BAD_ID, "the header ce_id stands %zu times", binary->id_count);
    if (binary->id.at == NULL)
        return reading_poison(reading, DEAD_BAD_ID, "the event has no header ce_id");
    if (event_take_id(reading, binary->id, "ce_id") != 0)
        return -EINVAL;
    if (binary->size > EVENT_ATTRIBUTES_MAX)
        return reading_poison(reading, DEAD_TOO_LARGE, "the event's ce_ headers have %zu bytes; the most is %d",
                              binary->size, EVENT_ATTRIBUTES_MAX);
    if (binary_check(reading->record, reading->error) != 0) {
        reading->reason = DEAD_BAD_ENVELOPE;
        return -EINVAL;
    }
    if (!span_is(binary->version, "1.0"))
        return reading_poison(reading, DEAD_BAD_ENVELOPE,
                              "the header ce_specversion is not 1.0, the CloudEvents version that is read");
    if (binary->type.length == 0)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "the event has no header ce_type that says something");
    if (binary->content_type.at != NULL && !event_is_json_type(binary->content_type))
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "the header content-type is not a JSON media type");
    event->name = binary->type;
    event->timestamp_ms = reading->record->timestamp_ms;
    if (binary->time.at != NULL && timestamp_parse(binary->time, &event->timestamp_ms) != 0)
        return reading_poison(reading, DEAD_BAD_ENVELOPE, "the header ce_time is not an RFC 3339 time");
    return 0;
}

static int event_read_binary(struct reading *reading, const struct binary *binary)
{
    enum json_fault fault = 0;
    if (event_read_attributes(reading, binary) != 0)
        return -EINVAL;
    if (json_scan_inner(reading->record->value, reading->arena, &reading->event.data, &fault, reading->error) != 0)
        return event_bad_json(reading, fault);
    return 0;
}

/* ---------------------------------------------------------------- the whole */

static int event_read(struct reading *reading, size_t max_size)
{
    const struct record *record = reading->record;
    enum binary_mode mode = binary_look(record);
    struct binary binary;
    if (mode == MODE_BINARY) {
        reading->event.cloudevent = reading->event.binary = true;
        binary_find(record, &binary);
        reading->event.payload_hash = binary_hash(record, &binary);
    } else {
        reading->event.payload_hash = span_hash(record->value);
    }
    if (event_check_size(reading, max_size) != 0)
        return -EINVAL;
    if (mode == MODE_UNREADABLE)
        return reading_poison(reading, DEAD_BAD_ENVELOPE,
                              "the header content-type names a CloudEvents format that is not read; "
                              "application/cloudevents+json is");
    int result = mode == MODE_BINARY ? event_read_binary(reading, &binary) : event_read_value(reading, mode);
    return result != 0 ? result : event_read_headers(reading);
}

/* The id of a record that has none to read: the same record gets the same one, wherever and whenever it is read again.
 * */
static struct event_id event_id_of_record(const struct record *record)
{
    uint8_t parts[3 * 16 + 8];
    struct event_id id;
    span_hash128(record->topic, parts);
    span_hash128(record->key, parts + 16);
    span_hash128(record->value, parts + 32);
    for (size_t i = 0; i < 8; i++)
        parts[48 + i] = (uint8_t)((uint64_t)record->timestamp_ms >> (56 - 8 * i));
    span_hash128((struct span){(const char *)parts, sizeof parts}, id.bytes);
    return id;
}

int event_parse(const struct record *record, size_t max_size, struct arena *arena, struct event *ret,
                enum dead_reason *ret_reason, struct error *error)
{
    struct reading reading = {.record = record, .arena = arena, .error = error};
    reading.event.record = record;

    if (event_read(&reading, max_size) != 0) {
        struct event_id id = reading.event.id;
        if (reading.event.id_text.at == NULL) {
            id = event_id_of_record(record);
            if (reading.event.binary) /* its attributes are no part of the value */
                id = event_id_with_payload(id, reading.event.payload_hash);
        }
        ret->id = id;
        ret->payload_hash = reading.event.payload_hash;
        *ret_reason = reading.reason;
        return -EINVAL;
    }
    *ret = reading.event;
    return 0;
}
