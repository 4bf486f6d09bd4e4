/*
 * edit.c - see edit.h.
 */
#include "operate/edit.h"

#include "base/clock.h"
#include "event/correlation.h"
#include "event/record_batch.h"
#include "operate/letter_topics.h"
#include "operate/replayed_event.h"
#include "plugin/plugin.h"

#include <errno.h>

enum { EDIT_TRANSACTION_MS = 30000, EDIT_VALUE_MAX = 64 * 1024 * 1024 };

/* What is to be replayed as of now. */
static const struct record *record_now(const struct dead_letter *letter)
{
    return letter->edited ? &letter->edited_record : &letter->record;
}

struct span dead_letter_data(const struct dead_letter *letter, struct arena *arena)
{
    struct event event;
    enum dead_reason reason = 0;
    return event_parse(record_now(letter), EDIT_VALUE_MAX, arena, &event, &reason, NULL) == 0 ? event.data.text
                                                                                              : (struct span){NULL, 0};
}

/* Its value with other data. */
static void edited_value(const struct pipeline *pipeline, const struct record *record, const struct json_object *data,
                         struct arena *arena, struct record *ret)
{
    struct event event = {0};
    enum dead_reason reason = 0;
    struct buffer value;
    buffer_init(&value, EDIT_VALUE_MAX);
    if (event_parse(record, EDIT_VALUE_MAX, arena, &event, &reason, NULL) == 0) {
        event_rewrite(&value, &event, event.id_text, data, arena);
    } else {
        /* It was none: what its headers say of its value is not true any more. */
        char *id = arena_alloc_raw(arena, 37);
        event_id_format(&event.id, id);
        ret->header_count = 0;
        for (size_t i = 0; i < record->header_count; i++) {
            struct span name = record->headers[i].name;
            bool of_value = span_is(name, HEADER_CONTENT_TYPE) || (name.length > 3 && memcmp(name.at, "ce_", 3) == 0);
            if (!of_value)
                ret->headers[ret->header_count++] = record->headers[i];
        }
        enum event_format format = pipeline->engine.event_format;
        ret->header_count += event_headers(format, span_of(id), record->topic, record->timestamp_ms, arena,
                                           ret->headers + ret->header_count);
        event_compose(&value, span_of(id), record->topic, record->timestamp_ms, format, data, NULL, 0);
    }
    ret->value = arena_span(arena, buffer_view(&value));
    buffer_free(&value);
}

/* The correlation that the data say; else the one that it had. */
static struct span edited_correlation(const struct pipeline *pipeline, const struct json_object *data,
                                      const char *before, struct arena *arena)
{
    struct span correlation;
    for (size_t i = 0; i < pipeline->chain_count; i++)
        if (correlation_read(data, span_of(pipeline->chains[i].correlate), arena, &correlation, NULL) ==
            CORRELATION_USABLE)
            return correlation;
    return span_of(before);
}

static void replace_header(struct record *record, const char *name, struct span value)
{
    for (size_t i = 0; i < record->header_count; i++)
        if (span_is(record->headers[i].name, name))
            record->headers[i].value = value;
}

static const struct binding *reader_of(const struct pipeline *pipeline, const struct topic *topic, const char *group)
{
    for (size_t i = 0; i < pipeline->group_count; i++)
        if (group_is_called(pipeline, &pipeline->groups[i], span_of(group)))
            return pipeline->groups[i].tap != NULL ? pipeline->groups[i].tap->binding : topic->binding;
    return NULL;
}

/* Whether it is an event that its handler takes. */
static int check_event(const struct pipeline *pipeline, const struct record *record, const struct binding *binding,
                       struct arena *arena, struct error *error)
{
    const struct input_meta meta = {.attempt = 1};
    struct event event;
    enum dead_reason reason = 0;
    int code = event_parse(record, (size_t)pipeline->engine.max_event_size, arena, &event, &reason, error);
    if (code != 0 || binding == NULL || binding->input == NULL)
        return code;
    void *input = arena_alloc(arena, binding->handler->input_size);
    code = input_fill(binding->input, &event, &meta, arena, input, error);
    return code == 0 ? 0 : error_prefix(error, "handler '%s' does not take it", binding->handler_name);
}

static int edited_record(const struct pipeline *pipeline, const struct dead_letter *letter, struct span data,
                         struct arena *arena, struct record *ret, struct span *ret_correlation, struct error *error)
{
    const struct record *record = record_now(letter);
    const struct topic *topic = replayed_topic(pipeline, span_of(letter->topic), arena);
    struct json_object object;
    enum json_fault fault = 0;
    struct buffer key;
    if (json_scan_inner(data, arena, &object, &fault, error) != 0)
        return error_prefix(error, "expected the event's data, a JSON object");
    if (topic == NULL)
        return error_set(error, EINVAL, "its topic '%s' is not in the file", letter->topic);
    *ret = *record;
    ret->headers = arena_array(arena, struct header, record->header_count + FORMAT_HEADERS_MAX);
    if (record->header_count > 0)
        memcpy(ret->headers, record->headers, record->header_count * sizeof *ret->headers);
    edited_value(pipeline, record, &object, arena, ret);
    *ret_correlation = edited_correlation(pipeline, &object, letter->correlation, arena);
    replace_header(ret, HEADER_CORRELATION, *ret_correlation);
    int code = check_event(pipeline, ret, reader_of(pipeline, topic, letter->group), arena, error);
    if (code != 0 || topic->key == NULL)
        return code;
    buffer_init(&key, EVENT_KEY_MAX);
    code = key_template_apply(topic->key, &object, NULL, 0, arena, &key, error);
    ret->key = arena_span(arena, buffer_view(&key));
    buffer_free(&key);
    return code == 0 ? 0 : error_prefix(error, "no key for topic '%s'", topic->name);
}

static int check_open(const struct dead_letter *letter, struct error *error)
{
    return letter->state == DEAD_LETTER_OPEN ? 0
                                             : error_set(error, EBUSY, "dead letter %s is %s already", letter->id,
                                                         dead_letter_state_word(letter->state));
}

/* ---------------------------------------------------------------------------------------------------- in the store */

static int write_edit(const struct operation *operation, const struct dead_letter *letter, const struct record *record,
                      struct span correlation, struct arena *arena, struct error *error)
{
    struct buffer packed;
    buffer_init(&packed, EDIT_VALUE_MAX);
    record_batch_begin(&packed);
    record_batch_append(&packed, 0, record);
    struct span bytes = arena_span(arena, buffer_view(&packed));
    bool failed = packed.failed, noted = letter->noted && span_is(correlation, letter->correlation);
    buffer_free(&packed);
    if (failed)
        return error_set(error, EINVAL, "the data are too large");
    int64_t number = 0;
    (void)letter_number_of(span_of(letter->id), &number);
    enum store_result result = ledger_dead_letter_edit(operation->connection, number, bytes, correlation, noted, error);
    if (result == STORE_OK)
        result = operation_audit(operation, "dead-letter edit", span_of(letter->id), error);
    if (result == STORE_OK)
        result = connection_commit(operation->connection, error);
    return operation_result(result, error);
}

static int edit_row(const struct operation *operation, struct span id, struct span data, struct arena *arena,
                    struct error *error)
{
    const struct pipeline *pipeline = operation->pipeline;
    struct dead_letter letter = {0};
    struct record record;
    struct span correlation = {NULL, 0};
    enum store_result result = connection_begin(operation->connection, clock_monotonic_ms() + EDIT_TRANSACTION_MS,
                                                error);
    if (result == STORE_OK)
        result = ledger_dead_letters_alone(operation->connection, span_of(pipeline->engine.group), error);
    int code = result == STORE_OK ? dead_letter_read(operation, id, arena, &letter, error)
                                  : operation_result(result, error);
    if (code == 0)
        code = check_open(&letter, error);
    if (code == 0)
        code = edited_record(pipeline, &letter, data, arena, &record, &correlation, error);
    if (code == 0)
        code = write_edit(operation, &letter, &record, correlation, arena, error);
    if (code != 0)
        connection_rollback(operation->connection);
    return code;
}

/* --------------------------------------------------------------------------------------------------- on its topic */

struct editing {
    const struct letter_topics *topics;
    struct span data;
    struct arena *arena;
    struct error *error;
    int code; /* -ENOENT: it has not come */
};

static bool edit_letter(const struct dead_letter *letter, void *context)
{
    struct editing *editing = context;
    struct dead_letter edited = *letter;
    struct span correlation = {NULL, 0};
    size_t failed;
    editing->code = check_open(letter, editing->error);
    if (editing->code == 0)
        editing->code = edited_record(editing->topics->operation->pipeline, letter, editing->data, editing->arena,
                                      &edited.edited_record, &correlation, editing->error);
    if (editing->code != 0)
        return false;
    edited.edited = true;
    const struct record note = letter_topics_note(editing->topics, &edited, DEAD_LETTER_OPEN, (struct span){NULL, 0},
                                                  editing->arena);
    editing->code = note.value.length == 0 ? error_set(editing->error, EINVAL, "the data are too large")
                                           : letter_topics_publish(editing->topics, &note, 1, &failed, editing->error);
    return false;
}

static int edit_on_topic(const struct operation *operation, struct span id, struct span data, struct arena *arena,
                         struct error *error)
{
    const struct letter_filter only = {.ids = &id, .id_count = 1, .state_to = DEAD_LETTER_DROPPED};
    struct letter_topics topics = {0};
    struct editing editing = {.topics = &topics, .data = data, .arena = arena, .error = error, .code = -ENOENT};
    int code = letter_topics_open(operation, true, &topics, error);
    if (code == 0)
        code = letter_topics_each(&topics, &only, edit_letter, &editing, error);
    letter_topics_close(&topics);
    if (code == 0 && editing.code == -ENOENT && error->code == 0)
        return error_set(error, ENOENT, "pipeline '%s' has no dead letter %.*s", operation->pipeline->name,
                         id.length > 300 ? 300 : (int)id.length, id.at);
    return code == 0 ? editing.code : code;
}

int dead_letter_edit(const struct operation *operation, struct span id, struct span data, struct arena *arena,
                     struct error *error)
{
    return operation->connection == NULL ? edit_on_topic(operation, id, data, arena, error)
                                         : edit_row(operation, id, data, arena, error);
}
