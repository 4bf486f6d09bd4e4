/*
 * dead_letter.c - see dead_letter.h.
 */
#include "operate/dead_letter.h"

#include "base/clock.h"
#include "event/record_batch.h"
#include "event/timestamp.h"

#include <errno.h>

static const char *const state_words[] = {"open", "replayed", "dropped"};
enum { STATE_COUNT = sizeof state_words / sizeof state_words[0] };

const char *dead_letter_state_word(enum dead_letter_state state)
{
    return (size_t)state < STATE_COUNT ? state_words[state] : "?";
}

/* False when there is no such word. */
static bool dead_letter_state_of(const char *word, enum dead_letter_state *ret)
{
    for (size_t i = 0; i < STATE_COUNT; i++)
        if (strcmp(word, state_words[i]) == 0) {
            *ret = (enum dead_letter_state)i;
            return true;
        }
    return false;
}

bool dead_letter_id_of(struct span text, int64_t *ret)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    int64_t id = 0;
    if (text.length == 0 || (text.length > 1 && text.at[0] == '0') || json_int64(text, &id) != 0 || id <= 0)
        return false;
    *ret = id;
    return true;
}

static bool since_of(struct span text, int64_t *ret_ms)
{
    int64_t ms;
    if (duration_parse(text, &ms) == 0 && ms > 0)
        *ret_ms = clock_wall_ms() - ms;
    else if (timestamp_parse(text, &ms) == 0)
        *ret_ms = ms;
    else
        return false;
    return true;
}

int dead_letter_filter_set(struct dead_letter_filter *filter, struct span name, struct span value, struct arena *arena,
                           struct error *error)
{
    struct span *text = span_is(name, "topic")         ? &filter->topic
                        : span_is(name, "handler")     ? &filter->handler
                        : span_is(name, "reason")      ? &filter->reason
                        : span_is(name, "correlation") ? &filter->correlation
                                                       : NULL;
    int shown = value.length > 100 ? 100 : (int)value.length;
    if (text != NULL) {
        *text = value;
        bool good = value.length > 0 && memchr(value.at, '\0', value.length) == NULL;
        return good ? 0
                    : error_set(error, EINVAL, "%.*s: expected a text; without it any will do", (int)name.length,
                                name.at);
    }
    if (span_is(name, "since"))
        return since_of(value, &filter->since_ms)
                   ? 0
                   : error_set(error, EINVAL, "since %.*s: expected a duration (15m) or a time (2026-01-02T03:04:05Z)",
                               shown, value.at);
    if (!span_is(name, "state"))
        return error_set(error, EINVAL, "'%.*s': expected topic, handler, reason, correlation, since or state",
                         name.length > 40 ? 40 : (int)name.length, name.at);
    filter->state = DEAD_LETTER_OPEN;
    filter->state_to = DEAD_LETTER_DROPPED;
    if (span_is(value, "all"))
        return 0;
    if (!dead_letter_state_of(arena_string(arena, value), &filter->state))
        return error_set(error, EINVAL, "state %.*s: expected open, replayed, dropped or all", shown, value.at);
    filter->state_to = filter->state;
    return 0;
}

const char *dead_letter_filter_words(const struct dead_letter_filter *filter, struct arena *arena)
{
    const struct {
        const char *name;
        struct span text;
    } words[] = {{"topic", filter->topic},
                 {"handler", filter->handler},
                 {"reason", filter->reason},
                 {"correlation", filter->correlation}};
    const char *text = filter->id_count > 0 ? "ids" : "";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (words[i].text.length > 0)
            text = arena_format(arena, "%s%s%s %.*s", text, text[0] != '\0' ? ", " : "", words[i].name,
                                (int)words[i].text.length, words[i].text.at);
    if (filter->since_ms != 0) {
        char since[TIMESTAMP_TEXT + 1];
        timestamp_format(filter->since_ms, since);
        text = arena_format(arena, "%s%ssince %s", text, text[0] != '\0' ? ", " : "", since);
    }
    return text[0] != '\0' ? text : "all";
}

struct dead_letter_filter dead_letter_filter_of(const struct operation *operation,
                                                const struct dead_letter_filter *filter)
{
    struct dead_letter_filter of_group = *filter;
    of_group.group = span_of(operation->pipeline->engine.group);
    return of_group;
}

/* --------------------------------------------------------------------------------------------------------- reading */

static const char *text_of(const struct rows *rows, size_t row, size_t column, struct arena *arena)
{
    return rows_null(rows, row, column) ? "" : arena_string(arena, rows_span(rows, row, column));
}

static int64_t number_of(const struct rows *rows, size_t row, size_t column)
{
    return rows_null(rows, row, column) ? 0 : rows_int64(rows, row, column);
}

static struct dead_letter letter_of(const struct rows *rows, size_t row, struct arena *arena)
{
    return (struct dead_letter){
        .id = rows_int64(rows, row, 0),
        .group = text_of(rows, row, 1, arena),
        .state = (enum dead_letter_state)rows_int64(rows, row, 2),
        .noted = rows_int64(rows, row, 3) != 0,
        .attempts = (int32_t)rows_int64(rows, row, 4),
        .rounds = (int32_t)rows_int64(rows, row, 5),
        .placed = !rows_null(rows, row, 6),
        .partition = (int32_t)number_of(rows, row, 6),
        .offset = number_of(rows, row, 7),
        .before = number_of(rows, row, 8),
        .at_ms = rows_int64(rows, row, 9),
        .topic = text_of(rows, row, 10, arena),
        .handler = text_of(rows, row, 11, arena),
        .reason = text_of(rows, row, 12, arena),
        .event = text_of(rows, row, 13, arena),
        .correlation = text_of(rows, row, 14, arena),
        .message = text_of(rows, row, 15, arena),
        .ended_at_ms = number_of(rows, row, 16),
        .ended_by = text_of(rows, row, 17, arena),
        .replayed_as = text_of(rows, row, 18, arena),
        .edited = rows_int64(rows, row, 19) != 0,
    };
}

static int record_of(const struct rows *rows, size_t column, struct arena *arena, struct record *ret,
                     struct error *error)
{
    struct record *records = NULL;
    size_t count = 0;
    int code = record_batch_read(arena_span(arena, rows_span(rows, 0, column)), arena, &records, &count, error);
    if (code == 0 && count != 1)
        code = error_set(error, EBADMSG, "%zu records where one was expected", count);
    if (code != 0)
        return error_prefix(error, "the row of dead letter %lld in sluice.dead_letter is damaged",
                            (long long)rows_int64(rows, 0, 0));
    *ret = records[0];
    return 0;
}

int dead_letters_read(const struct operation *operation, const struct dead_letter_filter *filter, int64_t below,
                      int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error)
{
    struct dead_letter_filter of_group = dead_letter_filter_of(operation, filter);
    struct rows *rows;
    limit = limit < 1 ? 1 : limit > DEAD_LETTER_PAGE_MAX ? DEAD_LETTER_PAGE_MAX : limit;
    enum store_result result = ledger_dead_letters(operation->connection, &of_group, below, limit + 1, false, &rows,
                                                   error);
    if (result != STORE_OK)
        return operation_result(result, error);
    size_t found = rows_count(rows), count = found > (size_t)limit ? (size_t)limit : found;
    *ret = (struct dead_letter_page){.letters = arena_array(arena, struct dead_letter, count + 1), .count = count};
    for (size_t i = 0; i < count; i++)
        ret->letters[i] = letter_of(rows, i, arena);
    if (found > count)
        ret->next = ret->letters[count - 1].id;
    return 0;
}

int dead_letter_read(const struct operation *operation, int64_t id, struct arena *arena, struct dead_letter *ret,
                     struct error *error)
{
    struct dead_letter_filter filter = {.group = span_of(operation->pipeline->engine.group),
                                        .ids = &id,
                                        .id_count = 1,
                                        .state_to = DEAD_LETTER_DROPPED};
    struct rows *rows;
    enum store_result result = ledger_dead_letters(operation->connection, &filter, 0, 1, true, &rows, error);
    if (result != STORE_OK)
        return operation_result(result, error);
    if (rows_count(rows) == 0)
        return error_set(error, ENOENT, "pipeline '%s' has no dead letter %lld", operation->pipeline->name,
                         (long long)id);
    *ret = letter_of(rows, 0, arena);
    int code = record_of(rows, 20, arena, &ret->record, error);
    return code == 0 && ret->edited ? record_of(rows, 21, arena, &ret->edited_record, error) : code;
}

/* ------------------------------------------------------------------------------------------------------------ JSON */

static void member(struct buffer *out, const char *name, struct span text)
{
    buffer_format(out, ",\"%s\":", name);
    buffer_json_string(out, text);
}

static void time_member(struct buffer *out, const char *name, int64_t ms)
{
    char text[TIMESTAMP_TEXT + 1];
    timestamp_format(ms, text);
    member(out, name, span_of(text));
}

static void base64(struct buffer *out, struct span bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        uint32_t three = (uint32_t)(unsigned char)bytes.at[i] << 16;
        three |= left > 1 ? (uint32_t)(unsigned char)bytes.at[i + 1] << 8 : 0;
        three |= left > 2 ? (uint32_t)(unsigned char)bytes.at[i + 2] : 0;
        buffer_byte(out, digits[three >> 18]);
        buffer_byte(out, digits[three >> 12 & 63]);
        buffer_byte(out, left > 1 ? digits[three >> 6 & 63] : '=');
        buffer_byte(out, left > 2 ? digits[three & 63] : '=');
    }
}

/* "name":"text", or "nameBase64":"…" of bytes that are no UTF-8, or "name":null. */
static void bytes_member(struct buffer *out, const char *name, struct span bytes)
{
    if (bytes.at == NULL)
        buffer_format(out, "\"%s\":null", name);
    else if (span_utf8(bytes) == bytes.length) {
        buffer_format(out, "\"%s\":", name);
        buffer_json_string(out, bytes);
    } else {
        buffer_format(out, "\"%sBase64\":\"", name);
        base64(out, bytes);
        buffer_byte(out, '"');
    }
}

static void record_json(const struct record *record, struct buffer *out)
{
    buffer_byte(out, '{');
    bytes_member(out, "key", record->key);
    buffer_text(out, ",\"headers\":[");
    for (size_t i = 0; i < record->header_count; i++) {
        buffer_text(out, i > 0 ? ",{" : "{");
        bytes_member(out, "name", record->headers[i].name);
        buffer_byte(out, ',');
        bytes_member(out, "value", record->headers[i].value);
        buffer_byte(out, '}');
    }
    buffer_text(out, "],");
    bytes_member(out, "value", record->value.at == NULL ? (struct span){"", 0} : record->value);
    buffer_byte(out, '}');
}

void dead_letter_json(const struct dead_letter *letter, bool whole, struct buffer *out)
{
    buffer_format(out, "{\"id\":%lld", (long long)letter->id);
    member(out, "state", span_of(dead_letter_state_word(letter->state)));
    member(out, "group", span_of(letter->group));
    member(out, "topic", span_of(letter->topic));
    if (letter->placed)
        buffer_format(out, ",\"partition\":%d,\"offset\":%lld", letter->partition, (long long)letter->offset);
    member(out, "handler", span_of(letter->handler));
    member(out, "reason", span_of(letter->reason));
    member(out, "message", span_of(letter->message));
    member(out, "eventId", span_of(letter->event));
    member(out, "correlation", span_of(letter->correlation));
    buffer_format(out, ",\"attempts\":%d,\"rounds\":%d,\"edited\":%s", letter->attempts, letter->rounds,
                  letter->edited ? "true" : "false");
    time_member(out, "at", letter->at_ms);
    if (letter->before != 0)
        buffer_format(out, ",\"before\":%lld", (long long)letter->before);
    if (letter->ended_at_ms != 0) {
        time_member(out, "endedAt", letter->ended_at_ms);
        member(out, "endedBy", span_of(letter->ended_by));
    }
    if (letter->replayed_as[0] != '\0')
        member(out, "replayedAs", span_of(letter->replayed_as));
    if (whole) {
        buffer_text(out, ",\"record\":");
        record_json(&letter->record, out);
    }
    if (whole && letter->edited) {
        buffer_text(out, ",\"editedRecord\":");
        record_json(&letter->edited_record, out);
    }
    buffer_byte(out, '}');
}

void dead_letters_json(const struct dead_letter_page *page, struct buffer *out)
{
    buffer_text(out, "{\"deadLetters\":[");
    for (size_t i = 0; i < page->count; i++) {
        buffer_text(out, i > 0 ? "," : "");
        dead_letter_json(&page->letters[i], false, out);
    }
    buffer_text(out, "],\"next\":");
    if (page->next != 0)
        buffer_int64(out, page->next);
    else
        buffer_text(out, "null");
    buffer_byte(out, '}');
}
