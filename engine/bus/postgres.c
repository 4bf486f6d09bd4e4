/*
 * postgres.c - opening the postgres bus, writing to its log, and keeping it in shape. See postgres.h.
 */
#include "bus/postgres.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "event/record_batch.h"

#include <errno.h>
#include <stdlib.h>

static const struct statement statement_open = {.text = "select * from sluice.bus_open($1)"};
static const struct statement statement_append = {
    .text = "insert into sluice.bus_log (partition, xid, id, count, payload)"
            " select r.partition, pg_current_xact_id(), nextval('sluice.bus_log_id'), r.count, r.payload"
            " from unnest($1::int4[], $2::int2[], $3::bytea[]) r (partition, count, payload)"};
static const struct statement statement_notify = {.text = "select pg_notify('sluice_bus', '')"};
static const struct statement statement_lag = {.text = "select sluice.bus_lag($1)"};
static const struct statement statement_tend = {.text = "select * from sluice.bus_maintain($1, $2)"};

enum {
    TEND_EVERY_MS = 5000,
    SEGMENT_XIDS_MIN = 1 << 12,
    SEGMENT_XIDS_MAX = 1 << 20,
    SEGMENT_MS_MIN = 30 * 1000, /* a segment should last an eighth of the retention, within these */
    SEGMENT_MS_MAX = 6 * 60 * 60 * 1000,
};

static struct postgres_bus *postgres_of(struct bus *bus)
{
    return (struct postgres_bus *)bus;
}

/* --------------------------------------------------------------------------------------------------------- writing */

/* The rows of one append. */
struct parcel {
    struct buffer bytes;
    size_t count;
    int32_t *partitions;
    int16_t *counts;
    struct span *payloads; /* while building: `at` is unset */
};

static void parcel_free(struct parcel *parcel)
{
    buffer_free(&parcel->bytes);
    free(parcel->partitions);
    free(parcel->counts);
    free(parcel->payloads);
}

/* Packs the records of each partition, in their order, into rows. */
static int parcel_pack(struct parcel *parcel, const struct record *records, size_t count, uint32_t partitions,
                       struct error *error)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += record_size(&records[i]) + 4;
    *parcel = (struct parcel){0};
    buffer_init(&parcel->bytes, bytes);
    parcel->partitions = calloc(count, sizeof *parcel->partitions);
    parcel->counts = calloc(count, sizeof *parcel->counts);
    parcel->payloads = calloc(count, sizeof *parcel->payloads);
    uint32_t *home = calloc(count, sizeof *home);
    if (parcel->partitions == NULL || parcel->counts == NULL || parcel->payloads == NULL || home == NULL ||
        buffer_reserve(&parcel->bytes, bytes) == NULL) {
        free(home);
        return error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
    }
    for (size_t i = 0; i < count; i++)
        home[i] = record_partition(&records[i], partitions);
    int64_t now = clock_wall_ms();
    for (uint32_t p = 0; p < partitions; p++) {
        size_t begin = SIZE_MAX;
        for (size_t i = 0; i < count; i++) {
            if (home[i] != p)
                continue;
            struct record record = records[i];
            if (record.timestamp_ms == 0)
                record.timestamp_ms = now;
            if (begin == SIZE_MAX || parcel->bytes.length - begin + record_size(&record) > ROW_BYTES) {
                begin = parcel->bytes.length;
                record_batch_begin(&parcel->bytes);
                parcel->partitions[parcel->count++] = (int32_t)p;
            }
            record_batch_append(&parcel->bytes, begin, &record);
            parcel->counts[parcel->count - 1]++;
            parcel->payloads[parcel->count - 1].length = parcel->bytes.length - begin;
        }
    }
    free(home);
    if (parcel->bytes.failed)
        return error_set(error, ENOMEM, "out of memory while publishing %zu records", count);
    const char *at = parcel->bytes.at;
    for (size_t i = 0; i < parcel->count; i++) {
        parcel->payloads[i].at = at;
        at += parcel->payloads[i].length;
    }
    return 0;
}

static int postgres_append(struct bus *head, struct connection *connection, const struct record *records, size_t count,
                           struct error *error)
{
    struct postgres_bus *bus = postgres_of(head);
    for (size_t i = 0; i < count; i++)
        if (record_check(&records[i], error) < 0)
            return STORE_DATA;
    if (count == 0)
        return STORE_OK;
    if (FAILPOINT("bus.append.before") == FAILPOINT_ERROR) {
        error_set(error, EIO, "publishing failed on purpose (failpoint bus.append.before)");
        return STORE_DOWN;
    }
    int agreed = postgres_agree(bus, error);
    if (agreed != 0)
        return agreed == -EAGAIN ? STORE_DOWN : STORE_DEPLOY;
    struct parcel parcel;
    enum store_result result = STORE_DOWN;
    if (parcel_pack(&parcel, records, count, bus->partition_count, error) == 0) {
        struct store_param params[] = {
            STORE_ARRAY(PARAM_INT4, parcel.partitions, parcel.count),
            STORE_ARRAY(PARAM_INT2, parcel.counts, parcel.count),
            STORE_ARRAY(PARAM_BYTEA, parcel.payloads, parcel.count),
        };
        result = connection_queue(connection, &statement_append, 3, params, error);
        if (result == STORE_OK && atomic_load(&bus->consumer_count) == 0)
            result = connection_queue(connection, &statement_notify, 0, NULL, error);
    }
    parcel_free(&parcel);
    atomic_fetch_add(&bus->appends, 1);
    return (int)result;
}

static void postgres_published(struct bus *head)
{
    struct postgres_bus *bus = postgres_of(head);
    if (atomic_load(&bus->peers))
        atomic_store(&bus->notify_due, true);
    pthread_mutex_lock(&bus->consumers_lock);
    for (struct bus_consumer *consumer = bus->consumers; consumer != NULL; consumer = consumer->next)
        postgres_rouse(consumer);
    pthread_mutex_unlock(&bus->consumers_lock);
}

static int postgres_publish(struct bus *head, const struct record *records, size_t count, int64_t deadline_ms,
                            size_t *ret_failed, struct error *error)
{
    struct postgres_bus *bus = postgres_of(head);
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
        result = (enum store_result)postgres_append(head, bus->publisher, records, count, error);
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

/* ----------------------------------------------------------------------------------------------------- housekeeping */

static int64_t postgres_lag(struct bus *head, const char *group)
{
    struct postgres_bus *bus = postgres_of(head);
    struct span name = span_of(group);
    struct store_param param = STORE_VALUE(PARAM_TEXT, &name);
    struct rows *rows;
    pthread_mutex_lock(&bus->keeper_lock);
    int64_t lag = -EAGAIN;
    if (connection_once(bus->keeper, &statement_lag, 1, &param, STATEMENT_MS, &rows, NULL) == STORE_OK &&
        rows_count(rows) == 1)
        lag = rows_null(rows, 0, 0) ? -ENOENT : rows_int64(rows, 0, 0);
    pthread_mutex_unlock(&bus->keeper_lock);
    return lag;
}

/* Transactions that a segment should hold, by how fast they are used up. A power of two, so that lengths settle. */
static int64_t postgres_segment_step(const struct postgres_bus *bus)
{
    int64_t lasts_ms = bus->retention_ms / 8;
    lasts_ms = lasts_ms < SEGMENT_MS_MIN ? SEGMENT_MS_MIN : lasts_ms > SEGMENT_MS_MAX ? SEGMENT_MS_MAX : lasts_ms;
    double wanted = bus->xids_per_second * (double)lasts_ms / 1000;
    int64_t step = SEGMENT_XIDS_MIN;
    while (step < SEGMENT_XIDS_MAX && (double)step < wanted)
        step *= 2;
    return step;
}

static enum store_result postgres_maintain_now(struct postgres_bus *bus, int64_t now_ms, struct error *error)
{
    int64_t step = postgres_segment_step(bus);
    struct store_param params[] = {STORE_VALUE(PARAM_INT8, &step), STORE_VALUE(PARAM_INT8, &bus->retention_ms)};
    struct rows *rows;
    enum store_result result = connection_once(bus->keeper, &statement_tend, 2, params, STATEMENT_MS, &rows, error);
    if (result != STORE_OK || rows_count(rows) != 1)
        return result;
    int64_t xid = rows_int64(rows, 0, 0);
    if (bus->tended_xid != 0 && now_ms > bus->tended_ms)
        bus->xids_per_second = (double)(xid - bus->tended_xid) * 1000 / (double)(now_ms - bus->tended_ms);
    bus->tended_xid = xid;
    bus->tended_ms = now_ms;
    return STORE_OK;
}

static void postgres_maintain(struct bus *head)
{
    struct postgres_bus *bus = postgres_of(head);
    int64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&bus->keeper_lock);
    /* Sooner when this process fills the room ahead, which is at least SEGMENT_XIDS_MIN. */
    bool due = now_ms - bus->tended_ms >= TEND_EVERY_MS || atomic_load(&bus->appends) > SEGMENT_XIDS_MIN / 4;
    if (due) {
        struct error error = {0};
        atomic_store(&bus->appends, 0);
        enum store_result result = postgres_maintain_now(bus, now_ms, &error);
        if (result == STORE_DATA || result == STORE_DEPLOY)
            log_rarely(60000, LOG_ERROR, "bus", "cannot tend the log of the postgres bus: %s", error.text);
    }
    pthread_mutex_unlock(&bus->keeper_lock);
}

static int64_t postgres_member(struct bus_consumer *consumer)
{
    return atomic_load(&consumer->member);
}

static void postgres_describe(struct bus_consumer *consumer, uint32_t stream, struct position position, char *buf,
                              size_t size, int32_t *ret_partition, int64_t *ret_offset)
{
    (void)consumer;
    struct buffer text;
    buffer_init(&text, 128);
    buffer_format(&text, "partition %u at %llu/%llu:%llu", stream, (unsigned long long)position.high,
                  (unsigned long long)(position.low >> INDEX_BITS), (unsigned long long)(position.low & INDEX_LAST));
    if (size > 0) {
        size_t length = text.length < size - 1 ? text.length : size - 1;
        memcpy(buf, text.at, length);
        buf[length] = '\0';
    }
    buffer_free(&text);
    *ret_partition = (int32_t)stream;
    *ret_offset = (int64_t)position.low;
}

/* ------------------------------------------------------------------------------------------------- opening and
 * closing */

static void postgres_close(struct bus *head)
{
    struct postgres_bus *bus = postgres_of(head);
    connection_destroy(bus->publisher);
    connection_destroy(bus->keeper);
    pthread_mutex_destroy(&bus->consumers_lock);
    pthread_mutex_destroy(&bus->publish_lock);
    pthread_mutex_destroy(&bus->keeper_lock);
    free(bus);
}

/* Agrees with the database on the number of partitions, and that the log is of this server's time. */
static int postgres_ask(struct postgres_bus *bus, struct error *error)
{
    int32_t wanted = (int32_t)bus->partition_count;
    struct store_param param = STORE_VALUE(PARAM_INT4, &wanted);
    struct rows *rows;
    enum store_result result = connection_once(bus->keeper, &statement_open, 1, &param, STATEMENT_MS, &rows, error);
    if (result != STORE_OK) {
        error_prefix(error, "cannot open the postgres bus");
        return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
    }
    if (rows_count(rows) != 1)
        return error_set(error, EPROTO, "cannot open the postgres bus: sluice.bus_open() gave %zu rows instead of one",
                         rows_count(rows));
    int64_t partitions = rows_int64(rows, 0, 0), newest = rows_int64(rows, 0, 1), now = rows_int64(rows, 0, 2);
    if (partitions != wanted) {
        error_set(error, EINVAL, "the postgres bus was made with %lld partitions, and the configuration says %d",
                  (long long)partitions, wanted);
        error_hint(error,
                   "set bus.partitions to %lld: the number cannot change while there are events, or events of one key "
                   "would be in two partitions",
                   (long long)partitions);
        return -EINVAL;
    }
    if (newest >= now) {
        error_set(
            error, ESTALE,
            "the log of the postgres bus ends at transaction %lld, and this server is only at %lld: the database was "
            "restored from a dump, and new events would sort before old ones",
            (long long)newest, (long long)now);
        error_hint(
            error,
            "while no engine runs, execute \"select sluice.bus_rebase()\" in this database once, then start again");
        return -ESTALE;
    }
    return 0;
}

int postgres_agree(struct postgres_bus *bus, struct error *error)
{
    if (atomic_load(&bus->agreed))
        return 0;
    pthread_mutex_lock(&bus->keeper_lock);
    int result = atomic_load(&bus->agreed) ? 0 : postgres_ask(bus, error);
    if (result == 0)
        atomic_store(&bus->agreed, true);
    pthread_mutex_unlock(&bus->keeper_lock);
    return result;
}

static const struct bus_kind postgres_kind = {
    .name = "postgres",
    .durable = true,
    .transactional = true,
    .close = postgres_close,
    .subscribe = postgres_subscribe,
    .poll = postgres_poll,
    .wake = postgres_wake,
    .pause = postgres_pause,
    .commit = postgres_commit,
    .revoked = postgres_revoked,
    .unsubscribe = postgres_unsubscribe,
    .member = postgres_member,
    .describe = postgres_describe,
    .publish = postgres_publish,
    .append = postgres_append,
    .published = postgres_published,
    .scan = postgres_scan,
    .lag = postgres_lag,
    .maintain = postgres_maintain,
};

int bus_postgres_open(const struct bus_options *options, struct bus **ret, struct error *error)
{
    if (options->partitions == 0 || options->partitions > POSTGRES_PARTITIONS_MAX)
        return error_set(error, EINVAL, "the postgres bus has 1 to %d partitions, not %u", POSTGRES_PARTITIONS_MAX,
                         options->partitions);
    struct postgres_bus *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return error_set(error, ENOMEM, "out of memory while opening the postgres bus");
    bus->bus.kind = &postgres_kind;
    bus->store = options->store;
    bus->partition_count = options->partitions;
    bus->retention_ms = options->retention_ms;
    pthread_mutex_init(&bus->consumers_lock, NULL);
    pthread_mutex_init(&bus->publish_lock, NULL);
    pthread_mutex_init(&bus->keeper_lock, NULL);
    event_id_new(clock_wall_ms(), bus->process);
    bus->publisher = connection_create(options->store, "publisher");
    bus->keeper = connection_create(options->store, "keeper");
    int result = bus->publisher == NULL || bus->keeper == NULL
                     ? error_set(error, ENOMEM, "out of memory while opening the postgres bus")
                     : postgres_agree(bus, error);
    if (result == -EAGAIN) {
        /* A database that is away may come: whoever needs it first asks again. */
        *error = (struct error){0};
    } else if (result < 0) {
        postgres_close(&bus->bus);
        return result;
    } else {
        postgres_maintain(&bus->bus);
    }
    *ret = &bus->bus;
    return 0;
}
