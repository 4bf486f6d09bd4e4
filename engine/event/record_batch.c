/*
 * record_batch.c - see record_batch.h for the layout. A record is written whole or not at all; reading trusts nothing,
 * as the bytes come out of a database that others can write to.
 */
#include "event/record_batch.h"

#include <endian.h>
#include <errno.h>

enum {
    BATCH_VERSION = 1,
    BATCH_HEAD = 4,
    BATCH_RECORD_MIN = 8 + 1 + 2 + 1 + 4, /* bytes of a record with nothing in it */
    BATCH_HEADER_MIN = 1 + 2,
    BATCH_NONE = 0xffff, /* the length of a key or header value that is not there */
};

void record_batch_begin(struct buffer *out)
{
    buffer_append(out, (const char[BATCH_HEAD]){0, BATCH_VERSION, 0, 0}, BATCH_HEAD);
}

size_t record_size(const struct record *record)
{
    size_t size = BATCH_RECORD_MIN + record->topic.length + record->key.length + record->value.length;
    for (size_t i = 0; i < record->header_count; i++)
        size += BATCH_HEADER_MIN + record->headers[i].name.length + record->headers[i].value.length;
    return size;
}

/* Whether every length fits the field that the layout has for it. */
static bool batch_fits(const struct record *record)
{
    if (record->topic.length > UINT8_MAX || record->key.length >= BATCH_NONE || record->header_count > UINT8_MAX ||
        record->value.length > UINT32_MAX)
        return false;
    for (size_t i = 0; i < record->header_count; i++)
        if (record->headers[i].name.length > UINT8_MAX || record->headers[i].value.length >= BATCH_NONE)
            return false;
    return true;
}

static char *batch_bytes(char *at, struct span bytes)
{
    if (bytes.length > 0)
        memcpy(at, bytes.at, bytes.length);
    return at + bytes.length;
}

static char *batch_u8(char *at, size_t value)
{
    *at = (char)value;
    return at + 1;
}

static char *batch_u16(char *at, size_t value)
{
    uint16_t big = htobe16((uint16_t)value);
    memcpy(at, &big, sizeof big);
    return at + sizeof big;
}

static char *batch_optional(char *at, struct span bytes)
{
    return batch_bytes(batch_u16(at, bytes.at == NULL ? BATCH_NONE : bytes.length), bytes);
}

static char *batch_u32(char *at, size_t value)
{
    uint32_t big = htobe32((uint32_t)value);
    memcpy(at, &big, sizeof big);
    return at + sizeof big;
}

static char *batch_u64(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static size_t batch_count(const char *head)
{
    uint16_t big;
    memcpy(&big, head + 2, sizeof big);
    return be16toh(big);
}

void record_batch_append(struct buffer *out, size_t begin, const struct record *record)
{
    if (out->failed)
        return;
    size_t count = batch_count(out->at + begin), size = record_size(record);
    if (count == RECORD_BATCH_COUNT_MAX || !batch_fits(record)) {
        out->failed = true;
        return;
    }
    char *at = buffer_reserve(out, size);
    if (at == NULL)
        return;

    at = batch_u64(at, (uint64_t)record->timestamp_ms);
    at = batch_bytes(batch_u8(at, record->topic.length), record->topic);
    at = batch_optional(at, record->key);
    at = batch_u8(at, record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        at = batch_bytes(batch_u8(at, record->headers[i].name.length), record->headers[i].name);
        at = batch_optional(at, record->headers[i].value);
    }
    batch_bytes(batch_u32(at, record->value.length), record->value);
    out->length += size;
    batch_u16(out->at + begin + 2, count + 1);
}

/* ---------------------------------------------------------------- reading */

struct batch_reader {
    const char *at, *end;
    bool torn; /* something was to be read that is not there */
};

/* A big-endian number of `size` bytes; 0 when torn. */
static uint64_t batch_read(struct batch_reader *reader, size_t size)
{
    uint64_t value = 0;
    if ((size_t)(reader->end - reader->at) < size) {
        reader->torn = true;
        reader->at = reader->end;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (unsigned char)reader->at[i];
    reader->at += size;
    return value;
}

static struct span batch_read_span(struct batch_reader *reader, uint64_t length)
{
    if ((uint64_t)(reader->end - reader->at) < length) {
        reader->torn = true;
        reader->at = reader->end;
        return (struct span){NULL, 0};
    }
    struct span bytes = {reader->at, (size_t)length};
    reader->at += length;
    return bytes;
}

static struct span batch_read_optional(struct batch_reader *reader)
{
    uint64_t length = batch_read(reader, 2);
    return length == BATCH_NONE ? (struct span){NULL, 0} : batch_read_span(reader, length);
}

static void batch_read_record(struct batch_reader *reader, struct arena *arena, struct record *record)
{
    *record = (struct record){0};
    record->timestamp_ms = (int64_t)batch_read(reader, 8);
    record->topic = batch_read_span(reader, batch_read(reader, 1));
    record->key = batch_read_optional(reader);

    size_t header_count = (size_t)batch_read(reader, 1);
    if (header_count * BATCH_HEADER_MIN > (size_t)(reader->end - reader->at)) {
        reader->torn = true;
        return;
    }
    if (header_count > 0)
        record->headers = arena_alloc_raw(arena, header_count * sizeof *record->headers);
    record->header_count = header_count;
    for (size_t i = 0; i < header_count; i++) {
        record->headers[i].name = batch_read_span(reader, batch_read(reader, 1));
        record->headers[i].value = batch_read_optional(reader);
    }
    record->value = batch_read_span(reader, batch_read(reader, 4));
}

int record_batch_read(struct span bytes, struct arena *arena, struct record **ret, size_t *ret_count,
                      struct error *error)
{
    const char *at = bytes.at != NULL ? bytes.at : "";
    struct batch_reader reader = {at, at + bytes.length, false};
    uint64_t version = batch_read(&reader, 2), count = batch_read(&reader, 2);
    if (reader.torn || version != BATCH_VERSION)
        return error_set(error, EBADMSG, "%zu bytes are not a batch of records: version 1 was expected at their head",
                         bytes.length);
    /* Checked before memory is taken: a few bytes must not ask for megabytes. */
    if (count * BATCH_RECORD_MIN > (uint64_t)(reader.end - reader.at))
        return error_set(error, EBADMSG, "a batch of records is torn: %zu bytes cannot hold %zu records", bytes.length,
                         (size_t)count);

    struct record *records = arena_alloc_raw(arena, (size_t)count * sizeof *records);
    for (size_t i = 0; i < count; i++) {
        batch_read_record(&reader, arena, &records[i]);
        if (reader.torn)
            return error_set(error, EBADMSG, "a batch of records is torn: record %zu of %zu goes beyond its %zu bytes",
                             i + 1, (size_t)count, bytes.length);
    }
    if (reader.at != reader.end)
        return error_set(error, EBADMSG, "a batch of records has %zu bytes too much behind its last record",
                         (size_t)(reader.end - reader.at));
    *ret = records;
    *ret_count = (size_t)count;
    return 0;
}
