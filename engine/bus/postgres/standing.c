/*
 * standing.c - how far a group is in a topic, where a new one begins, and that one has another name: what a start asks
 * before it reads. See postgres.h.
 *
 * All topics share the log, so a group that has a position has it in every topic. Records are counted by reading what
 * is behind the position; the server leaves out rows in which none of the topics is named.
 */
#include "bus/postgres/postgres.h"

#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

enum { STANDING_STATEMENT_MS = 60000, STANDING_ROWS = 256 };

static const struct statement statement_positions = {
    .text = "select p::int4, coalesce(l.high, 0), coalesce(l.low, 0), (l.consumer_group is not null)::int4"
            " from generate_series(0, $2 - 1) p"
            " left join sluice.bus_lease l on l.consumer_group = $1 and l.partition = p order by p"};
static const struct statement statement_rows = {
    .text = "select b.xid, b.id, b.payload from sluice.bus_log b"
            " where b.partition = $1 and b.xid >= $2::xid8 and (b.xid, b.id) > ($2::xid8, $3::int8)"
            "  and exists (select from unnest($4::bytea[]) t where position(t in b.payload) > 0)"
            " order by b.xid, b.id limit $5::int8"};

struct standing {
    struct connection *connection;
    struct arena *arena;
    struct bus_standing *topics;
    size_t count;
    struct span *names;
    int64_t most;
    size_t open; /* topics of which fewer than `most` were found */
};

static void standing_count(struct standing *standing, struct span topic)
{
    for (size_t i = 0; i < standing->count; i++)
        if (span_equal(standing->names[i], topic)) {
            standing->open -= ++standing->topics[i].unread == standing->most;
            return;
        }
}

/* What is behind `position` in one partition. */
static enum store_result standing_partition(struct standing *standing, int32_t partition, struct position position,
                                            struct error *error)
{
    int64_t xid = (int64_t)position.high, id = postgres_row_before(position), limit = STANDING_ROWS;
    for (size_t rows_read = STANDING_ROWS; rows_read == STANDING_ROWS && standing->open > 0;) {
        const struct store_param params[] = {
            STORE_VALUE(PARAM_INT4, &partition), STORE_VALUE(PARAM_XID8, &xid), STORE_VALUE(PARAM_INT8, &id),
            STORE_ARRAY(PARAM_BYTEA, standing->names, standing->count), STORE_VALUE(PARAM_INT8, &limit)};
        struct rows *rows;
        enum store_result result = connection_once(standing->connection, &statement_rows, 5, params,
                                                   STANDING_STATEMENT_MS, &rows, error);
        if (result != STORE_OK)
            return result;
        rows_read = rows_count(rows);
        for (size_t r = 0; r < rows_read; r++) {
            struct record *records;
            size_t count = 0;
            xid = rows_int64(rows, r, 0);
            id = rows_int64(rows, r, 1);
            if (record_batch_read(rows_span(rows, r, 2), standing->arena, &records, &count, NULL) != 0)
                count = 0; /* its reader will say so */
            for (size_t i = 0; i < count; i++) {
                struct position at = {(uint64_t)xid, (uint64_t)id << INDEX_BITS | i};
                if (position_compare(at, position) > 0)
                    standing_count(standing, records[i].topic);
            }
            arena_reset(standing->arena);
        }
    }
    return STORE_OK;
}

static int standing_code(enum store_result result, struct error *error)
{
    if (result == STORE_OK)
        return 0;
    error_prefix(error, "cannot look up how far groups are in the log of the bus");
    return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
}

int postgres_standing(struct bus *head, const char *group, struct bus_standing *topics, size_t count, int64_t most,
                      struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    int32_t partitions = (int32_t)bus->partition_count;
    struct span name = span_of(group);
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &name), STORE_VALUE(PARAM_INT4, &partitions)};
    struct rows *rows = NULL;
    int code = postgres_verify(bus, error);
    if (code != 0)
        return code;
    struct standing standing = {.connection = connection_create(bus->store, "names"),
                                .arena = arena_create(64 * 1024, (size_t)1 << 30),
                                .topics = topics,
                                .count = count,
                                .names = calloc(count + 1, sizeof *standing.names),
                                .most = most,
                                .open = most > 0 ? count : 0};
    enum store_result result = STORE_DOWN;
    if (standing.connection == NULL || standing.arena == NULL || standing.names == NULL) {
        error_set(error, ENOMEM, "out of memory");
    } else {
        for (size_t i = 0; i < count; i++) {
            topics[i] = (struct bus_standing){.topic = topics[i].topic, .exists = true};
            standing.names[i] = span_of(topics[i].topic);
        }
        result = connection_once(standing.connection, &statement_positions, 2, params, STATEMENT_MS, &rows, error);
    }
    if (result == STORE_OK)
        rows = rows_detach(standing.connection, rows);
    for (size_t p = 0; result == STORE_OK && p < rows_count(rows); p++) {
        struct position position = {(uint64_t)rows_int64(rows, p, 1), (uint64_t)rows_int64(rows, p, 2)};
        for (size_t i = 0; i < count; i++)
            topics[i].known = topics[i].known || rows_int64(rows, p, 3) != 0;
        if (standing.open > 0)
            result = standing_partition(&standing, (int32_t)p, position, error);
    }
    if (rows != NULL && result == STORE_OK)
        rows_free(rows);
    connection_destroy(standing.connection);
    arena_destroy(standing.arena);
    free(standing.names);
    return standing_code(result, error);
}

/* -------------------------------------------------------------------------------------------------------- beginning */

/* For each partition the last row that begins before the time, and all that is complete now. The time of a row is that
 * of its first record: see event/record_batch.h. */
static const struct statement statement_before = {
    .text = "select p::int4, f.xid, f.id, b.xid, b.id, b.payload, pg_snapshot_xmin(pg_current_snapshot())"
            " from generate_series(0, $1 - 1) p"
            " left join lateral (select l.xid, l.id from sluice.bus_log l where l.partition = p"
            "   and ('x' || encode(substring(l.payload from 5 for 8), 'hex'))::bit(64)::int8 >= $2"
            "   order by l.xid, l.id limit 1) f on true"
            " left join lateral (select l.xid, l.id, l.payload from sluice.bus_log l where l.partition = p"
            "   and (f.xid is null or (l.xid, l.id) < (f.xid, f.id)) order by l.xid desc, l.id desc limit 1) b on true"
            " order by p"};
static const struct statement statement_begin = {
    .text = "insert into sluice.bus_lease (consumer_group, partition, high, low)"
            " select $1, u.* from unnest($2::int4[], $3::int8[], $4::int8[]) u on conflict do nothing"};

/* The last record of a row that is older than the time; the row's end when all are. Where even its first is not, which
 * cannot be, the row is read. */
static struct position before_in_row(struct span payload, int64_t xid, int64_t id, int64_t at_ms, struct arena *arena)
{
    struct record *records;
    size_t count = 0, older = 0;
    if (record_batch_read(payload, arena, &records, &count, NULL) != 0)
        count = 0;
    while (older < count && records[older].timestamp_ms < at_ms)
        older++;
    uint64_t low = (uint64_t)id << INDEX_BITS;
    low = older == count ? low | INDEX_LAST : older == 0 ? low - 1 : low | (older - 1);
    return (struct position){(uint64_t)xid, low};
}

static struct position begin_at(const struct rows *rows, size_t row, const struct start *start, struct arena *arena)
{
    struct position newest = {(uint64_t)rows_int64(rows, row, 6) - 1, POSITION_LOW_MAX};
    if (start->from != START_TIME)
        return start->from == START_LATEST ? newest : (struct position){0, 0};
    if (rows_null(rows, row, 3)) /* no row is older: from the first one, or from what comes */
        return (struct position){0, 0};
    return before_in_row(rows_span(rows, row, 5), rows_int64(rows, row, 3), rows_int64(rows, row, 4), start->at_ms,
                         arena);
}

int postgres_begin(struct bus *head, const char *group, const char *const *topics, size_t count,
                   const struct start *start, bool recorded, struct error *error)
{
    (void)topics, (void)count, (void)recorded; /* positions are in the log that all topics share */
    struct postgres_bus *bus = (struct postgres_bus *)head;
    int32_t partition_count = (int32_t)bus->partition_count,
            *partitions = calloc(bus->partition_count, sizeof(int32_t));
    int64_t *highs = calloc(bus->partition_count, sizeof *highs), *lows = calloc(bus->partition_count, sizeof *lows);
    int64_t at_ms = start->from == START_TIME ? start->at_ms : INT64_MIN;
    struct connection *connection = connection_create(bus->store, "names");
    struct arena *arena = arena_create(64 * 1024, (size_t)1 << 30);
    const struct store_param before[] = {STORE_VALUE(PARAM_INT4, &partition_count), STORE_VALUE(PARAM_INT8, &at_ms)};
    struct span name = span_of(group);
    struct rows *rows = NULL;
    enum store_result result = STORE_DOWN;
    if (partitions == NULL || highs == NULL || lows == NULL || connection == NULL || arena == NULL)
        error_set(error, ENOMEM, "out of memory");
    else
        result = connection_once(connection, &statement_before, 2, before, STANDING_STATEMENT_MS, &rows, error);
    size_t found = result == STORE_OK ? rows_count(rows) : 0;
    for (size_t p = 0; p < found; p++) {
        struct position position = begin_at(rows, p, start, arena);
        partitions[p] = (int32_t)p;
        highs[p] = (int64_t)position.high;
        lows[p] = (int64_t)position.low;
    }
    const struct store_param begin[] = {STORE_VALUE(PARAM_TEXT, &name), STORE_ARRAY(PARAM_INT4, partitions, found),
                                        STORE_ARRAY(PARAM_INT8, highs, found), STORE_ARRAY(PARAM_INT8, lows, found)};
    if (result == STORE_OK)
        result = connection_once(connection, &statement_begin, 4, begin, STATEMENT_MS, &rows, error);
    connection_destroy(connection);
    arena_destroy(arena);
    free(partitions);
    free(highs);
    free(lows);
    return standing_code(result, error);
}

/* --------------------------------------------------------------------------------------------------------- renaming */

static const struct statement statement_rename = {.text = "select sluice.bus_rename_group($1, $2)"};

int postgres_rename_group(struct bus *head, const char *old, const char *new_name, struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    struct connection *connection = connection_create(bus->store, "names");
    struct span names[2] = {span_of(old), span_of(new_name)};
    const struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &names[0]), STORE_VALUE(PARAM_TEXT, &names[1])};
    struct rows *rows;
    if (connection == NULL)
        return error_set(error, ENOMEM, "out of memory");
    int code = standing_code(
        connection_once(connection, &statement_rename, 2, params, STANDING_STATEMENT_MS, &rows, error), error);
    if (code == 0 && rows_int64(rows, 0, 0) == 0)
        code = error_set(error, EAGAIN, "group %s is read under its old name by another process, which must stop first",
                         old);
    connection_destroy(connection);
    return code;
}
