/*
 * heartbeat.c - a member of the postgres bus: heartbeats, and the assignments that they bring. See postgres.h.
 *
 * The database decides who reads what. A heartbeat returns every partition of this member; apply_assignment() compares
 * them with the states of the consumer's streams and changes these, and poll() tells the engine.
 */
#include "bus/postgres/postgres.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

static const struct statement statement_heartbeat = {
    .text = "select kind, item, epoch, high, low from sluice.bus_heartbeat($1, $2, $3, $4)"};
/* A new assignment of streams to the same member: what completes under the epoch before it is ignored. */
static const struct statement statement_renew = {
    .text = "update sluice.bus_lease set epoch = epoch + 1"
            " where consumer_group = $1 and member = $2 and partition = any($3)"};
static const struct statement statement_release = {.text = "select sluice.bus_release($1, $2, $3)"};

/* Kinds of rows that bus_heartbeat() returns. Of ROW_GROUP, which is about the group, `item` is its number of members,
 * `epoch` this member's share of the partitions, `high` not 0 when other processes read the log and HIGH_SOON when one
 * of them may soon be removed, and `low` the member that joined last; of the others they are a partition, its epoch and
 * its committed position. ROW_EXPIRED: the row of this member was deleted. ROW_MADE: the lease of the partition was. */
enum { ROW_GROUP = 0, ROW_OWNED = 1, ROW_EXCESS = 2, ROW_EXPIRED = 3, ROW_MADE = 4 };
enum { HIGH_SOON = 2 };

static void stream_assign(struct stream *stream, uint32_t epoch, struct position committed)
{
    *stream = (struct stream){.state = STREAM_ASSIGN_PENDING,
                              .epoch = epoch,
                              .committed = committed,
                              .queued = committed,
                              .cursor = committed};
}

static void stream_lose(struct bus_consumer *consumer, uint32_t p)
{
    struct stream *stream = &consumer->streams[p];
    if (stream_owned(stream)) {
        stream->state = STREAM_LOST;
        postgres_pending_drop(consumer, p);
    } else if (stream->state == STREAM_ASSIGN_PENDING) {
        stream->state = STREAM_NONE;
    }
}

/* Whether somebody else moved the position of a stream: it is no longer the one that this consumer committed. */
static bool position_moved(const struct bus_consumer *consumer, uint32_t p, uint32_t epoch, struct position committed)
{
    const struct stream *stream = &consumer->streams[p];
    if (stream->state != STREAM_ASSIGNED || stream->epoch != epoch ||
        position_compare(stream->committed, committed) == 0)
        return false;
    log_warn(
        "bus",
        "group %s: the position of partition %u was changed in sluice.bus_lease from (%llu, %llu) to (%llu, %llu); "
        "reading goes on from there",
        consumer->group, p, (unsigned long long)stream->committed.high, (unsigned long long)stream->committed.low,
        (unsigned long long)committed.high, (unsigned long long)committed.low);
    return true;
}

/* One partition that the member has. `excess`: more than its share, to be released. */
static void apply_partition(struct bus_consumer *consumer, uint32_t p, uint32_t epoch, struct position committed,
                            bool excess)
{
    struct stream *stream = &consumer->streams[p];
    if (stream->state != STREAM_NONE && stream->state != STREAM_LOST && stream->epoch != epoch)
        stream_lose(consumer, p);
    if (stream->state == STREAM_NONE)
        stream_assign(stream, epoch, committed);
    else if (excess && stream->state == STREAM_ASSIGNED)
        stream->state = STREAM_REVOKE_PENDING;
    else if (!excess && stream->state == STREAM_REVOKE_PENDING)
        stream->state = STREAM_ASSIGNED;
}

/* Applies the assignment that a heartbeat returned to the states of the streams, and sets when the next heartbeat is
 * due. The first *ret_moved of param_partitions are streams whose position somebody else moved. *ret_newest is the
 * member that joined last. */
static void apply_assignment(struct bus_consumer *consumer, const struct rows *rows, size_t *ret_moved,
                             int64_t *ret_newest)
{
    uint32_t partitions = consumer->bus->partition_count, owned = 0, share = 0;
    int64_t now = clock_monotonic_ms();
    bool peers = false, soon = false, lost = false;
    *ret_moved = 0;
    consumer->heartbeat_ms = now;
    bool *seen = calloc(partitions, sizeof *seen);
    for (size_t i = 0; seen != NULL && i < rows_count(rows); i++) {
        int64_t kind = rows_int64(rows, i, 0);
        uint32_t item = (uint32_t)rows_int64(rows, i, 1), epoch = (uint32_t)rows_int64(rows, i, 2);
        struct position position = {(uint64_t)rows_int64(rows, i, 3), (uint64_t)rows_int64(rows, i, 4)};
        if (kind == ROW_EXPIRED) {
            consumer->joined = false;
            log_warn("bus",
                     "group %s: row %lld of sluice.bus_member was deleted, by an operator or because this process had "
                     "not sent a heartbeat for %d s: it joins again",
                     consumer->group, (long long)atomic_load(&consumer->member), MEMBER_TTL_MS / 1000);
        } else if (kind == ROW_MADE) {
            log_warn("bus",
                     "group %s: partition %u has no position: its row of sluice.bus_lease was deleted; it is read like "
                     "that of a new group",
                     consumer->group, item);
        } else if (kind == ROW_GROUP) {
            peers = item > 1;
            soon = position.high == HIGH_SOON;
            share = epoch;
            *ret_newest = (int64_t)position.low;
            atomic_store(&consumer->bus->remote_readers, position.high != 0);
        } else if (item < partitions) {
            seen[item] = true;
            owned++;
            if (position_moved(consumer, item, epoch, position))
                consumer->param_partitions[(*ret_moved)++] = (int32_t)item;
            apply_partition(consumer, item, epoch, position, kind == ROW_EXCESS);
        }
    }
    for (uint32_t p = 0; seen != NULL && p < partitions; p++) {
        if (!seen[p])
            stream_lose(consumer, p);
        lost = lost || consumer->streams[p].state == STREAM_LOST;
    }
    free(seen);
    int64_t wait_ms = owned < share || soon ? HEARTBEAT_SOON_MS : peers ? HEARTBEAT_MS : HEARTBEAT_ALONE_MS;
    consumer->heartbeat_due_ms = !consumer->joined || lost ? now : now + wait_ms;
}

/* The streams whose position was moved: with the next heartbeat, which is due now, they are lost under their epoch and
 * assigned under a new one, at that position. If it fails, the next heartbeat finds them again. */
static void renew_epochs(struct bus_consumer *consumer, size_t count)
{
    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member);
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_INT8, &member),
                                   STORE_ARRAY(PARAM_INT4, consumer->param_partitions, count)};
    struct rows *rows;
    if (connection_once(consumer->connection, &statement_renew, 3, params, STATEMENT_MS, &rows, NULL) == STORE_OK)
        consumer->heartbeat_due_ms = clock_monotonic_ms();
}

int postgres_heartbeat(struct bus_consumer *consumer, struct error *error)
{
    enum store_result result = STORE_OK;
    if (FAILPOINT("bus.heartbeat") == FAILPOINT_ERROR) {
        consumer->heartbeat_due_ms = clock_monotonic_ms() + HEARTBEAT_SOON_MS;
        return 0;
    }
    if (!consumer->joined)
        result = postgres_join(consumer, error);
    if (result != STORE_OK)
        return postgres_back_off(consumer, result, error);

    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member), ttl_ms = MEMBER_TTL_MS, grace_ms = SESSION_GRACE_MS;
    struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &group),
        STORE_VALUE(PARAM_INT8, &member),
        STORE_VALUE(PARAM_INT8, &ttl_ms),
        STORE_VALUE(PARAM_INT8, &grace_ms),
    };
    struct rows *rows;
    result = connection_once(consumer->connection, &statement_heartbeat, 4, params, STATEMENT_MS, &rows, error);
    if (result != STORE_OK)
        return postgres_back_off(consumer, result, error);
    consumer->unreachable = false;
    consumer->retry_ms = 0;
    size_t moved;
    int64_t newest = consumer->newest_member;
    apply_assignment(consumer, rows, &moved, &newest);
    if (newest != consumer->newest_member && consumer->joined)
        result = postgres_learn_others(consumer, newest, error);
    if (result != STORE_OK)
        return postgres_back_off(consumer, result, error);
    if (moved > 0)
        renew_epochs(consumer, moved);
    else if (consumer->joined)
        result = postgres_advance(consumer, error);
    return result == STORE_OK ? 0 : postgres_back_off(consumer, result, error);
}

int postgres_revoked(struct bus_consumer *consumer, struct error *error)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++)
        if (consumer->streams[p].state == STREAM_REVOKING)
            consumer->param_partitions[count++] = (int32_t)p;
    if (count == 0)
        return 0;
    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member);
    struct store_param params[] = {STORE_VALUE(PARAM_TEXT, &group), STORE_VALUE(PARAM_INT8, &member),
                                   STORE_ARRAY(PARAM_INT4, consumer->param_partitions, count)};
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, &statement_release, 3, params, STATEMENT_MS, &rows,
                                               error);
    /* If it failed, the next heartbeat finds that the leases are still this member's: the engine gets the partitions
     * again with the same epoch, and they are revoked again. */
    for (size_t i = 0; i < count; i++)
        consumer->streams[consumer->param_partitions[i]].state = STREAM_NONE;
    consumer->heartbeat_due_ms = clock_monotonic_ms();
    if (result == STORE_OK || result == STORE_DOWN || result == STORE_TRANSIENT || result == STORE_UNKNOWN)
        return 0;
    error_prefix(error, "group \"%s\" cannot release partitions", consumer->group);
    return -EPROTO;
}
