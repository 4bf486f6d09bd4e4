/*
 * fuzz_record_batch.c - any bytes read as a batch of records: refused, or written again they are the very same bytes,
 * as the layout has one way to say a thing.
 */
#include "fuzz.h"

#include "event/record_batch.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct span batch = {(const char *)bytes, size};
    struct arena *arena = arena_create(16384, 64 * size + (1 << 20));
    struct record *records;
    size_t count;
    struct error error = {0};
    int result = record_batch_read(batch, arena, &records, &count, &error);

    if (result == 0) {
        struct buffer again;
        buffer_init(&again, size);
        record_batch_begin(&again);
        for (size_t i = 0; i < count; i++)
            record_batch_append(&again, 0, &records[i]);
        must(!again.failed && span_equal(buffer_view(&again), batch));
        buffer_free(&again);
    } else {
        must(result == -EBADMSG && error.code == EBADMSG && error.text[0] != '\0');
    }
    arena_destroy(arena);
    return 0;
}
