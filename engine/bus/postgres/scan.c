/*
 * scan.c - reading the whole log in no group, in the order of transaction numbers, for people and tools.
 *
 * Each round takes the horizon first and then reads everything below it in steps; a step reads some rows of each
 * partition and hands out those that no partition can still have older ones of. Following goes on with the next
 * horizon. Who does not follow gets what is committed beyond the horizon in a last round: older rows may appear later.
 */
#include "bus/postgres/postgres.h"

#include "base/clock.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static const char *const scan_settings =
    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set jit = off;"
    " set sluice.bus_reader = 'scan'";
static const struct statement statement_horizon = {
    .text = "select sluice.bus_horizon(pg_current_snapshot(), sluice.bus_strangers(pg_current_snapshot())),"
            " coalesce(current_setting('sluice.bus_reader', true), '') <> ''"};
static const struct statement statement_scan = {
    .text =
        "select c.partition, r.xid, r.id, r.payload"
        " from unnest($1::int4[], $2::xid8[], $3::int8[]) c (partition, xid, id)"
        " cross join lateral ("
        "  select b.xid, b.id, b.payload from sluice.bus_log b"
        "  where b.partition = c.partition and b.xid >= $4::xid8 and (b.xid, b.id) > (c.xid, c.id) and b.xid < $5::xid8"
        "   and ($6::bytea is null or position($6::bytea in b.payload) > 0)"
        "  order by b.xid, b.id limit $7::int8) r"};

enum { SCAN_ROWS = 32, SCAN_FOLLOW_MS = 100, SCAN_STATEMENT_MS = 60000 };

struct scan {
    const struct bus_scan *wanted;
    struct connection *connection;
    uint32_t partitions;
    int32_t *numbers;
    int64_t *xids, *ids; /* cursors */
    /* The last rows handed out: where a new session goes on, see bus_heartbeat() in SQL. */
    int64_t *row_xids, *row_ids;
    struct arena *arena;
};

struct scan_row {
    int64_t xid, id;
    int32_t partition;
    size_t row;
};

static int scan_compare(const void *left, const void *right)
{
    const struct scan_row *a = left, *b = right;
    if (a->xid != b->xid)
        return a->xid < b->xid ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int statement_ms(const struct scan *scan)
{
    int64_t left_ms = SCAN_STATEMENT_MS;
    if (scan->wanted->deadline_ms != 0)
        left_ms = scan->wanted->deadline_ms - clock_monotonic_ms();
    return left_ms < 1 ? 1 : left_ms > SCAN_STATEMENT_MS ? SCAN_STATEMENT_MS : (int)left_ms;
}

/* Hands out the records of one row. 1: stop. */
static int scan_deliver(struct scan *scan, const struct rows *rows, const struct scan_row *at, struct error *error)
{
    const struct span contains = scan->wanted->contains;
    struct record *records;
    size_t count;
    arena_reset(scan->arena);
    int result = record_batch_read(rows_span(rows, at->row, 3), scan->arena, &records, &count, error);
    if (result < 0) {
        error_prefix(error, "row (%lld, %lld) of sluice.bus_log is damaged", (long long)at->xid, (long long)at->id);
        return result;
    }
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &records[i];
        if (!topics_match(scan->wanted->topics, scan->wanted->topic_count, record->topic))
            continue;
        if (contains.length > 0 &&
            (record->value.length < contains.length ||
             memmem(record->value.at, record->value.length, contains.at, contains.length) == NULL))
            continue;
        struct position position = {(uint64_t)at->xid, (uint64_t)at->id << INDEX_BITS | i};
        if (!scan->wanted->each(record, at->partition, position, scan->wanted->context))
            return 1;
    }
    return 0;
}

/* The rows of one step, in order, up to the first that another partition could still come before. 1: stop. */
static int scan_rows(struct scan *scan, const struct rows *rows, bool *ret_more, struct error *error)
{
    size_t count = rows_count(rows);
    struct scan_row *sorted = calloc(count + 1, sizeof *sorted);
    size_t *seen = calloc(scan->partitions, sizeof *seen);
    if (sorted == NULL || seen == NULL) {
        free(sorted);
        free(seen);
        return error_set(error, ENOMEM, "out of memory while reading the log");
    }
    struct scan_row bound = {.xid = INT64_MAX, .id = INT64_MAX};
    for (size_t i = 0; i < count; i++) {
        sorted[i] = (struct scan_row){rows_int64(rows, i, 1), rows_int64(rows, i, 2), (int32_t)rows_int64(rows, i, 0),
                                      i};
        if (++seen[sorted[i].partition] == SCAN_ROWS && scan_compare(&sorted[i], &bound) < 0)
            bound = sorted[i];
    }
    *ret_more = bound.xid != INT64_MAX;
    qsort(sorted, count, sizeof *sorted, scan_compare);
    int result = 0;
    for (size_t i = 0; i < count && result == 0 && scan_compare(&sorted[i], &bound) <= 0; i++) {
        scan->row_xids[sorted[i].partition] = scan->xids[sorted[i].partition] = sorted[i].xid;
        scan->row_ids[sorted[i].partition] = scan->ids[sorted[i].partition] = sorted[i].id;
        result = scan_deliver(scan, rows, &sorted[i], error);
    }
    free(sorted);
    free(seen);
    return result;
}

/* The horizon, and whether the cursors were made in this session; if not, they go back to what was handed out, and are
 * of this session from now on. */
static enum store_result scan_horizon(struct scan *scan, int64_t *ret, bool *ret_same_session, struct error *error)
{
    struct rows *rows;
    enum store_result result = connection_once(scan->connection, &statement_horizon, 0, NULL, statement_ms(scan), &rows,
                                               error);
    if (result != STORE_OK)
        return result;
    *ret = rows_int64(rows, 0, 0);
    *ret_same_session = rows_int64(rows, 0, 1) != 0;
    if (*ret_same_session)
        return STORE_OK;
    memcpy(scan->xids, scan->row_xids, scan->partitions * sizeof *scan->xids);
    memcpy(scan->ids, scan->row_ids, scan->partitions * sizeof *scan->ids);
    return connection_script(scan->connection, scan_settings, statement_ms(scan), error);
}

/* Reads what is below the horizon now, or what is committed `beyond` it. STORE_OK with *ret 0, 1 (stop) or negative; or
 * the result of a statement that failed. */
static enum store_result scan_round(struct scan *scan, bool beyond, int *ret, struct error *error)
{
    struct rows *rows;
    int64_t horizon, limit = SCAN_ROWS, ignored;
    bool same_session;
    enum store_result result = scan_horizon(scan, &horizon, &same_session, error);
    if (result != STORE_OK)
        return result;
    horizon = beyond ? INT64_MAX : horizon;
    for (bool more = true; more && *ret == 0 && !scan_stopped(scan->wanted);) {
        int64_t lowest = INT64_MAX;
        for (uint32_t p = 0; p < scan->partitions; p++)
            lowest = scan->xids[p] < lowest ? scan->xids[p] : lowest;
        struct span contains = scan->wanted->contains.length > 0 ? scan->wanted->contains : (struct span){0};
        struct store_param params[] = {
            STORE_ARRAY(PARAM_INT4, scan->numbers, scan->partitions),
            STORE_ARRAY(PARAM_XID8, scan->xids, scan->partitions),
            STORE_ARRAY(PARAM_INT8, scan->ids, scan->partitions),
            STORE_VALUE(PARAM_XID8, &lowest),
            STORE_VALUE(PARAM_XID8, &horizon),
            STORE_VALUE(PARAM_BYTEA, &contains),
            STORE_VALUE(PARAM_INT8, &limit),
        };
        result = connection_once(scan->connection, &statement_scan, 7, params, statement_ms(scan), &rows, error);
        if (result != STORE_OK)
            return result;
        rows = rows_detach(scan->connection, rows); /* each() may take long, and may call the bus */
        *ret = scan_rows(scan, rows, &more, error);
        rows_free(rows);
    }
    result = *ret == 0 ? scan_horizon(scan, &ignored, &same_session, error) : STORE_OK;
    for (uint32_t p = 0; *ret == 0 && result == STORE_OK && same_session && p < scan->partitions; p++) {
        scan->xids[p] = horizon - 1;
        scan->ids[p] = INT64_MAX;
    }
    return result;
}

static void scan_free(struct scan *scan)
{
    connection_destroy(scan->connection);
    arena_destroy(scan->arena);
    free(scan->numbers);
    free(scan->xids);
    free(scan->ids);
    free(scan->row_xids);
    free(scan->row_ids);
}

int postgres_scan(struct bus *head, const struct bus_scan *wanted, struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    int code = postgres_verify(bus, error);
    if (code != 0)
        return code;
    const bool follow = wanted->follow;
    struct scan scan = {.wanted = wanted,
                        .connection = connection_create(bus->store, "scan"),
                        .partitions = bus->partition_count,
                        .numbers = calloc(bus->partition_count, sizeof(int32_t)),
                        .xids = calloc(bus->partition_count, sizeof(int64_t)),
                        .ids = calloc(bus->partition_count, sizeof(int64_t)),
                        .row_xids = calloc(bus->partition_count, sizeof(int64_t)),
                        .row_ids = calloc(bus->partition_count, sizeof(int64_t)),
                        .arena = arena_create(64 * 1024, (size_t)1 << 30)};
    int result = 0;
    if (scan.connection == NULL || scan.numbers == NULL || scan.xids == NULL || scan.ids == NULL ||
        scan.row_xids == NULL || scan.row_ids == NULL || scan.arena == NULL)
        result = error_set(error, ENOMEM, "out of memory while reading the log");
    for (uint32_t p = 0; result == 0 && p < scan.partitions; p++)
        scan.numbers[p] = (int32_t)p;
    while (result == 0 && !scan_stopped(wanted)) {
        enum store_result store = scan_round(&scan, false, &result, error);
        if (store == STORE_OK && result == 0 && !follow)
            store = scan_round(&scan, true, &result, error);
        bool outage = store == STORE_DOWN || store == STORE_TRANSIENT || store == STORE_UNKNOWN;
        if (store != STORE_OK && !(follow && outage)) {
            error_prefix(error, "cannot read the log of the bus");
            result = outage ? -EAGAIN : -EPROTO;
        }
        if (!follow)
            break;
        struct timespec pause = timespec_of_ms(SCAN_FOLLOW_MS);
        if (result == 0)
            nanosleep(&pause, NULL);
    }
    scan_free(&scan);
    return result == 1 ? 0 : result;
}
