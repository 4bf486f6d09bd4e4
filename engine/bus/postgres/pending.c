/*
 * pending.c - records that were read from the log and not yet handed out. See postgres.h.
 */
#include "bus/postgres/postgres.h"

#include <stdlib.h>

bool postgres_pending_push(struct bus_consumer *consumer, const struct bus_record *record)
{
    if (consumer->pending_first + consumer->pending_count == consumer->pending_size) {
        size_t size = consumer->pending_size == 0 ? 1024 : consumer->pending_size * 2;
        struct bus_record *pending = reallocarray(consumer->pending, size, sizeof *pending);
        if (pending == NULL)
            return false;
        consumer->pending = pending;
        consumer->pending_size = size;
    }
    consumer->pending[consumer->pending_first + consumer->pending_count++] = *record;
    return true;
}

void postgres_pending_drop(struct bus_consumer *consumer, uint32_t stream)
{
    size_t kept = consumer->pending_first;
    for (size_t i = 0; i < consumer->pending_count; i++) {
        struct bus_record *record = &consumer->pending[consumer->pending_first + i];
        if (record->stream == stream)
            bus_chunk_release(record->chunk, 1);
        else
            consumer->pending[kept++] = *record;
    }
    consumer->pending_count = kept - consumer->pending_first;
}
