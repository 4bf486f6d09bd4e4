/*
 * append.c - writing to the log of the postgres bus: inside a transaction of its caller, or in one of its own. See
 * postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

static const struct statement statement_append = {
    .text = "insert into sluice.bus_log (partition, xid, id, count, payload)"
            " select r.partition, pg_current_xact_id(), nextval('sluice.bus_log_id'), r.count, r.payload"
            " from unnest($1::int4[], $2::int2[], $3::bytea[]) r (partition, count, payload)"};
static const struct statement statement_notify = {.text = "select pg_notify('sluice_bus', '')"};

/* The rows of one append. */
struct append_rows {
    struct buffer bytes;
    size_t count;
    int32_t *partitions;
    int16_t *counts;
    struct span *payloads; /* while building: `at` is unset */
};

static void append_rows_free(struct append_rows *rows)
{
    buffer_free(&rows->bytes);
    free(rows->partitions);
    free(rows->counts);
    free(rows->payloads);
}

/* Packs the records of each partition, in their order, into rows. */
static int append_rows_pack(struct append_rows *rows, const struct record *records, size_t count, uint32_t partitions,
                            struct error *error)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += record_size(&records[i]) + 4;
    *rows = (struct append_rows){0};
    buffer_init(&rows->bytes, bytes);
    rows->partitions = calloc(count, sizeof *rows->partitions);
    rows->counts = calloc(count, sizeof *rows->counts);
    rows->payloads = calloc(count, sizeof *rows->payloads);
    uint32_t *partition_of = calloc(count, sizeof *partition_of);
    if (rows->partitions == NULL || rows->counts == NULL || rows->payloads == NULL || partition_of == NULL ||
        buffer_reserve(&rows->bytes, bytes) == NULL) {
        free(partition_of);
        return error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
    }
    for (size_t i = 0; i < count; i++)
        partition_of[i] = record_partition(&records[i], partitions);
    int64_t now = clock_wall_ms();
    for (uint32_t p = 0; p < partitions; p++) {
        size_t begin = SIZE_MAX;
        for (size_t i = 0; i < count; i++) {
            if (partition_of[i] != p)
                continue;
            struct record record = records[i];
            if (record.timestamp_ms == 0)
                record.timestamp_ms = now;
            if (begin == SIZE_MAX || rows->bytes.length - begin + record_size(&record) > ROW_BYTES) {
                begin = rows->bytes.length;
                record_batch_begin(&rows->bytes);
                rows->partitions[rows->count++] = (int32_t)p;
            }
            record_batch_append(&rows->bytes, begin, &record);
            rows->counts[rows->count - 1]++;
            rows->payloads[rows->count - 1].length = rows->bytes.length - begin;
        }
    }
    free(partition_of);
    if (rows->bytes.failed)
        return error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
    const char *at = rows->bytes.at;
    for (size_t i = 0; i < rows->count; i++) {
        rows->payloads[i].at = at;
        at += rows->payloads[i].length;
    }
    return 0;
}

enum store_result postgres_append(struct bus *head, struct connection *connection, const struct record *records,
                                  size_t count, struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    for (size_t i = 0; i < count; i++)
        if (record_check(&records[i], error) < 0)
            return STORE_DATA;
    if (count == 0)
        return STORE_OK;
    if (FAILPOINT("bus.append.before") == FAILPOINT_ERROR) {
        error_set(error, EIO, "publishing failed on purpose (failpoint bus.append.before)");
        return STORE_DOWN;
    }
    int code = postgres_verify(bus, error);
    if (code != 0)
        return code == -EAGAIN ? STORE_DOWN : STORE_DEPLOY;
    struct append_rows rows;
    enum store_result result = STORE_DOWN;
    if (append_rows_pack(&rows, records, count, bus->partition_count, error) == 0) {
        struct store_param params[] = {
            STORE_ARRAY(PARAM_INT4, rows.partitions, rows.count),
            STORE_ARRAY(PARAM_INT2, rows.counts, rows.count),
            STORE_ARRAY(PARAM_BYTEA, rows.payloads, rows.count),
        };
        result = connection_queue(connection, &statement_append, 3, params, error);
        if (result == STORE_OK && atomic_load(&bus->consumer_count) == 0) /* no reader here could send it */
            result = connection_queue(connection, &statement_notify, 0, NULL, error);
    }
    append_rows_free(&rows);
    atomic_fetch_add(&bus->appends, 1);
    return result;
}

int postgres_publish(struct bus *head, const struct record *records, size_t count, int64_t deadline_ms,
                     size_t *ret_failed, struct error *error)
{
    struct postgres_bus *bus = (struct postgres_bus *)head;
    for (size_t i = 0; i < count; i++) {
        int refused = record_check(&records[i], error);
        if (refused < 0) {
            *ret_failed = i;
            return refused;
        }
    }
    if (count == 0)
        return 0;
    pthread_mutex_lock(&bus->publish_lock);
    enum store_result result = connection_begin(bus->publisher, deadline_ms, error);
    if (result == STORE_OK)
        result = postgres_append(head, bus->publisher, records, count, error);
    if (result == STORE_OK)
        result = connection_commit(bus->publisher, error);
    if (result != STORE_OK)
        connection_rollback(bus->publisher);
    pthread_mutex_unlock(&bus->publish_lock);
    if (result == STORE_OK) {
        postgres_published(head);
        return 0;
    }
    error_prefix(error, "publishing %zu records to the bus failed", count);
    return result == STORE_DATA || result == STORE_DEPLOY ? -EPROTO : -EAGAIN;
}
