/*
 * timeline.c - finds the events of a correlation on the bus, and which of them another pipeline emitted.
 *
 * What no event carries may be an event's id: then the timeline is that event and whatever came of it, found by the
 * parent that each names. The log is read again until nothing more is found, since a child may stand before its parent.
 *
 * Where a pipeline is split into services, they share the topics and each has its own store. What another service did
 * with an event shows in what it emitted, "elsewhere → TOPIC": events name the one that they came from.
 */
#include "operate/timeline.h"

#include "event/correlation.h"
#include "operate/operation.h"

#include <errno.h>
#include <stdlib.h>

enum { SCRATCH_MAX = 256 * 1024 * 1024 };

/* The correlation must be a value of the data, or a header; text that merely holds it is another event. `event` is NULL
 * when the record is poison: then any text will do. */
static bool carries(const struct timeline *timeline, const struct record *record, const struct event *event)
{
    if (span_is(record_header(record, HEADER_CORRELATION), timeline->correlation))
        return true;
    if (event == NULL)
        return memmem(record->value.at, record->value.length, timeline->correlation, strlen(timeline->correlation)) !=
               NULL;
    for (size_t i = 0; i < event->data.count; i++) {
        const struct json_member *member = &event->data.members[i];
        struct span value;
        if ((correlation_of(member, timeline->scratch, &value, NULL) == CORRELATION_USABLE &&
             span_is(value, timeline->correlation)) ||
            (member->kind == JSON_KIND_NUMBER && span_is(member->value, timeline->correlation)))
            return true;
    }
    return false;
}

/* A copy that is UTF-8 and not long: an event's author chose the text. */
static const char *text_kept(const struct timeline *timeline, struct span text)
{
    if (text.length > TIMELINE_TEXT_MAX)
        text.length = TIMELINE_TEXT_MAX;
    text.length = span_utf8(text);
    return arena_string(timeline->arena, text);
}

static const char *data_field(const struct timeline *timeline, const struct event *event, const char *name)
{
    const struct json_member *member = json_find(&event->data, span_of(name));
    if (member == NULL)
        return NULL;
    return text_kept(timeline, member->kind == JSON_KIND_STRING
                                   ? json_unescape(member->value, member->value_escaped, timeline->scratch)
                                   : member->value);
}

static int64_t header_number(const struct timeline *timeline, struct span text)
{
    return text.length > 0 && text.length < 20 ? strtoll(arena_string(timeline->arena, text), NULL, 10) : 0;
}

/* Of an event that the timeline has. */
static bool is_child(const struct timeline *timeline, const struct record *record)
{
    struct span parent = record_header(record, HEADER_PARENT);
    for (size_t i = 0; i < timeline->count && parent.length > 0; i++)
        if (span_is(parent, timeline->events[i].id))
            return true;
    return false;
}

static bool is_listed(const struct timeline *timeline, const struct record *record, const struct event *event)
{
    for (size_t i = 0; i < timeline->count; i++)
        if (span_is(event->id_text, timeline->events[i].id) && span_is(record->topic, timeline->events[i].topic))
            return true;
    return false;
}

/* Whether the record belongs to the timeline; `event` is NULL when it is poison. */
static bool belongs(const struct timeline *timeline, const struct record *record, const struct event *event)
{
    switch (timeline->search) {
    case TIMELINE_BY_ID:
        return event != NULL && span_is(event->id_text, timeline->correlation);
    case TIMELINE_BY_PARENT:
        return event != NULL && is_child(timeline, record) && !is_listed(timeline, record, event);
    case TIMELINE_ALL:
        return true;
    default:
        return carries(timeline, record, event);
    }
}

static bool add_record(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct timeline *timeline = context;
    struct event parsed = {0};
    enum dead_reason reason = 0;
    if (timeline->search == TIMELINE_BY_PARENT && !is_child(timeline, record))
        return true; /* most records: not to be parsed */
    arena_reset(timeline->scratch);
    bool good = event_parse(record, SIZE_MAX / 2, timeline->scratch, &parsed, &reason, NULL) == 0;
    if (!belongs(timeline, record, good ? &parsed : NULL))
        return true;
    struct event_id payload_id = event_id_with_payload(parsed.id, parsed.payload_hash);
    for (size_t i = 0; i < timeline->count && good; i++) {
        struct timeline_event *before = &timeline->events[i];
        if (!before->poison && memcmp(&before->payload_id, &payload_id, sizeof payload_id) == 0 &&
            span_is(record->topic, before->topic)) {
            before->copies++;
            return true;
        }
    }
    struct timeline_event *event = &timeline->events[timeline->count];
    struct span parent = record_header(record, HEADER_PARENT), why = record_header(record, HEADER_DLT_REASON);
    struct span replay_of = record_header(record, HEADER_REPLAY_OF);
    struct span due = record_header(record, HEADER_NOT_BEFORE), tries = record_header(record, HEADER_ATTEMPTS);
    *event = (struct timeline_event){
        .topic = arena_string(timeline->arena, record->topic),
        .id = arena_string(timeline->arena, good ? parsed.id_text : SPAN("?")),
        .id128 = parsed.id,
        .payload_id = payload_id,
        .payload_hash = parsed.payload_hash,
        .copies = 1,
        .partition = partition,
        .position = position,
        .parent = parent.length > 0 ? text_kept(timeline, parent) : NULL,
        .at_ms = record->timestamp_ms,
        .due_ms = header_number(timeline, due),
        .tries = why.length > 0 ? header_number(timeline, tries) : 0,
        .dead_letter = why.length > 0,
        .poison = !good,
        .replay_of = replay_of.length > 0 ? text_kept(timeline, replay_of) : NULL,
        .replayed_letter = header_number(timeline, record_header(record, HEADER_REPLAY_LETTER)),
        .replays = header_number(timeline, record_header(record, HEADER_REPLAY_COUNT)),
        .reason = why.length > 0 ? text_kept(timeline, why)
                  : good         ? data_field(timeline, &parsed, "reason")
                                 : NULL,
    };
    return ++timeline->count < TIMELINE_EVENTS_MAX;
}

/* The scan goes partition by partition; a timeline goes by time, and by the order of the log where times are equal. */
static void order_events(struct timeline *timeline)
{
    for (size_t i = 1; i < timeline->count; i++)
        for (size_t j = i; j > 0 && timeline->events[j - 1].at_ms > timeline->events[j].at_ms; j--) {
            struct timeline_event swap = timeline->events[j];
            timeline->events[j] = timeline->events[j - 1];
            timeline->events[j - 1] = swap;
        }
}

static bool binding_emits(const struct binding *binding, const struct topic *to)
{
    for (size_t r = 0; binding != NULL && r < binding->route_count; r++) {
        const struct route *route = &binding->routes[r];
        for (size_t t = 0; t < route->target_count; t++)
            if (route->targets[t].topic == to)
                return true;
        if (route->kind == ROUTE_LADDER && (route->ladder.topic == to || route->ladder.exhausted == to))
            return true;
    }
    return false;
}

/* Whether this pipeline emits to one topic for an event of the other. */
static bool pipeline_emits(const struct pipeline *pipeline, const struct topic *from, const struct topic *to)
{
    if (binding_emits(from->binding, to))
        return true;
    for (size_t t = 0; t < pipeline->tap_count; t++)
        if (tap_sees(&pipeline->taps[t], from) && binding_emits(pipeline->taps[t].binding, to))
            return true;
    for (size_t w = 0; w < from->watch_count; w++)
        for (size_t s = 0; s < from->watches[w].chain->step_count; s++)
            if (from->watches[w].chain->steps[s].undo == to)
                return true;
    return false;
}

/* Whether `later` came from `event`, and another pipeline emitted it. */
static bool came_elsewhere(const struct timeline *timeline, const struct timeline_event *event,
                           const struct timeline_event *later)
{
    const struct pipeline *pipeline = timeline->pipeline;
    if (event->dead_letter || later->dead_letter || later->parent == NULL || strcmp(later->parent, event->id) != 0)
        return false; /* a dead letter has the headers that the event had */
    const struct topic *from = pipeline_topic(pipeline, event->topic), *to = pipeline_topic(pipeline, later->topic);
    return from != NULL && to != NULL && !pipeline_emits(pipeline, from, to);
}

/* An event was tried as often as its dead letter says. */
static void find_tries(struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->count; i++) {
        const struct timeline_event *dead = &timeline->events[i];
        for (size_t e = 0; e < timeline->count && dead->dead_letter && !dead->poison; e++) {
            struct timeline_event *event = &timeline->events[e];
            if (!event->dead_letter && memcmp(&event->payload_id, &dead->payload_id, sizeof dead->payload_id) == 0)
                event->tries = dead->tries;
        }
    }
}

static void find_elsewhere(struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->count; i++) {
        struct timeline_event *event = &timeline->events[i];
        for (size_t later = 0; later < timeline->count; later++)
            if (came_elsewhere(timeline, event, &timeline->events[later])) {
                event->elsewhere = arena_grown(timeline->arena, event->elsewhere, event->elsewhere_count,
                                               sizeof *event->elsewhere);
                event->elsewhere[event->elsewhere_count++] = timeline->events[later].topic;
            }
    }
}

static int read_log(struct timeline *timeline, struct bus *bus, enum timeline_search search, struct error *error)
{
    static const char *const everything[] = {"*"};
    struct bus_scan scan = {.topics = everything,
                            .topic_count = 1,
                            .each = add_record,
                            .context = timeline,
                            .stop = timeline->stop,
                            .deadline_ms = timeline->deadline_ms};
    timeline->search = search;
    if (search == TIMELINE_BY_CORRELATION || search == TIMELINE_BY_ID)
        scan.contains = span_of(timeline->correlation);
    int code = bus_scan(bus, &scan, error);
    if (code == -EAGAIN || code == -ETIMEDOUT) /* a partition without a leader, say */
        timeline->incomplete = arena_string(timeline->arena, span_of(error->text));
    return code;
}

/* What is there, where not all of it could be read. */
static int read_in_part(struct timeline *timeline, struct bus *bus, enum timeline_search search, struct error *error)
{
    int code = read_log(timeline, bus, search, error);
    return (code == -EAGAIN || code == -ETIMEDOUT) && timeline->count > 0 ? 0 : code;
}

static int make_room(struct timeline *timeline, struct error *error)
{
    timeline->events = arena_array(timeline->arena, struct timeline_event, TIMELINE_EVENTS_MAX);
    timeline->scratch = arena_create(64 * 1024, SCRATCH_MAX);
    return timeline->scratch == NULL ? error_set(error, ENOMEM, "out of memory while reading topics") : 0;
}

static int read_bus(struct timeline *timeline, struct bus *bus, struct error *error)
{
    if (make_room(timeline, error) != 0)
        return -ENOMEM;
    int code = read_in_part(timeline, bus, TIMELINE_BY_CORRELATION, error);
    if ((code == 0 || code == -EAGAIN) && timeline->count == 0) {
        code = read_in_part(timeline, bus, TIMELINE_BY_ID, error);
        for (size_t before = 0; code == 0 && timeline->count > before && timeline->count < TIMELINE_EVENTS_MAX;) {
            before = timeline->count;
            code = read_in_part(timeline, bus, TIMELINE_BY_PARENT, error);
        }
    }
    arena_destroy(timeline->scratch);
    if (code == -EAGAIN && timeline_find_leaderless(timeline, bus))
        code = 0;
    if (code < 0)
        return code;
    order_events(timeline);
    find_tries(timeline);
    find_elsewhere(timeline);
    return 0;
}

int timeline_read(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error)
{
    int code = read_bus(timeline, bus, error);
    if (code == 0 && connection != NULL)
        code = operation_result(timeline_read_store(timeline, connection, error), error);
    return code == 0 ? timeline_find_waits(timeline, bus, connection, error) : code;
}

int timeline_read_all(struct timeline *timeline, struct bus *bus, struct connection *connection, struct error *error)
{
    timeline->correlation = "";
    int code = make_room(timeline, error);
    if (code == 0)
        code = read_log(timeline, bus, TIMELINE_ALL, error);
    arena_destroy(timeline->scratch);
    if (code != 0)
        return code;
    order_events(timeline);
    find_tries(timeline);
    return connection == NULL ? 0 : operation_result(timeline_read_store(timeline, connection, error), error);
}
