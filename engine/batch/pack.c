/*
 * pack.c - a record as the database keeps it while it waits.
 */
#include "batch/batch.h"

#include "event/record_batch.h"

#include <errno.h>

enum {
    RECORD_PARKED_MAX = 64 * 1024 * 1024, /* bytes; engine.max_event_size is 16 MiB at most */
};

struct span batch_pack(struct batch *batch, const struct record *record)
{
    struct buffer packed;
    buffer_init(&packed, RECORD_PARKED_MAX);
    record_batch_begin(&packed);
    record_batch_append(&packed, 0, record);
    if (packed.failed) { /* kept, never half: its position stays where it is */
        error_set(&batch->error, ENOMEM, "an event on %.*s cannot be packed to wait in the database",
                  (int)record->topic.length, record->topic.at);
        batch->result = STORE_DOWN;
    }
    struct span ret = arena_span(batch->arena, buffer_view(&packed));
    buffer_free(&packed);
    return ret;
}
