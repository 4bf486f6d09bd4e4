/*
 * fuzz_event.c - a record of any bytes: what is understood can be composed again, in both envelopes and with a field
 * laid over, and reads back the same; what is poison has a reason, a sentence and always the same id.
 *
 * The input is lines up to the first empty one, then the value. A line that begins with ce_ or content-type is a
 * header, its value behind the colon; the others are hops, not-before, key template and field name, in this order;
 * any may be missing. The first of them is read as a traceparent, too.
 */
#include "fuzz.h"

#include "event/event.h"

#include <errno.h>

/* Cuts the next line off `rest`; the empty span at the end. */
static struct span next_line(struct span *rest)
{
    const char *newline = rest->length > 0 ? memchr(rest->at, '\n', rest->length) : NULL;
    size_t length = newline != NULL ? (size_t)(newline - rest->at) : rest->length;
    struct span line = {rest->at, length};
    rest->at += length + (newline != NULL);
    rest->length -= length + (newline != NULL);
    return line;
}

static bool is_utf8_name(struct span name, struct arena *arena)
{
    struct buffer text;
    struct json_object object;
    buffer_init(&text, 8 * name.length + 16);
    buffer_byte(&text, '{');
    buffer_json_string(&text, name);
    buffer_text(&text, ":1}");
    bool fine = json_scan(buffer_view(&text), arena, &object, NULL) == 0;
    buffer_free(&text);
    return fine;
}

/* Emits the event again, with `name` set to 17 when there is one, and reads it back. */
static void check_emission(const struct event *event, struct span name, enum event_format format, struct arena *arena)
{
    struct overlay overlay = {name, SPAN("17")};
    size_t overlays = name.length > 0 && is_utf8_name(name, arena);
    struct buffer out;
    buffer_init(&out, 4 << 20);
    /* The name of what is emitted is its topic's; one that was read may have what no header may. */
    struct span type = format == FORMAT_BINARY ? event->record->topic : event->name;
    struct header headers[FORMAT_HEADERS_MAX];
    event_compose(&out, event->id_text, type, event->timestamp_ms, format, &event->data, &overlay, overlays);
    must(!out.failed);

    struct record record = {
        .topic = event->record->topic, .value = buffer_view(&out), .timestamp_ms = 1, .headers = headers};
    record.header_count = event_headers(format, event->id_text, type, event->timestamp_ms, arena, headers);
    struct event again;
    enum dead_reason reason;
    struct error error = {0};
    int result = event_parse(&record, 4 << 20, arena, &again, &reason, &error);
    if (result != 0 && reason == DEAD_TOO_LARGE) { /* the field laid over was one member too many */
        must(overlays == 1);
        buffer_free(&out);
        return;
    }
    must(result == 0);
    must(again.cloudevent == (format != FORMAT_SLUICE) && again.binary == (format == FORMAT_BINARY));
    must(span_equal(again.id_text, event->id_text) && span_equal(again.name, type));
    must(memcmp(&again.id, &event->id, sizeof again.id) == 0);
    must(again.timestamp_ms == event->timestamp_ms);
    bool replaced = overlays == 1 && json_find(&event->data, name) != NULL;
    must(again.data.count == event->data.count + (overlays == 1 && !replaced));
    if (overlays == 1)
        must(span_is(json_find(&again.data, name)->value, "17"));
    else
        must(span_equal(again.data.text, event->data.text));
    for (size_t i = 0; i < event->data.count; i++) {
        must(span_equal(again.data.members[i].name, event->data.members[i].name));
        if (!replaced)
            must(span_equal(again.data.members[i].value, event->data.members[i].value));
    }
    buffer_free(&out);
}

static void check_key(struct span text, const struct event *event, struct arena *arena)
{
    struct error error = {0};
    struct key_template *template = key_template_create(text, arena, &error);
    if (template == NULL) {
        must(error.code == EINVAL);
        return;
    }
    struct buffer out;
    buffer_init(&out, 4096);
    int result = key_template_apply(template, &event->data, NULL, 0, arena, &out, &error);
    must(result == 0 || (result == -EINVAL && out.length == 0));
    must(out.length <= EVENT_KEY_MAX);
    const struct span *names;
    if (result == 0)
        for (size_t i = 0; i < key_template_fields(template, &names); i++)
            must(json_find(&event->data, names[i]) != NULL);
    buffer_free(&out);
}

/* Both say the same, but that one more member or two may be too many. */
static void check_whole(const struct event *event, struct arena *arena)
{
    struct span whole = event_whole(event, arena);
    if (!event->binary) {
        must(whole.at == event->record->value.at && whole.length == event->record->value.length);
        return;
    }
    struct record record = {.topic = event->record->topic, .value = whole, .timestamp_ms = event->record->timestamp_ms};
    struct event again;
    enum dead_reason reason;
    struct error error = {0};
    if (event_parse(&record, 4 << 20, arena, &again, &reason, &error) != 0) {
        must(reason == DEAD_TOO_LARGE);
        return;
    }
    must(again.cloudevent && !again.binary);
    must(span_equal(again.id_text, event->id_text) && span_equal(again.name, event->name));
    must(again.timestamp_ms == event->timestamp_ms);
    must(span_equal(again.data.text, event->data.text) && again.data.count == event->data.count);
}

static void check_trace(struct span text, struct span id)
{
    char derived[TRACEPARENT_TEXT + 1], again[TRACEPARENT_TEXT + 1];
    if (!traceparent_valid(text)) {
        must(!traceparent_derive(text, id, derived));
        return;
    }
    must(traceparent_derive(text, id, derived) && traceparent_valid(span_of(derived)));
    must(memcmp(derived + 2, text.at + 2, 34) == 0);
    must(traceparent_derive(span_of(derived), id, again) && strcmp(derived, again) == 0);
}

enum { LINES = 4, HEADERS = 16 };

struct input {
    struct span lines[LINES];
    size_t line_count;
    struct header headers[HEADERS];
    size_t header_count;
    struct span value;
};

static void read_input(struct span rest, struct input *input)
{
    while (rest.length > 0 && rest.at[0] != '{' && rest.at[0] != '\n') {
        struct span line = next_line(&rest);
        bool header = (line.length >= 3 && memcmp(line.at, "ce_", 3) == 0) ||
                      (line.length >= 12 && memcmp(line.at, "content-type", 12) == 0);
        const char *colon = memchr(line.at, ':', line.length);
        size_t name = colon != NULL ? (size_t)(colon - line.at) : line.length, skip = name + (colon != NULL);
        if (header && input->header_count < HEADERS - 2)
            input->headers[input->header_count++] = (struct header){{line.at, name},
                                                                    {line.at + skip, line.length - skip}};
        else if (!header && input->line_count < LINES)
            input->lines[input->line_count++] = line;
    }
    if (rest.length > 0 && rest.at[0] == '\n')
        next_line(&rest);
    if (input->lines[0].length > 0)
        input->headers[input->header_count++] = (struct header){SPAN(HEADER_HOPS), input->lines[0]};
    if (input->lines[1].length > 0)
        input->headers[input->header_count++] = (struct header){SPAN(HEADER_NOT_BEFORE), input->lines[1]};
    input->value = rest;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {0};
    read_input((struct span){(const char *)bytes, size}, &input);
    struct record record = {.topic = SPAN("t"),
                            .key = SPAN("k"),
                            .value = input.value,
                            .headers = input.headers,
                            .header_count = input.header_count,
                            .timestamp_ms = 5};
    struct arena *arena = arena_create(16384, 256 * size + (16 << 20));
    struct event event = {0};
    enum dead_reason reason = 0;
    struct error error = {0};

    check_trace(input.lines[0], input.value);
    if (event_parse(&record, 1 << 20, arena, &event, &reason, &error) == 0) {
        must(event.hops >= 0 && event.not_before_ms >= 0);
        must(event.id_text.length >= 1 && event.id_text.length <= EVENT_ID_MAX);
        must(event.cloudevent || !event.binary);
        for (enum event_format format = FORMAT_SLUICE; format <= FORMAT_BINARY; format++)
            check_emission(&event, input.lines[3], format, arena);
        check_key(input.lines[2], &event, arena);
        check_whole(&event, arena);
    } else {
        struct event again = {0};
        enum dead_reason same = 0;
        must(reason > 0 && reason < DEAD_REASON_COUNT && error.code == EINVAL && error.text[0] != '\0');
        must(event_parse(&record, 1 << 20, arena, &again, &same, NULL) == -EINVAL);
        must(same == reason && memcmp(&again.id, &event.id, sizeof event.id) == 0);
        must(again.payload_hash == event.payload_hash);
    }
    arena_destroy(arena);
    return 0;
}
