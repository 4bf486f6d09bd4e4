/*
 * held.c - store/ledger.h over the fake database: held keys and their events. A key's row is locked until its
 * transaction ends; rows of events are numbered when they are written, and there once that is committed.
 */
#include "sim.h"

#include "event/record_batch.h"

#include <stdlib.h>

static uint32_t key_of(const struct world *world, uint64_t key_hash)
{
    for (uint32_t key = 0; key < world->settings.keys; key++)
        if (world->held_keys[key].key_hash == key_hash)
            return key;
    sim_fail(world, "a key is held that no event has");
}

static bool is_among(struct span stream, const struct span *streams, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(stream, streams[i]))
            return true;
    return false;
}

void held_open(struct world *world)
{
    world->held_keys = calloc(world->settings.keys, sizeof *world->held_keys);
    for (uint32_t key = 0; key < world->settings.keys; key++) {
        struct span name = span_of(arena_format(world->bytes, "k%u", key));
        uint64_t hash = span_hash(name);
        world->held_keys[key] = (struct held_entry){
            .stream = span_of(arena_format(world->bytes, "%u", (uint32_t)(hash % world->settings.streams))),
            .key_hash = hash};
    }
}

bool held_empty(const struct world *world)
{
    for (uint32_t key = 0; key < world->settings.keys; key++)
        if (world->held_keys[key].exists)
            return false;
    return world->held_live == 0;
}

void held_apply(struct world *world, const struct change *change)
{
    if (change->kind == CHANGE_HOLD_KEY) {
        struct held_entry *key = &world->held_keys[change->which];
        key->due_ms = !key->exists || change->value != 0 ? change->value : key->due_ms;
        key->exists = true;
        return;
    }
    struct held_row *row = &world->held_rows[change->which];
    struct held_entry *key = &world->held_keys[key_of(world, row->key_hash)];
    bool lives = change->kind == CHANGE_HOLD;
    if (row->live == lives)
        return;
    row->live = lives;
    key->events += lives ? 1 : -1;
    world->events[row->event].held_rows += lives ? 1 : -1;
    world->held_live += lives ? 1 : -1;
    world->count.held += lives;
    world->events[row->event].was_held = true;
    if (!lives)
        key->due_ms = 0;
}

static uint32_t row_new(struct connection *connection, const struct held_event *held)
{
    struct world *world = connection->world;
    struct record *records;
    size_t count = 0;
    if (record_batch_read(held->record, connection->scratch, &records, &count, NULL) != 0 || count != 1)
        sim_fail(world, "a held event cannot be read back");
    uint32_t event = event_of_record(world, &records[0]);
    const struct record *whole = world->events[event].record;
    if (!span_equal(whole->value, records[0].value) || whole->header_count != records[0].header_count ||
        event_known(world, held->id, "held") != event)
        sim_fail(world, "event %u is held as another one", event);
    world->held_rows = sim_grow(world->held_rows, &world->held_row_size, world->held_row_count,
                                sizeof *world->held_rows);
    world->held_rows[world->held_row_count] = (struct held_row){.stream = arena_span(world->bytes, held->stream),
                                                                .record = arena_span(world->bytes, held->record),
                                                                .key_hash = (uint64_t)held->key_hash,
                                                                .event = event};
    return (uint32_t)world->held_row_count++;
}

enum store_result ledger_hold(struct connection *connection, int64_t member, int16_t group, const struct held_key *keys,
                              size_t key_count, const struct held_event *rows, size_t count, struct error *error)
{
    struct world *world = connection->world;
    (void)group;
    enum store_result result = connection_trip(connection, error);
    if (result != STORE_OK)
        return result;
    if (member != 0 && (world->running->process->fenced || member != world->running->process->member)) {
        world->count.fenced++;
        return connection_fail(connection, STORE_FENCED, error, "a peer has removed this process");
    }
    connection->transaction->member = member;
    for (size_t i = 0; i < key_count; i++) {
        uint32_t key = key_of(world, (uint64_t)keys[i].key_hash);
        if (!span_equal(world->held_keys[key].stream, keys[i].stream))
            sim_fail(world, "a key is held in a stream that is not its own");
        result = connection_lock_key(connection, key, error);
        if (result != STORE_OK)
            return result;
        connection_change(connection, CHANGE_HOLD_KEY, key, keys[i].wait_ms == 0 ? 0 : world->now_ms + keys[i].wait_ms);
    }
    for (size_t i = 0; i < count; i++)
        connection_change(connection, CHANGE_HOLD, row_new(connection, &rows[i]), 0);
    return connection->failed;
}

enum store_result ledger_held_ended(struct connection *connection, int16_t group, const int64_t *key_hashes,
                                    const int64_t *ids, size_t count, struct error *error)
{
    struct world *world = connection->world;
    (void)group;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        struct change change = {.kind = CHANGE_HELD_ENDED, .which = (uint32_t)ids[i] - 1};
        if (world->held_rows[change.which].key_hash != (uint64_t)key_hashes[i])
            sim_fail(world, "row %lld is one of another key", (long long)ids[i]);
        if (world->plant == PLANT_HELD_ROW_ENDS_EARLY)
            held_apply(world, &change);
        else
            connection_change(connection, CHANGE_HELD_ENDED, change.which, 0);
    }
    return connection->failed;
}

/* The first row of the key from *at on that is there and in these streams; NULL: none. */
static const struct held_row *row_next(const struct world *world, uint64_t key_hash, const struct span *streams,
                                       size_t stream_count, size_t *at)
{
    for (; *at < world->held_row_count; (*at)++) {
        const struct held_row *row = &world->held_rows[*at];
        if (row->live && row->key_hash == key_hash && is_among(row->stream, streams, stream_count))
            return &world->held_rows[(*at)++];
    }
    return NULL;
}

enum store_result ledger_held_keys(struct connection *connection, int16_t group, const struct span *streams,
                                   size_t stream_count, const struct span *paused, size_t paused_count,
                                   const struct held_key *from, int32_t most, struct rows **ret, struct error *error)
{
    struct world *world = connection->world;
    (void)group;
    (void)paused, (void)paused_count; /* nobody pauses anything */
    (void)from, (void)most;           /* one page has them all */
    enum store_result result = connection_alone(connection, error);
    if (result != STORE_OK)
        return result;
    *ret = rows_make(connection, world->settings.keys + 1, 6);
    for (uint32_t number = 0; number < world->settings.keys; number++) {
        const struct held_entry *key = &world->held_keys[number];
        if (!key->exists || !is_among(key->stream, streams, stream_count))
            continue;
        size_t at = world->held_oldest;
        const struct held_row *head = row_next(world, key->key_hash, streams, stream_count, &at);
        bool waits = key->due_ms != 0 && head != NULL && world->events[head->event].outcome == NOT_ENDED;
        struct cell *cells = rows_add(*ret);
        cells[0].number = (int64_t)key->key_hash;
        cells[1].number = waits ? key->due_ms - world->now_ms : 0;
        cells[3].null = cells[5].null = true;
    }
    if (rows_count(*ret) == 0) {
        struct cell *cells = rows_add(*ret);
        cells[0].null = cells[3].null = cells[5].null = true;
    }
    return STORE_OK;
}

/* No operator changes the times of keys here. */
enum store_result ledger_held_due(struct connection *connection, int16_t group, const struct span *streams,
                                  size_t stream_count, int32_t limit, struct rows **ret, struct error *error)
{
    (void)group;
    (void)streams;
    (void)stream_count;
    (void)limit;
    (void)ret;
    (void)error;
    sim_fail(connection->world, "the keys that are due are asked for");
    return STORE_DEPLOY;
}

enum store_result ledger_held_fetch(struct connection *connection, int16_t group, const struct span *streams,
                                    size_t stream_count, const int64_t *key_hashes, const int32_t *limits, size_t count,
                                    int64_t bytes, struct rows **ret, struct error *error)
{
    struct world *world = connection->world;
    (void)group;
    (void)bytes;
    enum store_result result = connection_alone(connection, error);
    if (result != STORE_OK)
        return result;
    while (world->held_oldest < world->held_row_count && !world->held_rows[world->held_oldest].live &&
           world->open_transactions == 0 && world->held_live == 0) /* or a row of one of those would be passed */
        world->held_oldest++;
    *ret = rows_make(connection, SIM_BATCH * count, 12);
    for (size_t k = 0; k < count; k++) {
        struct held_entry *key = &world->held_keys[key_of(world, (uint64_t)key_hashes[k])];
        const struct held_row *row;
        int32_t left = limits[k] < SIM_BATCH ? limits[k] : SIM_BATCH;
        for (size_t at = world->held_oldest;
             left > 0 && (row = row_next(world, key->key_hash, streams, stream_count, &at)) != NULL; left--) {
            struct cell *cells = rows_add(*ret);
            cells[0].number = key_hashes[k];
            cells[1].number = (int64_t)at; /* its index + 1 */
            cells[4].span = row->stream;
            cells[5].span = row->record;
            cells[6].number = world->events[row->event].attempts;
        }
        if (key->exists && key->events == 0 && key->locked_by == 0 && is_among(key->stream, streams, stream_count))
            key->exists = false;
    }
    world->progress++;
    return STORE_OK;
}
