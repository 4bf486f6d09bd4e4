/*
 * dead_letter.c - what is left of an event that no try can help: a record on its dead letter topic, for other readers,
 * and a row in the store, for those who replay, mend or drop it. Both are made in the transaction that ends the event.
 */
#include "batch/batch.h"

#include "batch/traced.h"
#include "event/record_batch.h"

#include <errno.h>

enum {
    DEAD_HEADERS = 10, /* its own 9, and a traceparent */
    DEAD_KEY_MAX = 32768,
    DEAD_SENTENCE_MAX = 500,
    RECORD_HEADERS_MAX = 255,
    DEAD_ROWS_MAX = 512 * 1024 * 1024, /* bytes of one batch; what is in flight is bounded far below */
};

/* The event's record as far as a record can be kept, with room for the dead letter's own headers. Where its trace is
 * recorded it is carried on, so that a replay is in it, too. */
static struct record source_record(struct batch *batch, const struct work *work)
{
    const struct item *item = work->item;
    const struct record *source = &item->record;
    struct record record = *source;
    if (record.key.length > DEAD_KEY_MAX)
        record.key.length = DEAD_KEY_MAX; /* what is too large for it stays where the letter says that it was */
    size_t most = source->header_count < RECORD_HEADERS_MAX - DEAD_HEADERS ? source->header_count
                                                                           : RECORD_HEADERS_MAX - DEAD_HEADERS;
    record.headers = arena_array(batch->arena, struct header, most + DEAD_HEADERS);
    record.header_count = 0;
    for (size_t i = 0; i < source->header_count && !item->minimal && record.header_count < most; i++)
        if (source->headers[i].name.length <= EVENT_HEADER_NAME_MAX &&
            source->headers[i].value.length <= EVENT_HEADER_VALUE_MAX &&
            !header_of_dead_letter(source->headers[i].name))
            record.headers[record.header_count++] = source->headers[i];
    const char *trace = record_header(source, HEADER_TRACEPARENT).length == 0 ? traced_parent(batch, work) : NULL;
    if (trace != NULL)
        record.headers[record.header_count++] = (struct header){SPAN(HEADER_TRACEPARENT), span_of(trace)};
    return record;
}

static struct span number_text(struct batch *batch, int64_t number)
{
    return span_of(arena_format(batch->arena, "%lld", (long long)number));
}

static struct span dead_sentence(const struct work *work)
{
    struct span sentence = span_of(work->why == NULL ? "" : work->why);
    if (sentence.length > DEAD_SENTENCE_MAX)
        for (sentence.length = DEAD_SENTENCE_MAX; ((unsigned char)sentence.at[sentence.length] & 0xc0) == 0x80;)
            sentence.length--; /* not in the middle of a character */
    return sentence;
}

void outputs_dead_letter(struct batch *batch, struct work *work)
{
    const struct item *item = work->item;
    if (item->topic == NULL || item->topic->dead_letter == NULL)
        return;
    struct output *output = output_add(batch, work, item->topic->dead_letter);
    struct record kept = source_record(batch, work);
    output->record.key = kept.key;
    output->record.value = kept.value;
    output->record.headers = kept.headers;
    output->record.header_count = kept.header_count;
    output_header(output, HEADER_DLT_TOPIC, item->record.topic);
    char place[96];
    int32_t partition = -1;
    int64_t offset = -1;
    if (work_place(batch, work, place, sizeof place, &partition, &offset)) {
        output_header(output, HEADER_DLT_PARTITION, number_text(batch, partition));
        output_header(output, HEADER_DLT_OFFSET, number_text(batch, offset));
    }
    output_header(output, HEADER_DLT_TIMESTAMP, number_text(batch, item->record.timestamp_ms));
    output_header(output, HEADER_DLT_CODE, span_of(event_dead_word(work->reason)));
    output_header(output, HEADER_DLT_REASON, dead_sentence(work));
    if (item->binding != NULL)
        output_header(output, HEADER_DLT_HANDLER, span_of(item->binding->id));
    if (batch->env->group != NULL)
        output_header(output, HEADER_DLT_GROUP, span_of(batch->env->group->name));
    output_header(output, HEADER_ATTEMPTS, number_text(batch, item->tries + 1));
}

/* ------------------------------------------------------------------------------------------------------------ rows */

/* Of a header that the engine wrote; 0 when there is none, or no such number. */
static int64_t header_number(const struct record *record, const char *name)
{
    int64_t number = 0;
    struct span text = record_header(record, name);
    return text.length > 0 && json_int64(text, &number) == 0 && number > 0 ? number : 0;
}

/* As a column takes it: whoever produced the event wrote it. */
static struct span clean(struct batch *batch, struct span text)
{
    return span_of(text_clean(arena_string(batch->arena, text)));
}

static struct dead_letter_row dead_row(struct batch *batch, const struct work *work)
{
    static const struct overlays nothing = {0};
    const struct item *item = work->item;
    struct record kept = source_record(batch, work);
    char place[96];
    struct buffer packed;
    int64_t round = header_number(&item->record, HEADER_REPLAY_COUNT);
    struct dead_letter_row row = {
        .group = batch->env->numbers->groups[batch->env->group->index],
        .noted = chains_noted(batch, work),
        .attempts = (int32_t)item->tries + 1,
        .round = round > INT32_MAX ? INT32_MAX : (int32_t)round,
        .partition = -1,
        .offset = -1,
        .before = header_number(&item->record, HEADER_REPLAY_LETTER),
        .id = work->event.id,
        .topic = clean(batch, item->record.topic),
        .handler = span_of(item->binding == NULL ? "" : item->binding->id),
        .reason = span_of(event_dead_word(work->reason)),
        .event = clean(batch, work->event.id_text),
        .correlation = clean(batch, output_correlation(batch, work, &nothing)),
        .message = dead_sentence(work),
    };
    (void)work_place(batch, work, place, sizeof place, &row.partition, &row.offset);
    buffer_init(&packed, DEAD_ROWS_MAX);
    record_batch_begin(&packed);
    record_batch_append(&packed, 0, &kept);
    if (packed.failed) { /* kept, never half: its position stays where it is */
        error_set(&batch->error, ENOMEM, "a dead letter of topic %.*s cannot be packed for the database",
                  (int)item->record.topic.length, item->record.topic.at);
        batch->result = STORE_DOWN;
    }
    row.record = arena_span(batch->arena, buffer_view(&packed));
    buffer_free(&packed);
    return row;
}

static bool becomes_row(const struct work *work)
{
    return work_row(work)->output == OUTPUT_DEAD_LETTER && work->item->timed_out == NULL;
}

void dead_letters_record(struct batch *batch)
{
    size_t count = 0;
    if (batch->connection == NULL || !batch->transaction || batch->env->group == NULL)
        return;
    for (size_t i = 0; i < batch->count; i++)
        count += becomes_row(&batch->works[i]);
    if (count == 0)
        return;
    struct dead_letter_row *rows = arena_array(batch->arena, struct dead_letter_row, count);
    count = 0;
    for (size_t i = 0; i < batch->count; i++)
        if (becomes_row(&batch->works[i]))
            rows[count++] = dead_row(batch, &batch->works[i]);
    if (batch->result == STORE_OK)
        batch->result = ledger_dead_letters_add(batch->connection, rows, count, &batch->error);
}
