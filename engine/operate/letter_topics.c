/*
 * letter_topics.c - see letter_topics.h.
 */
#include "operate/letter_topics.h"

#include "base/map.h"
#include "batch/work.h"
#include "bus/chunk.h"
#include "event/record_batch.h"

#include <errno.h>

/* Headers of a note. */
#define NOTE_STATE "sluice-letter-state" /* open (it was edited), replayed, dropped */
#define NOTE_TIME "sluice-letter-time" /* of the dead letter's record: of a topic that was made again, it is another */
#define NOTE_BY "sluice-letter-by"
#define NOTE_WHY "sluice-letter-why"
#define NOTE_AS "sluice-letter-replayed-as" /* the id of the event */

enum {
    NOTE_HEADERS = 5,
    NOTES_ARENA = 256 * 1024,
    NOTES_ARENA_MAX = 1 << 30,
    LETTER_ARENA = 64 * 1024,
    LETTER_PACKED_MAX = 128 * 1024 * 1024,
    PUBLISH_MS = 30000,
};

struct note {
    enum dead_letter_state state;
    int64_t at_ms, letter_ms;
    struct span by, replayed_as;
    struct span edited; /* packed; empty: it was not */
};

/* ---------------------------------------------------------------------------------------------------------- reading */

static int64_t number_of(const struct record *record, const char *name)
{
    int64_t number = 0;
    struct span text = record_header(record, name);
    return text.length > 0 && json_int64(text, &number) == 0 && number >= 0 ? number : 0;
}

static enum dead_letter_state state_of(struct span word)
{
    for (int state = DEAD_LETTER_OPEN; state <= DEAD_LETTER_DROPPED; state++)
        if (span_is(word, dead_letter_state_word((enum dead_letter_state)state)))
            return (enum dead_letter_state)state;
    return DEAD_LETTER_OPEN;
}

static bool take_note(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct letter_topics *topics = context;
    struct note *note = arena_new(topics->arena, struct note);
    (void)partition, (void)position;
    *note = (struct note){.state = state_of(record_header(record, NOTE_STATE)),
                          .at_ms = record->timestamp_ms,
                          .letter_ms = number_of(record, NOTE_TIME),
                          .by = arena_span(topics->arena, record_header(record, NOTE_BY)),
                          .replayed_as = arena_span(topics->arena, record_header(record, NOTE_AS)),
                          .edited = arena_span(topics->arena, record->value)};
    (void)map_set(topics->notes, arena_span(topics->arena, record->key), note);
    return true;
}

static int read_topics(const struct operation *operation, const char *const *names, size_t count,
                       bool (*each)(const struct record *record, int32_t partition, struct position position,
                                    void *context),
                       void *context, struct error *error)
{
    const struct bus_scan scan = {.topics = names,
                                  .topic_count = count,
                                  .exact = true,
                                  .deadline_ms = operation->deadline_ms,
                                  .each = each,
                                  .context = context};
    return count == 0 ? 0 : bus_scan(operation->bus, &scan, error);
}

/* Those of earlier names of the group first. A topic that is not there holds none; one who writes needs his own. */
static int read_notes(struct letter_topics *topics, bool writes, struct error *error)
{
    const struct pipeline *pipeline = topics->operation->pipeline;
    struct error missing = {0};
    int code = 0;
    for (size_t i = 0; code == 0 && i <= pipeline->answer_count; i++) {
        bool own = i == pipeline->answer_count;
        const char *group = pipeline->engine.group;
        if (!own && (pipeline->answers[i].new_name == NULL || strcmp(pipeline->answers[i].new_name, group) != 0))
            continue;
        const char *name = pipeline_notes_topic(own ? group : pipeline->answers[i].old, topics->arena);
        code = read_topics(topics->operation, &name, 1, take_note, topics, &missing);
        if (code == -ENOENT && !(own && writes))
            code = 0;
    }
    if (code != 0)
        *error = missing;
    return code;
}

int letter_topics_open(const struct operation *operation, bool writes, struct letter_topics *ret, struct error *error)
{
    *ret = (struct letter_topics){
        .operation = operation, .arena = arena_create(NOTES_ARENA, NOTES_ARENA_MAX), .notes = map_create(1024)};
    int code = ret->arena == NULL || ret->notes == NULL ? error_set(error, ENOMEM, "out of memory") : 0;
    if (code == 0 && writes)
        code = bus_writer_open(operation->bus, pipeline_notes_topic(operation->pipeline->engine.group, ret->arena),
                               clock_monotonic_ms() + operation_timeout_ms(operation), &ret->writer, error);
    if (code == 0)
        code = read_notes(ret, writes, error);
    if (code != 0)
        letter_topics_close(ret);
    return code;
}

void letter_topics_close(struct letter_topics *topics)
{
    if (topics->writer != NULL)
        bus_writer_close(topics->operation->bus, topics->writer);
    map_destroy(topics->notes);
    arena_destroy(topics->arena);
    *topics = (struct letter_topics){0};
}

/* ---------------------------------------------------------------------------------------------------------- letters */

static const char *clean(struct arena *arena, struct span text)
{
    return text_clean(arena_string(arena, text));
}

/* Dead letters of earlier versions do not say whose they are; their handler does: "TAP/HANDLER" of a tap. */
static struct span group_of(const struct pipeline *pipeline, const struct record *record, struct arena *arena)
{
    struct span group = record_header(record, HEADER_DLT_GROUP), handler = record_header(record, HEADER_DLT_HANDLER);
    const char *slash = handler.length > 0 ? memchr(handler.at, '/', handler.length) : NULL;
    if (group.length > 0 || record_header(record, HEADER_DLT_TOPIC).length == 0)
        return group;
    return span_of(slash == NULL
                       ? pipeline->engine.group
                       : arena_format(arena, "%s.%.*s", pipeline->engine.group, (int)(slash - handler.at), handler.at));
}

/* Whether it is this pipeline's, or nobody's: another tool put it there. */
static bool is_ours(const struct pipeline *pipeline, struct span group)
{
    size_t length = strlen(pipeline->engine.group);
    for (size_t i = 0; i < pipeline->group_count; i++)
        if (group_is_called(pipeline, &pipeline->groups[i], group))
            return true;
    return group.length == 0 ||
           (group.length > length && memcmp(group.at, pipeline->engine.group, length) == 0 && group.at[length] == '.');
}

struct record letter_record_copy(const struct record *record, struct arena *arena)
{
    struct record copy = {.topic = arena_span(arena, record->topic),
                          .key = record->key.at == NULL ? record->key : arena_span(arena, record->key),
                          .value = arena_span(arena, record->value),
                          .headers = arena_array(arena, struct header, record->header_count + 1),
                          .header_count = record->header_count,
                          .timestamp_ms = record->timestamp_ms};
    for (size_t i = 0; i < record->header_count; i++) {
        struct header header = record->headers[i];
        copy.headers[i] = (struct header){arena_span(arena, header.name),
                                          header.value.at == NULL ? header.value : arena_span(arena, header.value)};
    }
    return copy;
}

/* The event's record, as it was before it became a dead letter. */
static struct record event_record(const struct record *record, const char *topic, struct arena *arena)
{
    struct record event = *record;
    event.topic = span_of(topic);
    event.timestamp_ms = number_of(record, HEADER_DLT_TIMESTAMP);
    event.headers = arena_array(arena, struct header, record->header_count + 1);
    event.header_count = 0;
    for (size_t i = 0; i < record->header_count; i++)
        if (!header_of_dead_letter(record->headers[i].name))
            event.headers[event.header_count++] = record->headers[i];
    return event;
}

static int apply_note(const struct note *note, struct dead_letter *letter, struct arena *arena, struct error *error)
{
    struct record *records = NULL;
    size_t count = 0;
    letter->state = note->state;
    if (note->state != DEAD_LETTER_OPEN) {
        letter->ended_at_ms = note->at_ms;
        letter->ended_by = clean(arena, note->by);
        letter->replayed_as = clean(arena, note->replayed_as);
    }
    if (note->edited.length == 0)
        return 0;
    int code = record_batch_read(note->edited, arena, &records, &count, error);
    if (code == 0 && count != 1)
        code = error_set(error, EBADMSG, "%zu records where one was expected", count);
    if (code != 0)
        return error_prefix(error, "what dead letter %s was edited to is damaged", letter->id);
    letter->edited = true;
    letter->edited_record = letter_record_copy(&records[0], arena);
    return 0;
}

/* Everything is in the arena but the bytes of the record. */
static int letter_of(const struct letter_topics *topics, const char *id, const struct record *record,
                     struct arena *arena, struct dead_letter *ret, struct error *error)
{
    const struct pipeline *pipeline = topics->operation->pipeline;
    struct event event = {0};
    enum dead_reason reason = 0;
    *ret = (struct dead_letter){
        .id = id,
        .attempts = (int32_t)number_of(record, HEADER_ATTEMPTS),
        .rounds = (int32_t)number_of(record, HEADER_REPLAY_COUNT),
        .placed = record_header(record, HEADER_DLT_PARTITION).length > 0,
        .partition = (int32_t)number_of(record, HEADER_DLT_PARTITION),
        .offset = number_of(record, HEADER_DLT_OFFSET),
        .before = clean(arena, record_header(record, HEADER_REPLAY_LETTER)),
        .at_ms = record->timestamp_ms,
        .group = clean(arena, group_of(pipeline, record, arena)),
        .topic = clean(arena, record_header(record, HEADER_DLT_TOPIC)),
        .handler = clean(arena, record_header(record, HEADER_DLT_HANDLER)),
        .reason = clean(arena, record_header(record, HEADER_DLT_CODE)),
        .message = clean(arena, record_header(record, HEADER_DLT_REASON)),
        .correlation = clean(arena, record_header(record, HEADER_CORRELATION)),
        .ended_by = "",
        .replayed_as = "",
    };
    ret->record = event_record(record, ret->topic, arena);
    bool good = event_parse(&ret->record, SIZE_MAX / 2, arena, &event, &reason, NULL) == 0;
    ret->event = good ? clean(arena, event.id_text) : "";
    const struct note *note = map_get(topics->notes, span_of(id));
    return note != NULL && note->letter_ms == record->timestamp_ms ? apply_note(note, ret, arena, error) : 0;
}

static bool is_text(struct span wanted, const char *text)
{
    return wanted.length == 0 || span_is(wanted, text);
}

static bool is_chosen(const struct letter_filter *filter, const struct dead_letter *letter)
{
    if (letter->state < filter->state || letter->state > filter->state_to)
        return false;
    return filter->id_count > 0 ||
           ((filter->topic.length == 0 || topic_matches(filter->topic, span_of(letter->topic))) &&
            is_text(filter->handler, letter->handler) && is_text(filter->reason, letter->reason) &&
            is_text(filter->correlation, letter->correlation) && letter->at_ms >= filter->since_ms);
}

struct walk {
    const struct letter_topics *topics;
    const struct letter_filter *filter;
    struct map *ids; /* of the filter; NULL: it has none */
    struct arena *arena;
    bool (*each)(const struct dead_letter *letter, void *context);
    void *context;
    struct error *error;
    int code;
};

static bool walk_record(const struct record *record, int32_t partition, struct position position, void *context)
{
    struct walk *walk = context;
    struct dead_letter letter;
    arena_reset(walk->arena);
    const char *id = arena_format(walk->arena, "%.*s:%d:%llu", (int)record->topic.length, record->topic.at,
                                  (int)partition, (unsigned long long)position.high);
    if (walk->ids != NULL && map_get(walk->ids, span_of(id)) == NULL)
        return true;
    walk->code = letter_of(walk->topics, id, record, walk->arena, &letter, walk->error);
    if (walk->code != 0)
        return false;
    if (!is_ours(walk->topics->operation->pipeline, span_of(letter.group)) || !is_chosen(walk->filter, &letter))
        return true;
    return walk->each(&letter, walk->context);
}

/* The ids as a map, and whether each is a place. */
static int take_ids(struct walk *walk)
{
    const struct letter_filter *filter = walk->filter;
    struct letter_place place;
    if (filter->id_count == 0)
        return 0;
    walk->ids = map_create(filter->id_count);
    if (walk->ids == NULL)
        return error_set(walk->error, ENOMEM, "out of memory");
    for (size_t i = 0; i < filter->id_count; i++) {
        if (!letter_place_of(filter->ids[i], &place))
            return error_set(walk->error, EINVAL,
                             "'%.*s' is no id of a dead letter here: pipeline '%s' has no store, so one is called "
                             "TOPIC:PARTITION:OFFSET",
                             filter->ids[i].length > 300 ? 300 : (int)filter->ids[i].length, filter->ids[i].at,
                             walk->topics->operation->pipeline->name);
        (void)map_set(walk->ids, filter->ids[i], walk);
    }
    return 0;
}

static bool id_is_on(const struct letter_filter *filter, const char *topic)
{
    struct letter_place place;
    for (size_t i = 0; i < filter->id_count; i++)
        if (letter_place_of(filter->ids[i], &place) && span_is(place.topic, topic))
            return true;
    return filter->id_count == 0;
}

int letter_topics_each(const struct letter_topics *topics, const struct letter_filter *filter,
                       bool (*each)(const struct dead_letter *letter, void *context), void *context,
                       struct error *error)
{
    const struct operation *operation = topics->operation;
    const struct pipeline *pipeline = operation->pipeline;
    struct walk walk = {.topics = topics,
                        .filter = filter,
                        .each = each,
                        .context = context,
                        .error = error,
                        .arena = arena_create(LETTER_ARENA, NOTES_ARENA_MAX)};
    const char **names = arena_array(topics->arena, const char *, pipeline->topic_count + 1);
    size_t count = 0;
    int code = walk.arena == NULL ? error_set(error, ENOMEM, "out of memory") : take_ids(&walk);
    for (size_t i = 0; code == 0 && i < pipeline->topic_count; i++)
        if (pipeline->topics[i]->is_dead_letter && id_is_on(filter, pipeline->topics[i]->name))
            names[count++] = pipeline->topics[i]->name;
    if (code == 0)
        code = read_topics(operation, names, count, walk_record, &walk, error);
    map_destroy(walk.ids);
    arena_destroy(walk.arena);
    return code == 0 ? walk.code : code;
}

/* ---------------------------------------------------------------------------------------------------------- writing */

static struct span packed(const struct record *record, struct arena *arena)
{
    struct buffer out;
    buffer_init(&out, LETTER_PACKED_MAX);
    record_batch_begin(&out);
    record_batch_append(&out, 0, record);
    struct span bytes = out.failed ? (struct span){"", 0} : arena_span(arena, buffer_view(&out));
    buffer_free(&out);
    return bytes;
}

static void add_header(struct record *note, const char *name, struct span value)
{
    if (value.length > 0)
        note->headers[note->header_count++] = (struct header){span_of(name), value};
}

struct record letter_topics_note(const struct letter_topics *topics, const struct dead_letter *letter,
                                 enum dead_letter_state state, struct span replayed_as, struct arena *arena)
{
    const struct operation *operation = topics->operation;
    struct record note = {.topic = span_of(pipeline_notes_topic(operation->pipeline->engine.group, arena)),
                          .key = arena_span(arena, span_of(letter->id)),
                          .value = letter->edited ? packed(&letter->edited_record, arena) : (struct span){"", 0},
                          .headers = arena_array(arena, struct header, NOTE_HEADERS),
                          .timestamp_ms = clock_wall_ms()};
    add_header(&note, NOTE_STATE, span_of(dead_letter_state_word(state)));
    add_header(&note, NOTE_TIME, span_of(arena_format(arena, "%lld", (long long)letter->at_ms)));
    add_header(&note, NOTE_BY, operation->actor);
    add_header(&note, NOTE_WHY, operation->reason);
    add_header(&note, NOTE_AS, replayed_as);
    return note;
}

int letter_topics_publish(const struct letter_topics *topics, const struct record *records, size_t count,
                          size_t *ret_failed, struct error *error)
{
    int code = bus_writer_publish(topics->operation->bus, topics->writer, records, count,
                                  clock_monotonic_ms() + PUBLISH_MS, ret_failed, error);
    if (code == -EBUSY) {
        error_set(error, EBUSY,
                  "another command or request began to replay, edit or drop dead letters of pipeline '%s', which ended "
                  "this one",
                  topics->operation->pipeline->name);
        error_hint(error, "what this one did stays done; run it again for the rest");
    }
    return code;
}
