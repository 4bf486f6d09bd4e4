/*
 * commit.c - committing the positions of the streams that a consumer reads. See postgres.h.
 */
#include "bus/postgres/postgres.h"

#include "base/failpoint.h"

#include <errno.h>

static const struct statement statement_commit = {
    .text = "update sluice.bus_lease l set high = c.high, low = c.low"
            " from unnest($3::int4[], $4::int4[], $5::int8[], $6::int8[]) c (partition, epoch, high, low)"
            " where l.consumer_group = $1 and l.partition = c.partition and l.member = $2 and l.epoch = c.epoch"
            " and (l.high, l.low) < (c.high, c.low) and current_setting('sluice.bus_reader', true) = $2::text"};

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
        consumer->param_partitions[param_count] = (int32_t)streams[i];
        consumer->param_epochs[param_count] = (int32_t)epochs[i];
        consumer->param_highs[param_count] = (int64_t)position.high;
        consumer->param_lows[param_count++] = (int64_t)position.low;
    }
    if (param_count == 0)
        return 0;
    struct span group = span_of(consumer->group);
    int64_t member = atomic_load(&consumer->member);
    struct store_param params[] = {
        STORE_VALUE(PARAM_TEXT, &group),
        STORE_VALUE(PARAM_INT8, &member),
        STORE_ARRAY(PARAM_INT4, consumer->param_partitions, param_count),
        STORE_ARRAY(PARAM_INT4, consumer->param_epochs, param_count),
        STORE_ARRAY(PARAM_INT8, consumer->param_highs, param_count),
        STORE_ARRAY(PARAM_INT8, consumer->param_lows, param_count),
    };
    struct rows *rows;
    enum store_result result = connection_once(consumer->connection, &statement_commit, 6, params, STATEMENT_MS, &rows,
                                               error);
    if (result != STORE_OK) {
        error_prefix(error, "group \"%s\" cannot commit its positions", consumer->group);
        return result == STORE_DEPLOY || result == STORE_DATA ? -EPROTO : -EAGAIN;
    }
    for (size_t i = 0; i < param_count; i++) {
        struct stream *stream = &consumer->streams[consumer->param_partitions[i]];
        stream->committed = (struct position){(uint64_t)consumer->param_highs[i], (uint64_t)consumer->param_lows[i]};
    }
    (void)FAILPOINT("bus.commit.after");
    return 0;
}
