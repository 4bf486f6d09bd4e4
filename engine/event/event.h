/*
 * event.h - what an event is: its record as a bus carries it, its envelope as the engine understands it.
 *
 * On the wire the value is {"eventId","eventName","timestamp","data":{…}}, or a CloudEvents 1.0 structured value
 * ("specversion", "id", "type", "time", "data"), or the data alone under CloudEvents headers ("ce_id", "ce_type" …:
 * binary mode). All three are read into the same struct; docs/events.md is the page for those who write them. Spans
 * point into the record's bytes.
 */
#ifndef SLUICE_EVENT_EVENT_H
#define SLUICE_EVENT_EVENT_H

#include "event/json.h"
#include "event/record.h"

enum {
    EVENT_ID_MAX = 128,
    EVENT_HEADERS_MAX = 64, /* of others; with our own ones EVENT_HEADERS_ALL */
    EVENT_HEADERS_ALL = 240,
    EVENT_HEADER_NAME_MAX = 255, /* bytes; these two are what a record_batch can hold, where events wait */
    EVENT_HEADER_VALUE_MAX = 65534,
    EVENT_KEY_MAX = 1024,        /* bytes */
    EVENT_ATTRIBUTES_MAX = 8192, /* bytes of all ce_ headers and content-type, in binary mode */
    TRACEPARENT_TEXT = 55,       /* bytes, without the NUL */
    TRACEPARENT_TRACE = 35,      /* of them, version and trace */
    TRACESTATE_MAX = 512,        /* bytes; a longer one is not carried on */
};

/* The form of an event that is emitted. */
enum event_format {
    FORMAT_SLUICE = 0,
    FORMAT_STRUCTURED, /* a CloudEvent as JSON */
    FORMAT_BINARY,     /* its attributes are headers, the value is the data */
};
enum { FORMAT_HEADERS_MAX = 6 };

/* The content-type of a structured CloudEvent that we write. */
#define EVENT_TYPE_CLOUDEVENT "application/cloudevents+json; charset=UTF-8"

/* A 128-bit id: what the inbox and the buses store. A UUID is its own 16 bytes, any other id its hash
 * (span_hash128). */
struct event_id {
    uint8_t bytes[16];
};

struct event {
    const struct record *record;
    struct event_id id;
    struct span id_text, name;
    int64_t timestamp_ms;    /* from the envelope; the record's when it has none */
    uint64_t payload_hash;   /* the same id with another one is a conflict. Of the whole value; in binary mode of the
                                 value, ce_type, ce_source and ce_subject */
    struct json_object data; /* members of "data"; spans into record->value */
    bool cloudevent;
    bool binary; /* a CloudEvent in binary mode: record->value is the data alone */
    int hops;
    int64_t not_before_ms; /* 0: now */
};

/* Why an event is a dead letter; the words are in event_dead_word(). */
enum dead_reason {
    DEAD_BAD_JSON = 1,
    DEAD_NOT_OBJECT,
    DEAD_TOO_LARGE,
    DEAD_TOO_DEEP,
    DEAD_BAD_ID,
    DEAD_BAD_ENVELOPE,
    DEAD_BAD_FIELD,
    DEAD_ID_CONFLICT,
    DEAD_REJECTED,
    DEAD_RETRIES_EXHAUSTED,
    DEAD_DATABASE,
    DEAD_PLUGIN_FAULT,
    DEAD_DEADLINE,
    DEAD_HOPS,
    DEAD_CRASHED,
    DEAD_BAD_OUTPUT,
    DEAD_BAD_CORRELATION,
    DEAD_RETIRED,
    DEAD_CANCELLED,
    DEAD_TOO_EARLY,
    DEAD_REASON_COUNT
};
const char *event_dead_word(enum dead_reason reason); /* "bad_json", "not_object", … */

/* Understands a record. 0; or -EINVAL with *ret_reason and a sentence when it is poison: then ret->payload_hash and
 * ret->id are still set (of the id when that much was readable, else of topic, partition-independent key, timestamp and
 * value), and nothing else is. */
int event_parse(const struct record *record, size_t max_size, struct arena *arena, struct event *ret,
                enum dead_reason *ret_reason, struct error *error);

struct event_id event_id_of(struct span id_text);
/* An id of this event under this payload: two events that share an id, wrongly, differ in it. */
struct event_id event_id_with_payload(struct event_id id, uint64_t payload_hash);
/* The canonical text of an id's 16 bytes as a UUID; buf gets 36 characters and a NUL. */
void event_id_format(const struct event_id *id, char buf[37]);
/* A new id: a UUID of version 7 (milliseconds, then random). */
void event_id_new(int64_t wall_ms, char ret_text[37]);
/* The id of an emitted event: a UUID of version 8 that keeps the parent's time prefix when it has one (else wall
 * time is NOT used: 48 bits of its hash), then a hash of (parent, handler, route, ordinal). The same inputs give the
 * same id. */
void event_id_derive(struct span parent, struct span handler, struct span route, uint32_t ordinal, char ret_text[37]);

/* Under which a timer of a chain waits in the store: by the chain's number in sluice.name, the timer's in the chain's
 * definition, and the correlation. */
struct event_id event_id_timer(int32_t chain, int32_t timer, struct event_id correlation);

/* The whole of an event as one value, what plugins are shown: record->value; of one in binary mode the structured
 * CloudEvent that says the same, all attributes of its headers included, in the arena. */
struct span event_whole(const struct event *event, struct arena *arena);

/* Whether a text is a traceparent of W3C Trace Context: 55 bytes, lower case, no id all zero, any version but ff. */
bool traceparent_valid(struct span text);
/* The traceparent of an emitted event: the received one's trace and flags, and a span id of its own, a hash of
 * `event_id`: the same event gets the same bytes again. False, and nothing is written, when the received one is not
 * valid. */
bool traceparent_derive(struct span received, struct span event_id, char ret_text[TRACEPARENT_TEXT + 1]);
bool tracestate_valid(struct span text); /* whether it is carried on: 1 to TRACESTATE_MAX bytes of printable ASCII */

/* A field laid over the data of an emitted event. */
struct overlay {
    struct span name; /* plain UTF-8, unescaped */
    struct span json; /* its value as JSON */
};

/* Appends the value of an emitted event: the envelope of that format, if it has one, then source->data (NULL: empty)
 * with `overlays` replaced in place or appended at the end. `name` is the eventName: the topic it goes to. Returns
 * where in `out` the data begins; behind it there is the envelope's last brace, if it has one. */
size_t event_compose(struct buffer *out, struct span id, struct span name, int64_t timestamp_ms,
                     enum event_format format, const struct json_object *data, const struct overlay *overlays,
                     size_t overlay_count);
/* Writes the headers that the format wants beside such a value, at most FORMAT_HEADERS_MAX, and returns how many. `id`
 * and `name` are kept; the time's text is in the arena. */
size_t event_headers(enum event_format format, struct span id, struct span name, int64_t timestamp_ms,
                     struct arena *arena, struct header *ret);

/* Appends the value of a parsed event with another id and, unless `data` is NULL, other data; the rest of its envelope
 * stays as it was written. In binary mode the id is a header, ce_id, which is the caller's. */
void event_rewrite(struct buffer *out, const struct event *event, struct span id, const struct json_object *data,
                   struct arena *arena);

/* A topic's `key:` template, "{userId}-{seatId}", compiled once. Pieces are literals and names of data fields. */
struct key_template;
struct key_template *key_template_create(struct span text, struct arena *arena, struct error *error);
size_t key_template_fields(const struct key_template *template, const struct span **ret_names);
/* Appends the key of an event with this data and overlays. -EINVAL with the field's name when one is missing or no
 * text or integer. */
int key_template_apply(const struct key_template *template, const struct json_object *data,
                       const struct overlay *overlays, size_t overlay_count, struct arena *arena, struct buffer *out,
                       struct error *error);

#endif
