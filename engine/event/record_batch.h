/*
 * record_batch.h - many records as one run of bytes: what the postgres bus stores in a row and the outbox keeps.
 *
 * Layout, all integers big-endian: u16 version (1), u16 count, then for each record: i64 timestamp_ms, u8 topic
 * length, topic, u16 key length (0xffff: none), key, u8 header count, each u8 length + name and u16 length (0xffff:
 * none) + value, u32 value length, value.
 */
#ifndef SLUICE_EVENT_RECORD_BATCH_H
#define SLUICE_EVENT_RECORD_BATCH_H

#include "event/event.h"

enum { RECORD_BATCH_COUNT_MAX = 65535 };

void record_batch_begin(struct buffer *out); /* appends the four bytes of the head */
/* begin: out->length before begin */
void record_batch_append(struct buffer *out, size_t begin, const struct record *record);
size_t record_size(const struct record *record); /* bytes that record_batch_append will add */
/* Reads all records; spans point into `bytes`. -EBADMSG when the bytes are not a batch (never reads past them). */
int record_batch_read(struct span bytes, struct arena *arena, struct record **ret, size_t *ret_count,
                      struct error *error);

#endif
