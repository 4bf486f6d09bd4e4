/*
 * parked.c - see parked.h.
 */
#include "run/parked.h"

#include "base/clock.h"
#include "base/log.h"
#include "event/record_batch.h"
#include "run/state.h"
#include "store/ledger.h"

enum {
    PARKED_HOLD_MS = 30000, /* an event taken by a process that died comes again after this */
    PARKED_LIMIT = 1000,
    PARKED_IN_FLIGHT_MAX = 4000,
    PARKED_FULL_MS = 200,
    PARKED_AGAIN_MS = 1000, /* when the database did not answer */
};

static struct group_run *group_of_number(struct engine *engine, int16_t number)
{
    for (size_t i = 0; i < engine->group_count; i++)
        if (engine->numbers.groups[engine->groups[i].config->index] == number)
            return &engine->groups[i];
    return NULL;
}

/* One row as an item of its lane. False: it cannot be, and stays parked. */
static bool parked_push(struct engine *engine, struct rows *rows, size_t row, struct item *item, struct arena *arena)
{
    struct group_run *group = group_of_number(engine, (int16_t)rows_int64(rows, row, 0));
    struct record *records = NULL;
    size_t count = 0;
    struct error error = {0};

    if (group == NULL || record_batch_read(rows_span(rows, row, 2), arena, &records, &count, &error) != 0 ||
        count != 1) {
        log_rarely(10000, LOG_ERROR, "keeper", "a parked event cannot be read: %s; it stays parked", error.text);
        return false;
    }
    const struct record *record = &records[0];
    uint64_t key_hash = span_hash(record->key.at != NULL ? record->key : record->value);
    item_of_record(item, ITEM_PARKED, record, key_hash, map_get(engine->topics, record->topic), group->config);
    if (item->topic != NULL)
        item_rename(item);
    item->tries = (uint32_t)rows_int64(rows, row, 3);
    item_cancel(item, rows_span(rows, row, 4));
    if (item_own_headers(item) != 0) /* they were read into this thread's arena */
        return false;
    atomic_fetch_add(&engine->parked_in_flight, 1);
    mailbox_push(&group->workers[lane_of_key(key_hash, group->worker_count)]->mailbox, &item->entry, &item->entry.next);
    return true;
}

void parked_take(struct engine *engine, struct connection *connection, struct arena *arena)
{
    int64_t next = INT64_MAX;
    struct rows *rows = NULL;
    struct error error = {0};

    if (!timer_due(&engine->parked_timer))
        return;
    if (atomic_load(&engine->parked_in_flight) >= PARKED_IN_FLIGHT_MAX) {
        timer_advance(&engine->parked_timer, clock_wall_ms() + PARKED_FULL_MS); /* what was taken has to end first */
        return;
    }
    enum store_result result = ledger_parked_take(connection, engine->incarnation, engine->numbers.groups,
                                                  engine->config->group_count, PARKED_HOLD_MS, PARKED_LIMIT, &rows,
                                                  &next, &error);
    if (result != STORE_OK) {
        timer_advance(&engine->parked_timer, clock_wall_ms() + PARKED_AGAIN_MS);
        return;
    }
    size_t count = rows_count(rows), kept = 0;
    if (count > 0) {
        rows = rows_detach(connection, rows);
        struct item_block *block = item_block_create(count, rows);
        for (size_t i = 0; block != NULL && i < count; i++)
            kept += parked_push(engine, rows, i, &item_block_items(block)[i], arena);
        if (block == NULL)
            rows_free(rows);
        else if (kept < count)
            item_block_release(block, count - kept);
    }
    arena_reset(arena);
    if (next != INT64_MAX)
        timer_advance(&engine->parked_timer, next);
}
