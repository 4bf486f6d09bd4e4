/*
 * fake_held.c - held keys and their events in memory.
 */
#include "fake_ledger.h"

#include "base/clock.h"
#include "check.h"

static struct fake_held_key *held_key_find(struct fake_tables *tables, int16_t group, struct span stream,
                                           int64_t key_hash)
{
    for (size_t i = 0; i < tables->held_key_count; i++) {
        const struct held_key *key = &tables->held_keys[i].key;
        if (tables->held_keys[i].group == group && key->key_hash == key_hash && span_equal(key->stream, stream))
            return &tables->held_keys[i];
    }
    return NULL;
}

enum store_result ledger_hold(struct connection *connection, int64_t member, int16_t group, const struct held_key *keys,
                              size_t key_count, const struct held_event *rows, size_t count, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    enum store_result result = fake_executed(connection, "hold", count, error);
    if (result == STORE_OK && connection->fenced && member != 0) {
        connection->failed = true;
        error_set(error, ESTALE, "member %lld is removed", (long long)member);
        return STORE_FENCED;
    }
    for (size_t i = 0; result == STORE_OK && i < key_count; i++) {
        struct fake_held_key *key = held_key_find(tables, group, keys[i].stream, keys[i].key_hash);
        if (key == NULL) {
            FAKE_ADD(tables->held_keys, tables->held_key_count, (struct fake_held_key){.group = group, .key = keys[i]});
            key = &tables->held_keys[tables->held_key_count - 1];
            key->key.stream = fake_kept(connection, keys[i].stream);
        } else {
            key->key.events += keys[i].events;
        }
        if (keys[i].wait_ms != 0)
            key->due_ms = clock_wall_ms() + keys[i].wait_ms;
        if (keys[i].paused.at != NULL)
            key->due_ms = 0;
        if (keys[i].wait_ms != 0 || keys[i].paused.at != NULL)
            key->key.paused = keys[i].paused.at == NULL ? keys[i].paused : fake_kept(connection, keys[i].paused);
        key->key.reason = fake_kept(connection, keys[i].reason);
    }
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        struct fake_held made = {
            .group = group, .id = connection->next_row++, .at_ms = clock_wall_ms(), .row = rows[i]};
        assert_non_null(held_key_find(tables, group, rows[i].stream, rows[i].key_hash));
        made.row.stream = fake_kept(connection, made.row.stream);
        made.row.record = fake_kept(connection, made.row.record);
        FAKE_ADD(tables->held, tables->held_count, made);
    }
    return result;
}

enum store_result ledger_held_ended(struct connection *connection, int16_t group, const int64_t *key_hashes,
                                    const int64_t *ids, size_t count, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    if (count == 0)
        return STORE_OK;
    fake_queued(connection, "held_ended", count);
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; r < tables->held_count; r++) {
            if (tables->held[r].id != ids[i] || tables->held[r].row.key_hash != key_hashes[i])
                continue;
            struct fake_held_key *key = held_key_find(tables, group, tables->held[r].row.stream, key_hashes[i]);
            key->key.events--;
            key->due_ms = 0;
            key->key.paused = (struct span){0};
            tables->held_count--;
            memmove(&tables->held[r], &tables->held[r + 1], (tables->held_count - r) * sizeof tables->held[r]);
            break;
        }
    return STORE_OK;
}

static bool held_here(struct span stream, const struct span *streams, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_equal(stream, streams[i]))
            return true;
    return false;
}

static int place_compare(const struct held_key *a, const struct held_key *b)
{
    size_t length = a->stream.length < b->stream.length ? a->stream.length : b->stream.length;
    int order = length == 0 ? 0 : memcmp(a->stream.at, b->stream.at, length);
    if (order == 0 && a->stream.length != b->stream.length)
        order = a->stream.length < b->stream.length ? -1 : 1;
    return order != 0 ? order : a->key_hash < b->key_hash ? -1 : a->key_hash > b->key_hash;
}

/* The last row of a page behind that place; NULL: it has not so many. */
static const struct held_key *page_end(const struct fake_tables *tables, int16_t group, const struct held_key *from,
                                       int32_t most)
{
    const struct held_key *end = NULL;
    for (int32_t taken = 0; taken < most; taken++) {
        const struct held_key *next = NULL;
        for (size_t i = 0; i < tables->held_key_count; i++) {
            const struct held_key *key = &tables->held_keys[i].key;
            if (tables->held_keys[i].group == group && place_compare(key, from) > 0 &&
                (next == NULL || place_compare(key, next) < 0))
                next = key;
        }
        if (next == NULL)
            return NULL;
        from = end = next;
    }
    return end;
}

static const struct fake_held *head_of(const struct fake_tables *tables, const struct held_key *key)
{
    for (size_t i = 0; i < tables->held_count; i++)
        if (tables->held[i].row.key_hash == key->key_hash)
            return &tables->held[i];
    return NULL;
}

enum store_result ledger_held_keys(struct connection *connection, int16_t group, const struct span *streams,
                                   size_t stream_count, const struct span *paused, size_t paused_count,
                                   const struct held_key *from, int32_t most, struct rows **ret, struct error *error)
{
    enum { COLUMNS = 6 };
    static const enum param_type types[COLUMNS] = {PARAM_INT8, PARAM_INT8, PARAM_TEXT,
                                                   PARAM_TEXT, PARAM_INT8, PARAM_TEXT};
    const struct fake_tables *tables = &connection->tables;
    struct fake_cell cells[COLUMNS * (FAKE_TABLE_MAX + 1)];
    size_t found = 0;
    enum store_result result = fake_alone(connection, "held_keys", error);
    connection->page_asked = most > connection->page_asked ? most : connection->page_asked;
    const struct held_key *end = page_end(tables, group, from,
                                          connection->page_most > 0 ? connection->page_most : most);
    for (size_t i = 0; result == STORE_OK && i < tables->held_key_count; i++) {
        const struct held_key *key = &tables->held_keys[i].key;
        bool waits = key->paused.at != NULL;
        if (tables->held_keys[i].group != group || !held_here(key->stream, streams, stream_count) ||
            place_compare(key, from) <= 0 || (end != NULL && place_compare(key, end) > 0) ||
            (waits && held_here(key->paused, paused, paused_count)))
            continue;
        int64_t due_ms = tables->held_keys[i].due_ms;
        const struct fake_held *head = head_of(tables, key);
        if (head != NULL && head->ready)
            due_ms = 0;
        cells[COLUMNS * found + 5] = (struct fake_cell){.null = head == NULL || !head->waits,
                                                        .text = head == NULL ? (struct span){0} : head->rule};
        cells[COLUMNS * found] = (struct fake_cell){.number = key->key_hash};
        cells[COLUMNS * found + 1] = (struct fake_cell){.null = due_ms == 0, .number = due_ms - clock_wall_ms()};
        cells[COLUMNS * found++ + 2] = (struct fake_cell){.null = !waits, .text = key->paused};
    }
    if (found == 0)
        cells[0] = cells[1] = cells[2] = cells[5] = (struct fake_cell){.null = true};
    found += found == 0;
    for (size_t i = 0; i < found; i++) {
        cells[COLUMNS * i + 3] = (struct fake_cell){.null = end == NULL,
                                                    .text = end == NULL ? (struct span){0} : end->stream};
        cells[COLUMNS * i + 4] = (struct fake_cell){.null = end == NULL, .number = end == NULL ? 0 : end->key_hash};
    }
    *ret = fake_rows(connection, COLUMNS, types, found, cells);
    return result;
}

/* Those whose time has come, as an operator may have set it. */
enum store_result ledger_held_due(struct connection *connection, int16_t group, const struct span *streams,
                                  size_t stream_count, int32_t limit, struct rows **ret, struct error *error)
{
    static const enum param_type types[] = {PARAM_INT8};
    const struct fake_tables *tables = &connection->tables;
    struct fake_cell cells[FAKE_TABLE_MAX];
    size_t found = 0;
    enum store_result result = fake_alone(connection, "held_due", error);
    for (size_t i = 0; result == STORE_OK && i < tables->held_key_count && found < (size_t)limit; i++)
        if (tables->held_keys[i].group == group && tables->held_keys[i].due_ms <= clock_wall_ms() &&
            tables->held_keys[i].key.paused.at == NULL &&
            held_here(tables->held_keys[i].key.stream, streams, stream_count))
            cells[found++] = (struct fake_cell){.number = tables->held_keys[i].key.key_hash};
    *ret = fake_rows(connection, 1, types, found, cells);
    return result;
}

/* Keys without events are deleted. */
static void held_tidy(struct fake_tables *tables)
{
    for (size_t i = 0; i < tables->held_key_count;)
        if (tables->held_keys[i].key.events == 0)
            tables->held_keys[i] = tables->held_keys[--tables->held_key_count];
        else
            i++;
}

enum store_result ledger_held_fetch(struct connection *connection, int16_t group, const struct span *streams,
                                    size_t stream_count, const int64_t *key_hashes, const int32_t *limits, size_t count,
                                    int64_t bytes, struct rows **ret, struct error *error)
{
    enum { COLUMNS = 12 };
    static const enum param_type types[COLUMNS] = {PARAM_INT8, PARAM_INT8,  PARAM_INT4, PARAM_INT8,
                                                   PARAM_TEXT, PARAM_BYTEA, PARAM_INT4, PARAM_INT8,
                                                   PARAM_TEXT, PARAM_INT8,  PARAM_BOOL, PARAM_BOOL};
    struct fake_tables *tables = &connection->tables;
    struct fake_cell cells[COLUMNS * FAKE_TABLE_MAX];
    size_t found = 0;
    (void)bytes;
    enum store_result result = fake_alone(connection, "held_fetch", error);
    for (size_t k = 0; result == STORE_OK && k < count; k++) {
        int32_t left = limits[k];
        for (size_t i = 0; i < tables->held_count && left > 0; i++) {
            const struct held_event *row = &tables->held[i].row;
            if (tables->held[i].group != group || row->key_hash != key_hashes[k] ||
                !held_here(row->stream, streams, stream_count))
                continue;
            const struct attempt *attempt = fake_attempt(tables,
                                                         &(struct attempt){.handler = row->handler, .id = row->id});
            struct fake_cell *cell = &cells[COLUMNS * found++];
            cell[0] = (struct fake_cell){.number = row->key_hash};
            cell[1] = (struct fake_cell){.number = tables->held[i].id};
            cell[2] = (struct fake_cell){.number = row->partition};
            cell[3] = (struct fake_cell){.number = row->offset};
            cell[4] = (struct fake_cell){.text = row->stream};
            cell[5] = (struct fake_cell){.text = row->record};
            cell[6] = (struct fake_cell){.number = attempt == NULL ? 0 : attempt->attempts};
            cell[7] = (struct fake_cell){.null = true};
            cell[8] = (struct fake_cell){.text = {"", 0}}; /* nobody cancelled it */
            cell[9] = (struct fake_cell){.number = clock_wall_ms() - tables->held[i].at_ms};
            cell[10] = (struct fake_cell){.number = tables->held[i].ready};
            cell[11] = (struct fake_cell){.number = tables->held[i].waits};
            left--;
        }
    }
    held_tidy(tables);
    *ret = fake_rows(connection, COLUMNS, types, found, cells);
    return result;
}

enum store_result ledger_dead_letters_add(struct connection *connection, const struct dead_letter_row *rows,
                                          size_t count, struct error *error)
{
    (void)connection, (void)rows, (void)count, (void)error;
    return STORE_OK;
}

enum store_result ledger_dead_letters_again(struct connection *connection, int16_t group, const struct claim *claims,
                                            size_t count, struct error *error)
{
    (void)connection, (void)group, (void)claims, (void)count, (void)error;
    return STORE_OK;
}
