/*
 * dead_letter.c - see dead_letter.h.
 */
#include "operate/dead_letter.h"

#include "event/record_batch.h"
#include "event/timestamp.h"
#include "operate/letter_page.h"

#include <errno.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------------------------ rows */

static int id_compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

int dead_letter_rows_filter(const struct operation *operation, const struct letter_filter *filter, struct arena *arena,
                            struct dead_letter_filter *ret, struct error *error)
{
    int64_t *ids = arena_array(arena, int64_t, filter->id_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < filter->id_count; i++)
        if (!letter_number_of(filter->ids[i], &ids[i]))
            return error_set(error, EINVAL,
                             "'%.*s' is no number: pipeline '%s' has its dead letters in its store, numbered",
                             filter->ids[i].length > 300 ? 300 : (int)filter->ids[i].length, filter->ids[i].at,
                             operation->pipeline->name);
    if (filter->id_count > 0)
        qsort(ids, filter->id_count, sizeof *ids, id_compare);
    for (size_t i = 0; i < filter->id_count; i++)
        if (count == 0 || ids[count - 1] != ids[i])
            ids[count++] = ids[i];
    *ret = (struct dead_letter_filter){.group = span_of(operation->pipeline->engine.group),
                                       .topic = filter->topic,
                                       .handler = filter->handler,
                                       .reason = filter->reason,
                                       .correlation = filter->correlation,
                                       .since_ms = filter->since_ms,
                                       .ids = ids,
                                       .id_count = count,
                                       .state = filter->state,
                                       .state_to = filter->state_to};
    return 0;
}

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
        .id = arena_format(arena, "%lld", (long long)rows_int64(rows, row, 0)),
        .group = text_of(rows, row, 1, arena),
        .state = (enum dead_letter_state)rows_int64(rows, row, 2),
        .noted = rows_int64(rows, row, 3) != 0,
        .attempts = (int32_t)rows_int64(rows, row, 4),
        .rounds = (int32_t)rows_int64(rows, row, 5),
        .placed = !rows_null(rows, row, 6),
        .partition = (int32_t)number_of(rows, row, 6),
        .offset = number_of(rows, row, 7),
        .before = rows_null(rows, row, 8) ? "" : arena_format(arena, "%lld", (long long)rows_int64(rows, row, 8)),
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

static int rows_page(const struct operation *operation, const struct letter_filter *filter, struct span below,
                     int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error)
{
    struct dead_letter_filter of_rows;
    struct rows *rows;
    int64_t before = 0;
    if (below.length > 0 && !letter_number_of(below, &before))
        return error_set(error, EINVAL, "below: expected the number of a dead letter");
    int code = dead_letter_rows_filter(operation, filter, arena, &of_rows, error);
    if (code != 0)
        return code;
    enum store_result result = ledger_dead_letters(operation->connection, &of_rows, before, limit + 1, false, &rows,
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

int dead_letters_read(const struct operation *operation, const struct letter_filter *filter, struct span below,
                      int64_t limit, struct arena *arena, struct dead_letter_page *ret, struct error *error)
{
    limit = limit < 1 ? 1 : limit > DEAD_LETTER_PAGE_MAX ? DEAD_LETTER_PAGE_MAX : limit;
    return operation->connection == NULL ? letter_topics_page(operation, filter, below, limit, arena, ret, error)
                                         : rows_page(operation, filter, below, limit, arena, ret, error);
}

static int rows_one(const struct operation *operation, const struct letter_filter *filter, struct arena *arena,
                    struct dead_letter *ret, struct error *error)
{
    struct dead_letter_filter of_rows;
    struct rows *rows;
    int code = dead_letter_rows_filter(operation, filter, arena, &of_rows, error);
    if (code != 0)
        return code;
    enum store_result result = ledger_dead_letters(operation->connection, &of_rows, 0, 1, true, &rows, error);
    if (result != STORE_OK)
        return operation_result(result, error);
    if (rows_count(rows) == 0)
        return -ENOENT;
    *ret = letter_of(rows, 0, arena);
    code = record_of(rows, 20, arena, &ret->record, error);
    return code == 0 && ret->edited ? record_of(rows, 21, arena, &ret->edited_record, error) : code;
}

int dead_letter_read(const struct operation *operation, struct span id, struct arena *arena, struct dead_letter *ret,
                     struct error *error)
{
    const struct letter_filter filter = {.ids = &id, .id_count = 1, .state_to = DEAD_LETTER_DROPPED};
    struct dead_letter_page page = {0};
    int code;
    if (operation->connection != NULL) {
        code = rows_one(operation, &filter, arena, ret, error);
    } else {
        code = letter_topics_page(operation, &filter, (struct span){NULL, 0}, 1, arena, &page, error);
        code = code == 0 && page.count == 0 ? -ENOENT : code;
    }
    if (code == -ENOENT && error->code == 0)
        return error_set(error, ENOENT, "pipeline '%s' has no dead letter %.*s", operation->pipeline->name,
                         id.length > 300 ? 300 : (int)id.length, id.at);
    if (code == 0 && page.count > 0)
        *ret = page.letters[0];
    return code;
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

/* A number, or the text of a place. */
static void id_value(struct buffer *out, const char *id)
{
    int64_t number;
    if (letter_number_of(span_of(id), &number))
        buffer_text(out, id);
    else
        buffer_json_string(out, span_of(id));
}

void dead_letter_json(const struct dead_letter *letter, bool whole, struct buffer *out)
{
    buffer_text(out, "{\"id\":");
    id_value(out, letter->id);
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
    if (letter->before[0] != '\0') {
        buffer_text(out, ",\"before\":");
        id_value(out, letter->before);
    }
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
    if (page->next != NULL)
        id_value(out, page->next);
    else
        buffer_text(out, "null");
    buffer_byte(out, '}');
}
