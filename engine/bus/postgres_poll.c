/*
 * postgres_poll.c - reading the log: one query for all partitions held, decoded into a chunk that keeps the result.
 * See postgres.h.
 *
 * A fetch brings rows; their records wait in consumer->pending and leave in polls of at most poll_records. Payloads
 * are not copied: the chunk owns the result they came in.
 */
#include "bus/postgres.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "event/record_batch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * $1..$3 the cursors (partition, xid, id), $4 the lowest of the xids (it excludes old segments), $5 rows and $6
 * bytes for each partition. At least one row comes for each cursor, so that the horizon is known; a row behind the
 * horizon comes without its payload. "known": the session is the one in which the cursors were made. In a new one
 * they may be wrong (see bus_tick() in SQL).
 */
#define FETCH(horizon)                                                                                                 \
    "select c.partition, r.xid, r.id, case when r.xid < h.xid then r.payload end, h.xid, h.known"                      \
    " from (select " horizon "(pg_current_snapshot()) as xid,"                                                         \
    "  coalesce(current_setting('sluice.bus_reader', true), '') <> '' as known) h"                                     \
    " cross join unnest($1::int4[], $2::xid8[], $3::int8[]) c (partition, xid, id)"                                    \
    " left join lateral ("                                                                                             \
    "  select f.xid, f.id, f.payload from ("                                                                           \
    "   select b.xid, b.id, b.payload, octet_length(b.payload) as size,"                                               \
    "          sum(octet_length(b.payload)) over (order by b.xid, b.id rows unbounded preceding) as running"           \
    "   from sluice.bus_log b"                                                                                         \
    "   where b.partition = c.partition and b.xid >= $4::xid8 and (b.xid, b.id) > (c.xid, c.id)"                       \
    "   order by b.xid, b.id limit $5::int8) f"                                                                        \
    "  where f.running - f.size <= $6::int8) r on true"

static const struct statement statement_fetch = {.text = FETCH("pg_snapshot_xmin")};
/* A planted bug: takes what is visible for all there is. */
static const struct statement statement_fetch_mutated = {.text = FETCH("pg_snapshot_xmax")};
static const struct statement statement_notify = {.text = "select pg_notify('sluice_bus', '')"};

enum { FETCH_PARTITION, FETCH_XID, FETCH_ID, FETCH_PAYLOAD, FETCH_HORIZON, FETCH_KNOWN };
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

/* ----------------------------------------------------------------------------------------------------------
 * fetching */

/* The id after which the query starts: the row of a position that is not at its end is read again. */
static int64_t position_row_before(struct position position)
{
    if (position.low == POSITION_LOW_MAX)
        return INT64_MAX;
    int64_t id = (int64_t)(position.low >> INDEX_BITS);
    return (position.low & INDEX_LAST) == INDEX_LAST ? id : id - 1;
}

static bool pending_push(struct bus_consumer *consumer, const struct bus_record *record)
{
    if (consumer->pending_first + consumer->pending_count == consumer->pending_size) {
        size_t size = consumer->pending_size == 0 ? 1024 : consumer->pending_size * 2;
        struct bus_record *pending = reallocarray(consumer->pending, size, sizeof *pending);
        if (pending == NULL)
            return false;
        consumer->pending = pending;
        consumer->pending_size = size;
    }
    consumer->pending[consumer->pending_first + consumer->pending_count++] = *record;
    return true;
}

/* Takes a row's records. False when the row cannot be read: its stream stops and a person hears of it. */
static bool postgres_decode(struct bus_consumer *consumer, struct delivery *delivery, uint32_t p, size_t row)
{
    struct stream *stream = &consumer->streams[p];
    uint64_t xid = (uint64_t)rows_int64(delivery->rows, row, FETCH_XID),
             id = (uint64_t)rows_int64(delivery->rows, row, FETCH_ID);
    struct record *records;
    size_t count;
    struct error error = {0};
    if (record_batch_read(rows_span(delivery->rows, row, FETCH_PAYLOAD), delivery->arena, &records, &count, &error) <
        0) {
        stream->broken = true;
        error_set(&consumer->fault, EBADMSG,
                  "group \"%s\" stopped reading partition %u: row (%llu, %llu) of sluice.bus_log is damaged: %s",
                  consumer->group, p, (unsigned long long)xid, (unsigned long long)id, error.text);
        error_hint(&consumer->fault, "delete that row to go on without its events, and start again");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct position position = {xid, id << INDEX_BITS | i};
        if (position_compare(position, stream->cursor) <= 0)
            continue; /* done before: the committed position was in the middle of the row */
        if (!topics_match((const char *const *)consumer->topics, consumer->topic_count, records[i].topic)) {
            stream->foreign = true;
            continue;
        }
        struct bus_record record = {
            .record = records[i],
            .position = position,
            .stream = p,
            .epoch = stream->epoch,
            .key_hash = record_key_hash(&records[i], position),
            .chunk = &delivery->chunk,
        };
        bus_chunk_hold(&delivery->chunk, 1);
        if (!pending_push(consumer, &record)) {
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
struct left {
    bool more;   /* rows past its limits: to be fetched at once */
    bool behind; /* rows behind the horizon: to be asked for soon */
};

/* What one partition brought: rows [first, last). */
static void postgres_take(struct bus_consumer *consumer, struct delivery *delivery, uint32_t p, size_t first,
                          size_t last, size_t row_limit, size_t byte_limit, struct left *left)
{
    struct stream *stream = &consumer->streams[p];
    uint64_t horizon = (uint64_t)rows_int64(delivery->rows, first, FETCH_HORIZON);
    size_t taken = 0, bytes = 0;
    bool behind = false;
    for (size_t row = first; row < last && !behind; row++) {
        if (rows_null(delivery->rows, row, FETCH_XID))
            break; /* nothing there */
        if (rows_null(delivery->rows, row, FETCH_PAYLOAD)) {
            behind = true;
            break;
        }
        if (!postgres_decode(consumer, delivery, p, row))
            return;
        taken++;
        bytes += rows_span(delivery->rows, row, FETCH_PAYLOAD).length;
    }
    if (taken > 0)
        consumer->row_bytes = bytes / taken + 1;
    bool all = behind || (taken < row_limit && bytes <= byte_limit);
    left->behind = left->behind || behind;
    left->more = left->more || !all;
    /* Nothing is left below the horizon, and nothing can come there any more. */
    if (all && horizon > 0 && horizon - 1 >= stream->cursor.high)
        stream->cursor = (struct position){horizon - 1, POSITION_LOW_MAX};
}

/* When the next fetch is due. */
static void postgres_schedule(struct bus_consumer *consumer, struct left left)
{
    int64_t now = clock_monotonic_ms();
    bool soon = left.behind && !left.more && consumer->pending_count == 0;
    consumer->behind_ms = !soon                                     ? 0
                          : consumer->behind_ms == 0                ? 1
                          : consumer->behind_ms * 2 < BEHIND_MAX_MS ? consumer->behind_ms * 2
                                                                    : BEHIND_MAX_MS;
    if (consumer->pending_count > 0 || left.more) /* all of it may have been for others */
        consumer->fetch_ms = now;
    else if (soon)
        consumer->fetch_ms = now + consumer->behind_ms;
    else if (consumer->notified && consumer->tick_ms > consumer->ticked_ms + TICK_SOON_MS)
        consumer->tick_ms = consumer->ticked_ms + TICK_SOON_MS; /* not news of the log: of the group, then */
    consumer->notified = false;
}

/* One query. Sets when the next is due. 0, or negative: fatal. */
static int postgres_fetch(struct bus_consumer *consumer, struct error *error)
{
    size_t count = 0;
    int64_t lowest = INT64_MAX;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        const struct stream *stream = &consumer->streams[p];
        if (stream->state != STREAM_HELD || stream->broken)
            continue;
        consumer->ask_partitions[count] = (int32_t)p;
        consumer->ask_highs[count] = (int64_t)stream->cursor.high;
        consumer->ask_lows[count] = position_row_before(stream->cursor);
        lowest = consumer->ask_highs[count] < lowest ? consumer->ask_highs[count] : lowest;
        count++;
    }
    consumer->fetch_ms = clock_monotonic_ms() + IDLE_MS;
    if (count == 0)
        return 0;
    if (FAILPOINT("bus.poll.before") == FAILPOINT_ERROR)
        return postgres_failed(consumer, STORE_TRANSIENT, error);

    /* Rows past the bytes would be read for nothing, so no more are asked for than their usual size lets through. */
    int64_t byte_limit = (int64_t)(consumer->poll_bytes / count), row_limit = consumer->poll_records / count;
    byte_limit = byte_limit < FETCH_BYTES_MIN ? FETCH_BYTES_MIN : byte_limit;
    int64_t usual = byte_limit / (int64_t)(consumer->row_bytes != 0 ? consumer->row_bytes : ROW_BYTES) + 1;
    row_limit = row_limit > usual ? usual : row_limit;
    row_limit = row_limit < FETCH_ROWS_MIN ? FETCH_ROWS_MIN : row_limit;
    struct store_param params[] = {
        STORE_ARRAY(PARAM_INT4, consumer->ask_partitions, count),
        STORE_ARRAY(PARAM_XID8, consumer->ask_highs, count),
        STORE_ARRAY(PARAM_INT8, consumer->ask_lows, count),
        STORE_VALUE(PARAM_XID8, &lowest),
        STORE_VALUE(PARAM_INT8, &row_limit),
        STORE_VALUE(PARAM_INT8, &byte_limit),
    };
    const struct statement *statement = FAILPOINT("bus.horizon.mutate") == FAILPOINT_MUTATE ? &statement_fetch_mutated
                                                                                            : &statement_fetch;
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, statement, 6, params, STATEMENT_MS, &rows, error);
    if (result != STORE_OK)
        return postgres_failed(consumer, result, error);
    if (rows_count(rows) > 0 && rows_int64(rows, 0, FETCH_KNOWN) == 0) {
        consumer->tick_ms = 0;
        consumer->fetch_ms = 0;
        return 0;
    }

    struct delivery *delivery = calloc(1, sizeof *delivery);
    struct arena *arena = delivery == NULL ? NULL : arena_create(64 * 1024, (size_t)1 << 30);
    if (arena == NULL) {
        free(delivery);
        return 0; /* the next fetch may find memory */
    }
    *delivery = (struct delivery){.chunk = {.destroy = delivery_destroy}, .arena = arena};
    atomic_init(&delivery->chunk.references, 1); /* ours, until all is taken */
    delivery->rows = rows_detach(consumer->connection, rows);
    struct left left = {false, false};
    for (size_t first = 0, last, end = rows_count(delivery->rows); first < end; first = last) {
        uint32_t p = (uint32_t)rows_int64(delivery->rows, first, FETCH_PARTITION);
        for (last = first + 1; last < end && rows_int64(delivery->rows, last, FETCH_PARTITION) == p; last++)
            ;
        if (p < consumer->bus->partition_count)
            postgres_take(consumer, delivery, p, first, last, (size_t)row_limit, (size_t)byte_limit, &left);
    }
    bus_chunk_release(&delivery->chunk, 1);

    postgres_schedule(consumer, left);
    return 0;
}

void postgres_forget(struct bus_consumer *consumer, uint32_t stream)
{
    size_t kept = consumer->pending_first;
    for (size_t i = 0; i < consumer->pending_count; i++) {
        struct bus_record *record = &consumer->pending[consumer->pending_first + i];
        if (record->stream == stream)
            bus_chunk_release(record->chunk, 1);
        else
            consumer->pending[kept++] = *record;
    }
    consumer->pending_count = kept - consumer->pending_first;
}

/* -----------------------------------------------------------------------------------------------------------
 * waiting */

void postgres_rouse(struct bus_consumer *consumer)
{
    atomic_store(&consumer->news, true);
    if (atomic_load(&consumer->sleeping))
        (void)eventfd_write(consumer->event_fd, 1);
}

void postgres_wake(struct bus_consumer *consumer)
{
    atomic_store(&consumer->woken, true);
    (void)eventfd_write(consumer->event_fd, 1);
}

void postgres_pause(struct bus_consumer *consumer, bool paused)
{
    consumer->paused = paused;
}

/* Tells readers in other processes that there is news, at most every NOTIFY_EVERY_MS. Returns when to look again. */
static int64_t postgres_notify(struct bus_consumer *consumer, int64_t now)
{
    struct postgres_bus *bus = consumer->bus;
    if (!atomic_load(&bus->notify_due))
        return INT64_MAX;
    int64_t next = atomic_load(&bus->notified_ms) + NOTIFY_EVERY_MS;
    if (now < next)
        return next;
    if (atomic_exchange(&bus->notify_due, false)) {
        struct rows *rows;
        atomic_store(&bus->notified_ms, now);
        (void)connection_once(consumer->connection, &statement_notify, 0, NULL, STATEMENT_MS, &rows, NULL);
    }
    return INT64_MAX; /* lost: their idle poll finds it */
}

static void postgres_heard(struct bus_consumer *consumer, int notifications)
{
    if (notifications < 0) {
        consumer->tick_ms = clock_monotonic_ms(); /* the connection is gone: a tick makes a new session at once */
    } else if (notifications > 0) {
        consumer->notified = true;
        atomic_store(&consumer->news, true);
    }
}

static void postgres_wait(struct bus_consumer *consumer, int64_t until_ms)
{
    if (connection_socket(consumer->connection) >= 0)
        postgres_heard(consumer, connection_wait_notify(consumer->connection,
                                                        -1)); /* came with an earlier answer: does not wait */
    atomic_store(&consumer->sleeping, true);
    int64_t wait_ms = until_ms - clock_monotonic_ms();
    if (wait_ms > 0 && !atomic_load(&consumer->news) && !atomic_load(&consumer->woken)) {
        struct pollfd fds[2] = {{.fd = consumer->event_fd, .events = POLLIN},
                                {.fd = connection_socket(consumer->connection), .events = POLLIN}};
        if (poll(fds, 2, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms) > 0 && fds[1].revents != 0)
            postgres_heard(consumer, connection_wait_notify(consumer->connection, 0));
    }
    atomic_store(&consumer->sleeping, false);
    eventfd_t ignored;
    (void)eventfd_read(consumer->event_fd, &ignored);
}

/* -----------------------------------------------------------------------------------------------------------
 * polling */

static bool postgres_list(struct bus_consumer *consumer, enum stream_state from, enum stream_state to,
                          enum bus_event_kind kind, struct bus_event *ret)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        struct stream *stream = &consumer->streams[p];
        if (stream->state != from)
            continue;
        stream->state = to;
        if (to != STREAM_HELD)
            postgres_forget(consumer, p);
        consumer->listed_streams[count] = p;
        consumer->listed_epochs[count++] = stream->epoch;
    }
    if (count == 0)
        return false;
    *ret = (struct bus_event){
        .kind = kind, .streams = consumer->listed_streams, .epochs = consumer->listed_epochs, .stream_count = count};
    return true;
}

/* Whatever there is to tell without asking the database. */
static bool postgres_tell(struct bus_consumer *consumer, struct bus_event *ret)
{
    if (postgres_list(consumer, STREAM_LOST, STREAM_NONE, BUS_LOST, ret))
        return true;
    if (postgres_list(consumer, STREAM_RECALLED, STREAM_RETURNING, BUS_REVOKED, ret)) {
        (void)FAILPOINT("bus.revoke");
        return true;
    }
    if (postgres_list(consumer, STREAM_GIVEN, STREAM_HELD, BUS_ASSIGNED, ret)) {
        consumer->fetch_ms = 0;
        (void)FAILPOINT("bus.assign");
        return true;
    }
    if (consumer->fault.code != 0) {
        *ret = (struct bus_event){.kind = BUS_FAULT, .error = consumer->fault};
        consumer->fault.code = 0;
        return true;
    }
    if (consumer->paused || consumer->pending_count == 0)
        return false;
    size_t count = consumer->pending_count < consumer->poll_records ? consumer->pending_count : consumer->poll_records;
    *ret = (struct bus_event){
        .kind = BUS_RECORDS, .records = consumer->pending + consumer->pending_first, .record_count = count};
    consumer->pending_first += count;
    consumer->pending_count -= count;
    return true;
}

int postgres_poll(struct bus_consumer *consumer, int timeout_ms, struct bus_event *ret, struct error *error)
{
    int64_t until_ms = clock_monotonic_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    if (consumer->pending_count == 0)
        consumer->pending_first = 0;
    for (;;) {
        int64_t now = clock_monotonic_ms();
        int result = 0;
        if (now >= consumer->tick_ms)
            result = postgres_tick(consumer, error);
        if (result < 0)
            return result;
        int64_t notify_ms = postgres_notify(consumer,
                                            now); /* before anything that returns: a busy reader must not forget it */
        if (postgres_tell(consumer, ret))
            return 0;
        if (atomic_exchange(&consumer->news, false) && !consumer->down)
            consumer->fetch_ms = now;
        if (!consumer->paused && now >= consumer->fetch_ms) {
            result = postgres_fetch(consumer, error);
            if (result < 0)
                return result;
            if (postgres_tell(consumer, ret))
                return 0;
        }
        if (atomic_exchange(&consumer->woken, false) || clock_monotonic_ms() >= until_ms)
            return -EAGAIN;
        int64_t next_ms = consumer->tick_ms < until_ms ? consumer->tick_ms : until_ms;
        next_ms = !consumer->paused && consumer->fetch_ms < next_ms ? consumer->fetch_ms : next_ms;
        postgres_wait(consumer, notify_ms < next_ms ? notify_ms : next_ms);
    }
}
