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
    item->timer = (int16_t)rows_int64(rows, row, 5);
    item->timer_id = rows_uuid(rows, row, 1);
    item->timer_record = rows_span(rows, row, 2);
    if (item->timer != 0)
        item->binding = NULL;        /* it is emitted, and then handled like any other on its topic */
    if (item_own_headers(item) != 0) /* they were read into this thread's arena */
        return false;
    atomic_fetch_add(&engine->parked_in_flight, 1);
    mailbox_push(&group->workers[lane_of_key(item->entry.key_hash, group->worker_count)]->mailbox, &item->entry,
                 &item->entry.next);
    return true;
}

static void push_all(struct engine *engine, struct connection *connection, struct rows *rows, struct arena *arena)
{
    size_t count = rows_count(rows), kept = 0;
    if (count == 0)
        return;
    rows = rows_detach(connection, rows);
    struct item_block *block = item_block_create(count, rows);
    for (size_t i = 0; block != NULL && i < count; i++)
        kept += parked_push(engine, rows, i, &item_block_items(block)[i], arena);
    if (block == NULL)
        rows_free(rows);
    else if (kept < count)
        item_block_release(block, count - kept);
    arena_reset(arena);
}

/* The topics that a group here handles, by the names that events may have. */
static size_t handled_topics(const struct engine *engine, const struct group *group, struct arena *arena,
                             struct span **ret)
{
    const struct pipeline *config = engine->config;
    size_t count = 0;
    *ret = arena_array(arena, struct span, config->topic_count + config->answer_count + 1);
    for (size_t i = 0; i < config->topic_count; i++)
        if (group->tap != NULL ? tap_sees(group->tap, config->topics[i]) : config->topics[i]->binding != NULL)
            (*ret)[count++] = span_of(config->topics[i]->name);
    for (size_t i = 0; i < config->answer_count; i++) {
        const struct topic *topic = config->answers[i].new_name == NULL
                                        ? NULL
                                        : pipeline_topic(config, config->answers[i].new_name);
        if (topic != NULL && (group->tap != NULL ? tap_sees(group->tap, topic) : topic->binding != NULL))
            (*ret)[count++] = span_of(config->answers[i].old);
    }
    return count;
}

void parked_adopt(struct engine *engine, struct connection *connection, struct arena *arena)
{
    for (size_t i = 0; i < engine->group_count && atomic_load(&engine->parked_in_flight) < PARKED_IN_FLIGHT_MAX; i++) {
        const struct group *group = engine->groups[i].config;
        struct span *topics = NULL;
        struct rows *rows = NULL;
        size_t count = group->retired != NULL ? 0 : handled_topics(engine, group, arena, &topics);
        if (count > 0 && ledger_parked_adopt(connection, engine->incarnation, engine->numbers.groups[group->index],
                                             topics, count, PARKED_HOLD_MS, PARKED_LIMIT, &rows, NULL) == STORE_OK)
            push_all(engine, connection, rows, arena);
        arena_reset(arena);
    }
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
    push_all(engine, connection, rows, arena);
    if (next != INT64_MAX)
        timer_advance(&engine->parked_timer, next);
}
