/*
 * commit.c - committing the positions of the streams that a consumer reads. See postgres.h.
 *
 * A lease that has another position than this consumer committed last was changed by an operator: it stays as it is,
 * and the next heartbeat finds it.
 */
#include "bus/postgres/postgres.h"

#include "base/failpoint.h"

#include <errno.h>

static const struct statement statement_commit = {
    .text = "update sluice.bus_lease l set high = c.high, low = c.low"
            " from unnest($3::int4[], $4::int4[], $5::int8[], $6::int8[], $7::int8[], $8::int8[])"
            "  c (partition, epoch, old_high, old_low, high, low)"
            " where l.consumer_group = $1 and l.partition = c.partition and l.member = $2 and l.epoch = c.epoch"
            " and (l.high, l.low) = (c.old_high, c.old_low) and current_setting('sluice.bus_reader', true) = $2::text"};

enum { ADVANCE_XIDS = 1024 }; /* positions of an idle group follow the horizon in steps of this */

/* A position becomes parameters. */
static void list_position(struct bus_consumer *consumer, size_t at, uint32_t p, struct position position)
{
    const struct stream *stream = &consumer->streams[p];
    consumer->param_partitions[at] = (int32_t)p;
    consumer->param_epochs[at] = (int32_t)stream->epoch;
    consumer->param_old_highs[at] = (int64_t)stream->committed.high;
    consumer->param_old_lows[at] = (int64_t)stream->committed.low;
    consumer->param_highs[at] = (int64_t)position.high;
    consumer->param_lows[at] = (int64_t)position.low;
}

static enum store_result commit_listed(struct bus_consumer *consumer, size_t count, struct error *error)
{
    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member);
    struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &group),
        STORE_VALUE(PARAM_INT8, &member),
        STORE_ARRAY(PARAM_INT4, consumer->param_partitions, count),
        STORE_ARRAY(PARAM_INT4, consumer->param_epochs, count),
        STORE_ARRAY(PARAM_INT8, consumer->param_old_highs, count),
        STORE_ARRAY(PARAM_INT8, consumer->param_old_lows, count),
        STORE_ARRAY(PARAM_INT8, consumer->param_highs, count),
        STORE_ARRAY(PARAM_INT8, consumer->param_lows, count),
    };
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, &statement_commit, 8, params, STATEMENT_MS, &rows,
                                               error);
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        struct stream *stream = &consumer->streams[consumer->param_partitions[i]];
        stream->committed = (struct position){(uint64_t)consumer->param_highs[i], (uint64_t)consumer->param_lows[i]};
    }
    return result;
}

int postgres_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                    const struct position *positions, struct error *error)
{
    if (FAILPOINT("bus.commit.before") == FAILPOINT_ERROR)
        return error_set(error, EAGAIN, "committing failed on purpose (failpoint bus.commit.before)");
    size_t param_count = 0;
    for (size_t i = 0; i < count && param_count < consumer->bus->partition_count; i++) {
        if (streams[i] >= consumer->bus->partition_count)
            continue;
        const struct stream *stream = &consumer->streams[streams[i]];
        if (!stream_owned(stream) || stream->epoch != epochs[i] ||
            position_compare(positions[i], stream->committed) <= 0)
            continue;
        /* The last record that was queued is complete: so is what was read past it, which is of other topics. */
        struct position position = positions[i];
        if (position_compare(position, stream->queued) >= 0 && position_compare(stream->cursor, position) > 0)
            position = stream->cursor;
        list_position(consumer, param_count++, streams[i], position);
    }
    if (param_count == 0)
        return 0;
    enum store_result result = commit_listed(consumer, param_count, error);
    if (result != STORE_OK) {
        error_prefix(error, "group \"%s\" cannot commit its positions", consumer->group);
        return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
    }
    (void)FAILPOINT("bus.commit.after");
    return 0;
}

enum store_result postgres_advance(struct bus_consumer *consumer, struct error *error)
{
    size_t count = 0;
    for (uint32_t p = 0; p < consumer->bus->partition_count; p++) {
        const struct stream *stream = &consumer->streams[p];
        if (stream->state != STREAM_ASSIGNED || position_compare(stream->committed, stream->queued) < 0 ||
            position_compare(stream->cursor, stream->committed) <= 0)
            continue;
        if (stream->other_topics || stream->cursor.high - stream->committed.high >= ADVANCE_XIDS)
            list_position(consumer, count++, p, stream->cursor);
    }
    enum store_result result = count == 0 ? STORE_OK : commit_listed(consumer, count, error);
    for (size_t i = 0; result == STORE_OK && i < count; i++)
        consumer->streams[consumer->param_partitions[i]].other_topics = false;
    return result;
}
