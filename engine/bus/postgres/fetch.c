/*
 * fetch.c - reading the log: one query for all partitions that are assigned, decoded into a chunk that keeps the
 * result. See postgres.h.
 *
 * A fetch brings rows; their records go into `pending` and leave in polls of at most poll_records. Payloads are not
 * copied: the chunk owns the result in which they came.
 */
#include "bus/postgres/postgres.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

/*
 * $1..$3 the cursors (partition, xid, id), $4 the lowest of the xids (it excludes old segments), $5 rows and $6
 * bytes for each partition. At least one row comes for each cursor, so that the horizon is known; a row beyond the
 * horizon comes without its payload. same_session: the cursors were made in this session. In another one they may be
 * wrong (see bus_heartbeat() in SQL). newest_member: of the group, $7, who joined last; what it reads must be known.
 * $8: transactions that are known to be of other programs, as strangers gave them; $9: to be asked for again.
 */
static const struct statement statement_fetch = {
    .text = "with s as materialized (select case when $9 then sluice.bus_strangers(pg_current_snapshot())"
            "   else $8::text::xid8[] end as strangers),"
            " h as materialized (select sluice.bus_horizon(pg_current_snapshot(), s.strangers) as xid,"
            "  case when $9 then s.strangers::text end as strangers,"
            "  (select m.id from sluice.bus_member m where m.consumer_group = $7 order by m.id desc limit 1)"
            "   as newest_member,"
            "  coalesce(current_setting('sluice.bus_reader', true), '') <> '' as same_session from s)"
            " select c.partition, r.xid, r.id, case when r.xid < h.xid then r.payload end, h.xid, h.same_session,"
            "  h.newest_member, h.strangers"
            " from h cross join unnest($1::int4[], $2::xid8[], $3::int8[]) c (partition, xid, id)"
            " left join lateral ("
            "  select f.xid, f.id, f.payload from ("
            "   select b.xid, b.id, b.payload, octet_length(b.payload) as size,"
            "          sum(octet_length(b.payload)) over (order by b.xid, b.id rows unbounded preceding) as running"
            "   from sluice.bus_log b"
            "   where b.partition = c.partition and b.xid >= $4::xid8 and (b.xid, b.id) > (c.xid, c.id)"
            "   order by b.xid, b.id limit $5::int8) f"
            "  where f.running - f.size <= $6::int8) r on true"};

enum {
    FETCH_PARTITION,
    FETCH_XID,
    FETCH_ID,
    FETCH_PAYLOAD,
    FETCH_HORIZON,
    FETCH_SAME_SESSION,
    FETCH_NEWEST_MEMBER,
    FETCH_STRANGERS
};
enum { FETCH_ROWS_MIN = 8, FETCH_BYTES_MIN = 2 * ROW_BYTES };

struct delivery {           /* one fetch */
    struct bus_chunk chunk; /* first */
    struct arena *arena;
    struct rows *rows;
};

static void delivery_destroy(struct bus_chunk *chunk)
{
    struct delivery *delivery = (struct delivery *)(void *)chunk;
    rows_free(delivery->rows);
    arena_destroy(delivery->arena);
    free(delivery);
}

/* The stream stops before a row that cannot be read, until an operator has deleted it; a fault tells of it once. */
static void fetch_damaged(struct bus_consumer *consumer, uint32_t p, struct position row, const struct error *why)
{
    struct stream *stream = &consumer->streams[p];
    stream->damaged_look_ms = clock_monotonic_ms() + DAMAGED_LOOK_MS;
    if (position_compare(stream->damaged, row) == 0 || consumer->fault.code != 0)
        return;
    stream->damaged = row;
    error_set(&consumer->fault, EBADMSG,
              "group \"%s\" stopped reading partition %u: row (%llu, %llu) of sluice.bus_log is damaged: %s",
              consumer->group, p, (unsigned long long)row.high, (unsigned long long)row.low, why->text);
    error_hint(&consumer->fault, "delete that row to go on without its events");
}

/* Whether processes with another file, running or not, read the topic. */
static bool others_read(const struct bus_consumer *consumer, struct span topic)
{
    for (size_t i = 0; consumer->others != NULL && i < rows_count(consumer->others); i++)
        if (topic_matches(rows_span(consumer->others, i, 0), topic))
            return true;
    for (size_t i = 0; consumer->elsewhere[i] != NULL; i++)
        if (span_is(topic, consumer->elsewhere[i]))
            return true;
    return false;
}

/* Puts a row's records into `pending`. False when the row cannot be read: its stream stops, and a fault tells of it.
 * False also when out of memory: the cursor stays at the last record taken. */
static bool fetch_decode(struct bus_consumer *consumer, struct delivery *delivery, uint32_t p, size_t row)
{
    struct stream *stream = &consumer->streams[p];
    uint64_t xid = (uint64_t)rows_int64(delivery->rows, row, FETCH_XID),
             id = (uint64_t)rows_int64(delivery->rows, row, FETCH_ID);
    struct record *records;
    size_t count;
    struct error error = {0};
    if (record_batch_read(rows_span(delivery->rows, row, FETCH_PAYLOAD), delivery->arena, &records, &count, &error) <
        0) {
        fetch_damaged(consumer, p, (struct position){xid, id}, &error);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct position position = {xid, id << INDEX_BITS | i};
        if (position_compare(position, stream->cursor) <= 0)
            continue; /* completed before: the committed position was in the middle of the row */
        bool own = topics_match((const char *const *)consumer->topics, consumer->topic_count, records[i].topic);
        if (!own && !others_read(consumer, records[i].topic)) {
            stream->other_topics = true;
            continue;
        }
        struct bus_record record = {
            .record = records[i],
            .position = position,
            .stream = p,
            .epoch = stream->epoch,
            .key_hash = record_key_hash(&records[i], position),
            .other_file = !own,
            .chunk = &delivery->chunk,
        };
        bus_chunk_hold(&delivery->chunk, 1);
        if (!postgres_pending_push(consumer, &record)) {
            bus_chunk_release(&delivery->chunk, 1);
            stream->cursor = i > 0 ? (struct position){xid, id << INDEX_BITS | (i - 1)} : stream->cursor;
            return false;
        }
        stream->queued = position;
    }
    stream->cursor = (struct position){xid, id << INDEX_BITS | INDEX_LAST};
    return true;
}

/* What a fetch left in the log. */
struct remainder {
    bool more;   /* rows past its limits: the next fetch is due at once */
    bool beyond; /* rows beyond the horizon: the next fetch is due soon */
};

/* Takes what one partition brought: rows [first, last). */
static void fetch_take(struct bus_consumer *consumer, struct delivery *delivery, uint32_t p, size_t first, size_t last,
                       size_t row_limit, size_t byte_limit, struct remainder *remainder)
{
    struct stream *stream = &consumer->streams[p];
    uint64_t horizon = (uint64_t)rows_int64(delivery->rows, first, FETCH_HORIZON);
    size_t taken = 0, bytes = 0;
    bool beyond = false;
    stream->damaged_look_ms = 0;
    for (size_t row = first; row < last && !beyond; row++) {
        if (rows_null(delivery->rows, row, FETCH_XID))
            break; /* nothing there */
        if (rows_null(delivery->rows, row, FETCH_PAYLOAD)) {
            beyond = true;
            break;
        }
        if (!fetch_decode(consumer, delivery, p, row))
            return;
        taken++;
        bytes += rows_span(delivery->rows, row, FETCH_PAYLOAD).length;
    }
    if (taken > 0)
        consumer->row_bytes = bytes / taken + 1;
    bool all = beyond || (taken < row_limit && bytes <= byte_limit);
    remainder->beyond = remainder->beyond || beyond;
    remainder->more = remainder->more || !all;
    /* Nothing is left below the horizon, and nothing can come there any more. */
    if (all && horizon > 0 && horizon - 1 >= stream->cursor.high)
        stream->cursor = (struct position){horizon - 1, POSITION_LOW_MAX};
}

/* When the next fetch is due. */
static void fetch_schedule(struct bus_consumer *consumer, struct remainder remainder)
{
    int64_t now = clock_monotonic_ms();
    int64_t soon_ms = consumer->heartbeat_ms + HEARTBEAT_SOON_MS;
    bool soon = remainder.beyond && !remainder.more && consumer->pending_count == 0;
    consumer->horizon_wait_ms = !soon                                                 ? 0
                                : consumer->horizon_wait_ms == 0                      ? 1
                                : consumer->horizon_wait_ms * 2 < HORIZON_WAIT_MAX_MS ? consumer->horizon_wait_ms * 2
                                                                                      : HORIZON_WAIT_MAX_MS;
    if (consumer->pending_count > 0 || remainder.more) /* with `more`, all that came may have been of other topics */
        consumer->fetch_due_ms = now;
    else if (soon)
        consumer->fetch_due_ms = now + consumer->horizon_wait_ms;
    else if (consumer->notified && consumer->heartbeat_due_ms > soon_ms)
        consumer->heartbeat_due_ms = soon_ms; /* the log had nothing new: the group has changed, then */
    consumer->notified = false;
}

/* The cursors of the streams to read become parameters. Returns how many. */
static size_t list_cursors(struct bus_consumer *consumer, int64_t *ret_lowest)
{
    int64_t now = clock_monotonic_ms();
    size_t count = 0;
    *ret_lowest = INT64_MAX;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        const struct stream *stream = &consumer->streams[p];
        if (stream->state != STREAM_ASSIGNED || stream->damaged_look_ms > now)
            continue;
        consumer->param_partitions[count] = (int32_t)p;
        consumer->param_highs[count] = (int64_t)stream->cursor.high;
        consumer->param_lows[count] = postgres_row_before(stream->cursor);
        *ret_lowest = consumer->param_highs[count] < *ret_lowest ? consumer->param_highs[count] : *ret_lowest;
        count++;
    }
    return count;
}

/* What a fetch may bring of each of `count` partitions. Rows past the bytes would be read for nothing, so no more are
 * queried than their usual size lets through. */
static void fetch_limits(const struct bus_consumer *consumer, size_t count, int64_t *ret_rows, int64_t *ret_bytes)
{
    int64_t bytes = (int64_t)(consumer->poll_bytes / count), rows = consumer->poll_records / count;
    bytes = bytes < FETCH_BYTES_MIN ? FETCH_BYTES_MIN : bytes;
    int64_t usual = bytes / (int64_t)(consumer->row_bytes != 0 ? consumer->row_bytes : ROW_BYTES) + 1;
    rows = rows > usual ? usual : rows;
    *ret_rows = rows < FETCH_ROWS_MIN ? FETCH_ROWS_MIN : rows;
    *ret_bytes = bytes;
}

/* A chunk that owns the result, with one reference. NULL when out of memory; the result is then still the
 * connection's. */
static struct delivery *delivery_create(struct bus_consumer *consumer, struct rows *rows)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);
    struct arena *arena = delivery == NULL ? NULL : arena_create(64 * 1024, (size_t)1 << 30);
    if (arena == NULL) {
        free(delivery);
        return NULL;
    }
    *delivery = (struct delivery){.chunk = {.destroy = delivery_destroy}, .arena = arena};
    atomic_init(&delivery->chunk.references, 1);
    delivery->rows = rows_detach(consumer->connection, rows);
    return delivery;
}

/* Whatever becomes of it, one that is not known is waited for. */
static void know_strangers(struct bus_consumer *consumer, struct span strangers)
{
    free(consumer->strangers);
    consumer->strangers = strangers.at == NULL ? NULL : strndup(strangers.at, strangers.length);
}

int postgres_fetch(struct bus_consumer *consumer, struct error *error)
{
    int64_t lowest, row_limit, byte_limit;
    size_t count = list_cursors(consumer, &lowest);
    consumer->fetch_due_ms = clock_monotonic_ms() + IDLE_MS;
    if (count == 0)
        return 0;
    if (FAILPOINT("bus.poll.before") == FAILPOINT_ERROR)
        return postgres_back_off(consumer, STORE_TRANSIENT, error);
    fetch_limits(consumer, count, &row_limit, &byte_limit);
    struct span group = span_of(consumer->group);
    const struct span strangers = span_of(consumer->strangers == NULL ? "{}" : consumer->strangers);
    const int32_t looks = consumer->horizon_wait_ms >= HORIZON_LOOK_MS;
    struct store_param params[] = {
        STORE_ARRAY(PARAM_INT4, consumer->param_partitions, count),
        STORE_ARRAY(PARAM_XID8, consumer->param_highs, count),
        STORE_ARRAY(PARAM_INT8, consumer->param_lows, count),
        STORE_VALUE(PARAM_XID8, &lowest),
        STORE_VALUE(PARAM_INT8, &row_limit),
        STORE_VALUE(PARAM_INT8, &byte_limit),
        STORE_VALUE(PARAM_TEXT, &group),
        STORE_VALUE(PARAM_TEXT, &strangers),
        STORE_VALUE(PARAM_BOOL, &looks),
    };
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, &statement_fetch, 9, params, STATEMENT_MS, &rows,
                                               error);
    if (result != STORE_OK)
        return postgres_back_off(consumer, result, error);
    if (rows_count(rows) > 0 && (rows_int64(rows, 0, FETCH_SAME_SESSION) == 0 ||
                                 rows_int64(rows, 0, FETCH_NEWEST_MEMBER) > consumer->newest_member)) {
        /* It makes the session the member's, with new epochs, or learns what the new member reads. A server that
         * crashed may give the number of a stranger to an engine. */
        know_strangers(consumer, (struct span){0});
        consumer->heartbeat_due_ms = 0;
        consumer->fetch_due_ms = 0;
        return 0;
    }
    if (looks != 0 && rows_count(rows) > 0)
        know_strangers(consumer, rows_span(rows, 0, FETCH_STRANGERS));
    struct delivery *delivery = delivery_create(consumer, rows);
    if (delivery == NULL)
        return 0; /* the next fetch may find memory */
    struct remainder remainder = {false, false};
    for (size_t first = 0, last, end = rows_count(delivery->rows); first < end; first = last) {
        uint32_t p = (uint32_t)rows_int64(delivery->rows, first, FETCH_PARTITION);
        for (last = first + 1; last < end && rows_int64(delivery->rows, last, FETCH_PARTITION) == p; last++)
            ;
        if (p < consumer->bus->partition_count)
            fetch_take(consumer, delivery, p, first, last, (size_t)row_limit, (size_t)byte_limit, &remainder);
    }
    bus_chunk_release(&delivery->chunk, 1);
    fetch_schedule(consumer, remainder);
    return 0;
}
