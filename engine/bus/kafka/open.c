/*
 * open.c - see open.h.
 */
#include "bus/kafka/open.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/kafka/consumer.h"

enum { OPEN_LOOK_MS = 1000, OPEN_LONG_MS = 10000, OPEN_WAIT_MS = 500, OPEN_REPORT_MS = 10 * 60 * 1000 };

/* How long it is read up to its end, and the partition goes on behind that. *ret_behind: by so many offsets. */
static int64_t open_ms(const struct bus_consumer *consumer, struct kafka_stream *stream, int64_t now_ms,
                       int64_t *ret_behind)
{
    int64_t low = 0, high = 0;
    if (stream->state != KAFKA_STREAM_READING || !stream->at_end ||
        rd_kafka_get_watermark_offsets(consumer->rk, stream->topic, stream->partition, &low, &high) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        high <= stream->next) {
        stream->open_since_ms = 0;
        return 0;
    }
    if (stream->open_since_ms == 0 || stream->open_at != stream->next)
        stream->open_since_ms = now_ms;
    stream->open_at = stream->next;
    *ret_behind = high - stream->next;
    return now_ms - stream->open_since_ms;
}

/* Whether it still ends there for readers of committed records: what is fetched and not taken, because the group is
 * paused, is behind that, too. */
static bool ends_here(const struct bus_consumer *consumer, const struct kafka_stream *stream)
{
    int64_t low, stable = 0;
    return rd_kafka_query_watermark_offsets(consumer->rk, stream->topic, stream->partition, &low, &stable,
                                            OPEN_WAIT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           stable <= stream->next;
}

void kafka_open_check(struct bus_consumer *consumer)
{
    struct kafka_open *open = &consumer->open;
    int64_t now_ms = clock_monotonic_ms(), longest_ms = 0, behind = 0;
    struct kafka_stream *longest = NULL;
    if (now_ms < open->look_ms)
        return;
    open->look_ms = now_ms + OPEN_LOOK_MS;
    for (size_t i = 0; i < consumer->streams.count; i++) {
        int64_t of_this = 0, waited_ms = open_ms(consumer, &consumer->streams.list[i], now_ms, &of_this);
        if (waited_ms <= longest_ms)
            continue;
        longest = &consumer->streams.list[i];
        longest_ms = waited_ms;
        behind = of_this;
    }
    if (longest_ms < OPEN_LONG_MS || now_ms < open->report_ms)
        return;
    if (!ends_here(consumer, longest)) {
        longest->open_since_ms = 0;
        return;
    }
    open->report_ms = now_ms + OPEN_REPORT_MS;
    log_warn(
        "kafka",
        "group %s: partition %d of %s is read up to %lld, where a producer's transaction has been open for %lld s; "
        "the %lld records behind it are read when it has ended. If it never does: kafka-transactions.sh "
        "find-hanging, and abort",
        consumer->group, (int)longest->partition, longest->topic, (long long)longest->next,
        (long long)longest_ms / 1000, (long long)behind);
}
