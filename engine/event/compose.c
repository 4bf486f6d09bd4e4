/*
 * compose.c - the value of an emitted event: the envelope, then the bytes of the source's data with the handler's
 * fields laid over. Nothing of the source is parsed or printed again; only the values that change are replaced.
 */
#include "event/event.h"

#include "event/timestamp.h"

#define COMPOSE_SOURCE "/sluice" /* a CloudEvent's; ids are unique without it */

/* The overlay that counts for a name: of several the last one. */
static const struct overlay *compose_overlay(const struct overlay *overlays, size_t count,
                                             const struct json_member *member)
{
    const struct json_object one = {.members = (struct json_member *)member, .count = 1};
    for (size_t i = count; i > 0; i--) {
        const struct overlay *overlay = &overlays[i - 1];
        if (member->name_escaped ? json_find(&one, overlay->name) != NULL : span_equal(member->name, overlay->name))
            return overlay;
    }
    return NULL;
}

static bool compose_superseded(const struct overlay *overlays, size_t count, size_t index)
{
    for (size_t i = index + 1; i < count; i++)
        if (span_equal(overlays[i].name, overlays[index].name))
            return true;
    return false;
}

static void compose_data(struct buffer *out, const struct json_object *data, const struct overlay *overlays,
                         size_t count)
{
    static const struct json_object empty = {.text = {"{}", 2}};
    if (data == NULL || data->text.length < 2)
        data = &empty;
    if (count == 0) {
        buffer_span(out, data->text);
        return;
    }

    /* Up to and without the closing brace, with the values replaced that have an overlay. */
    const char *copied = data->text.at, *end = data->text.at + data->text.length - 1;
    for (size_t i = 0; i < data->count; i++) {
        const struct json_member *member = &data->members[i];
        const struct overlay *overlay = compose_overlay(overlays, count, member);
        if (overlay == NULL)
            continue;
        buffer_append(out, copied, (size_t)(member->value.at - copied));
        buffer_span(out, overlay->json);
        copied = member->value.at + member->value.length;
    }
    buffer_append(out, copied, (size_t)(end - copied));

    bool first = data->count == 0;
    for (size_t i = 0; i < count; i++) {
        if (json_find(data, overlays[i].name) != NULL || compose_superseded(overlays, count, i))
            continue;
        if (!first)
            buffer_byte(out, ',');
        first = false;
        buffer_json_string(out, overlays[i].name);
        buffer_byte(out, ':');
        buffer_span(out, overlays[i].json);
    }
    buffer_byte(out, '}');
}

size_t event_compose(struct buffer *out, struct span id, struct span name, int64_t timestamp_ms,
                     enum event_format format, const struct json_object *data, const struct overlay *overlays,
                     size_t overlay_count)
{
    bool cloudevent = format == FORMAT_STRUCTURED;
    char time[TIMESTAMP_TEXT + 1];
    size_t data_at = out->length;
    if (format == FORMAT_BINARY) {
        compose_data(out, data, overlays, overlay_count);
        return data_at;
    }
    timestamp_format(timestamp_ms, time);

    buffer_span(out, cloudevent ? SPAN("{\"specversion\":\"1.0\",\"source\":\"" COMPOSE_SOURCE "\",\"id\":")
                                : SPAN("{\"eventId\":"));
    buffer_json_string(out, id);
    buffer_span(out, cloudevent ? SPAN(",\"type\":") : SPAN(",\"eventName\":"));
    buffer_json_string(out, name);
    buffer_span(out, cloudevent ? SPAN(",\"time\":\"") : SPAN(",\"timestamp\":\""));
    buffer_append(out, time, TIMESTAMP_TEXT);
    buffer_span(out, cloudevent ? SPAN("\",\"datacontenttype\":\"application/json\",\"data\":") : SPAN("\",\"data\":"));
    data_at = out->length;
    compose_data(out, data, overlays, overlay_count);
    buffer_byte(out, '}');
    return data_at;
}

size_t event_headers(enum event_format format, struct span id, struct span name, int64_t timestamp_ms,
                     struct arena *arena, struct header *ret)
{
    if (format == FORMAT_SLUICE)
        return 0;
    if (format == FORMAT_STRUCTURED) {
        ret[0] = (struct header){SPAN(HEADER_CONTENT_TYPE), SPAN(EVENT_TYPE_CLOUDEVENT)};
        return 1;
    }
    char *time = arena_alloc_raw(arena, TIMESTAMP_TEXT + 1);
    timestamp_format(timestamp_ms, time);
    ret[0] = (struct header){SPAN("ce_specversion"), SPAN("1.0")};
    ret[1] = (struct header){SPAN("ce_id"), id};
    ret[2] = (struct header){SPAN("ce_source"), SPAN(COMPOSE_SOURCE)};
    ret[3] = (struct header){SPAN("ce_type"), name};
    ret[4] = (struct header){SPAN("ce_time"), {time, TIMESTAMP_TEXT}};
    ret[5] = (struct header){SPAN(HEADER_CONTENT_TYPE), SPAN("application/json")};
    return FORMAT_HEADERS_MAX;
}

void event_rewrite(struct buffer *out, const struct event *event, struct span id, const struct json_object *data,
                   struct arena *arena)
{
    if (event->binary) {
        buffer_span(out, data != NULL ? data->text : event->record->value);
        return;
    }
    struct json_object envelope;
    json_members(event->record->value, arena, &envelope);
    char *quoted = arena_format(arena, "\"%.*s\"", (int)id.length, id.at); /* ids that are derived need no escapes */
    const struct overlay overlays[] = {
        {event->cloudevent ? SPAN("id") : SPAN("eventId"), span_of(quoted)},
        {SPAN("data"), data != NULL ? data->text : (struct span){NULL, 0}},
    };
    compose_data(out, &envelope, overlays, data != NULL ? 2 : 1);
}
