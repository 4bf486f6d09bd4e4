/*
 * replayed_event.c - see replayed_event.h.
 */
#include "operate/replayed_event.h"

#include "base/clock.h"

#include <errno.h>

enum { REPLAYED_HEADERS = 6, REPLAYED_VALUE_MAX = 1 << 30 };

struct topic *replayed_topic(const struct pipeline *pipeline, struct span name, struct arena *arena)
{
    struct topic *topic = pipeline_topic(pipeline, arena_string(arena, name));
    for (size_t i = 0; i < pipeline->answer_count && topic == NULL; i++)
        if (pipeline->answers[i].new_name != NULL && span_is(name, pipeline->answers[i].old))
            topic = pipeline_topic(pipeline, pipeline->answers[i].new_name);
    return topic;
}

/* Whether something in the file handles the event. */
static int check_reader(const struct pipeline *pipeline, const struct replayed *from, struct arena *arena,
                        struct topic **ret, struct span *ret_group, struct error *error)
{
    struct topic *topic = replayed_topic(pipeline, from->topic, arena);
    if (topic == NULL)
        return error_set(error, EINVAL, "its topic '%.*s' is not in the file", (int)from->topic.length, from->topic.at);
    *ret = topic;
    for (size_t i = 0; i < pipeline->group_count; i++) {
        const struct group *group = &pipeline->groups[i];
        if (group->retired != NULL || !group_is_called(pipeline, group, from->group))
            continue;
        if (group->tap == NULL ? topic->binding == NULL && topic->watch_count == 0 : !tap_sees(group->tap, topic))
            return error_set(error, EINVAL, "nothing in group '%s' handles topic '%s'", group->name, topic->name);
        *ret_group = span_of(group->name);
        return 0;
    }
    return error_set(error, EINVAL, "its group '%.*s' is not in the file", (int)from->group.length, from->group.at);
}

/* Headers that the engine gives to each event, or that speak of an earlier dead letter. */
static bool is_replaced(struct span name, bool binary)
{
    static const char *const names[] = {HEADER_HOPS,          HEADER_NOT_BEFORE,   HEADER_REPLAY_OF,
                                        HEADER_REPLAY_LETTER, HEADER_REPLAY_COUNT, HEADER_REPLAY_FOR,
                                        HEADER_REPLAY_NOTED};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_is(name, names[i]))
            return true;
    return header_of_dead_letter(name) || (binary && span_is(name, "ce_id"));
}

static void header_add(struct record *record, const char *name, struct span value)
{
    record->headers[record->header_count++] = (struct header){span_of(name), value};
}

static void replayed_headers(const struct event *event, const struct replayed *from, struct span group, struct span id,
                             struct arena *arena, struct record *ret)
{
    const struct record *source = from->record;
    ret->headers = arena_array(arena, struct header, source->header_count + REPLAYED_HEADERS + 1);
    ret->header_count = 0;
    for (size_t i = 0; i < source->header_count; i++)
        if (!is_replaced(source->headers[i].name, event->binary))
            ret->headers[ret->header_count++] = source->headers[i];
    if (event->binary)
        header_add(ret, "ce_id", id);
    header_add(ret, HEADER_REPLAY_OF, event->id_text);
    header_add(ret, HEADER_REPLAY_LETTER, span_of(from->letter));
    header_add(ret, HEADER_REPLAY_COUNT, span_of(arena_format(arena, "%d", from->round)));
    header_add(ret, HEADER_REPLAY_FOR, group);
    if (from->noted)
        header_add(ret, HEADER_REPLAY_NOTED, SPAN("1"));
}

int replayed_event(const struct pipeline *pipeline, const struct replayed *from, struct arena *arena,
                   struct record *ret, struct span *ret_id, struct error *error)
{
    struct event event;
    struct topic *topic = NULL;
    struct span group = {NULL, 0};
    struct buffer value;
    enum dead_reason reason = 0;
    int code = check_reader(pipeline, from, arena, &topic, &group, error);
    if (code != 0)
        return code;
    if (event_parse(from->record, (size_t)pipeline->engine.max_event_size, arena, &event, &reason, error) != 0) {
        error_prefix(error, "it cannot be read as an event");
        return error_hint(error, "`sluice dead-letter edit` gives it data that can");
    }
    char *id = arena_alloc_raw(arena, 37);
    event_id_derive(event.id_text, SPAN("dead-letter"), span_of(from->letter), (uint32_t)from->round, id);
    *ret_id = (struct span){id, 36};
    buffer_init(&value, REPLAYED_VALUE_MAX);
    event_rewrite(&value, &event, *ret_id, NULL, arena);
    *ret = (struct record){.topic = span_of(topic->name),
                           .key = from->record->key,
                           .value = arena_span(arena, buffer_view(&value)),
                           .timestamp_ms = clock_wall_ms()};
    bool failed = value.failed;
    buffer_free(&value);
    if (failed)
        return error_set(error, EINVAL, "it is too large");
    replayed_headers(&event, from, group, *ret_id, arena, ret);
    return 0;
}
