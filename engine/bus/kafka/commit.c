/*
 * commit.c - see commit.h.
 */
#include "bus/kafka/commit.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/positions.h"

#include <errno.h>

enum { COMMIT_INTERVAL_MS = 500, COMMIT_WAIT_MS = 3000 };

void kafka_commit_on_answer(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                            void *opaque)
{
    struct bus_consumer *consumer = opaque;
    (void)rk;
    for (int i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && i < list->cnt; i++) {
        struct kafka_stream *stream = kafka_stream_find(&consumer->streams, list->elems[i].topic,
                                                        list->elems[i].partition);
        err = list->elems[i].err;
        if (stream != NULL && err == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[i].offset >= 0)
            stream->had_committed_offset = true;
    }
    consumer->commits.in_flight = false;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && err != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        consumer->commits.wanted = true; /* what is stored goes with the next request */
        log_rarely(10000, LOG_WARN, "kafka", "group %s: an offset commit failed and is repeated: %s", consumer->group,
                   rd_kafka_err2str(err));
    }
}

void kafka_commit_stored(struct bus_consumer *consumer)
{
    struct kafka_commits *commits = &consumer->commits;
    if (!commits->wanted || commits->in_flight || consumer->assignment.change != KAFKA_CHANGE_NONE ||
        clock_monotonic_ms() < commits->next_ms)
        return;
    commits->wanted = false;
    commits->next_ms = clock_monotonic_ms() + COMMIT_INTERVAL_MS;
    commits->in_flight = rd_kafka_commit(consumer->rk, NULL, 1) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

void kafka_commit_wait(struct bus_consumer *consumer)
{
    struct kafka_commits *commits = &consumer->commits;
    if (!commits->wanted && !commits->in_flight)
        return;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    /* Also when one is in flight: its answer comes on another queue, which nobody serves here, and committing the same
     * offsets twice does no harm. */
    commits->in_flight = true;
    commits->wanted = false;
    if (rd_kafka_commit_queue(consumer->rk, NULL, queue, kafka_commit_on_answer, consumer) ==
        RD_KAFKA_RESP_ERR_NO_ERROR)
        for (int64_t until = clock_monotonic_ms() + COMMIT_WAIT_MS; commits->in_flight && clock_monotonic_ms() < until;)
            (void)rd_kafka_queue_poll_callback(queue, 50);
    commits->in_flight = false;
    rd_kafka_queue_destroy(queue);
}

void kafka_commit_pending(struct bus_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < consumer->streams.count; i++) {
        struct kafka_stream *stream = &consumer->streams.list[i];
        if (stream->state == KAFKA_STREAM_READING && stream->offset_commit_pending)
            rd_kafka_topic_partition_list_add(list, stream->topic, stream->partition)->offset = stream->next;
        stream->offset_commit_pending = false;
    }
    struct error error;
    if (list->cnt > 0 && kafka_positions_save(consumer, list, &error) == 0) { /* else the next record's commit does */
        (void)rd_kafka_offsets_store(consumer->rk, list);
        consumer->commits.wanted = true;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void on_overwrite_answer(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                                void *opaque)
{
    (void)rk;
    for (int i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && list != NULL && i < list->cnt; i++)
        err = list->elems[i].err;
    ((struct bus_consumer *)opaque)->commits.overwrite = err;
}

int kafka_commit_overwrite(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list,
                           struct error *error)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    struct kafka_commits *commits = &consumer->commits;
    commits->overwrite = RD_KAFKA_RESP_ERR__IN_PROGRESS;
    rd_kafka_resp_err_t err = rd_kafka_commit_queue(consumer->rk, list, queue, on_overwrite_answer, consumer);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        int64_t until = clock_monotonic_ms() + COMMIT_WAIT_MS;
        while (commits->overwrite == RD_KAFKA_RESP_ERR__IN_PROGRESS && clock_monotonic_ms() < until)
            (void)rd_kafka_queue_poll_callback(queue, 50);
        err = commits->overwrite;
    }
    rd_kafka_queue_destroy(queue);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : kafka_error(error, err, "the first offset of a recreated topic cannot be committed");
}

int kafka_commit(struct bus_consumer *consumer, size_t count, const uint32_t *streams, const uint32_t *epochs,
                 const struct position *positions, struct error *error)
{
    if (FAILPOINT("bus.commit.before") == FAILPOINT_ERROR)
        return error_set(error, EIO, "committing failed on purpose (failpoint bus.commit.before)");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        if (streams[i] >= consumer->streams.count)
            continue;
        const struct kafka_stream *stream = &consumer->streams.list[streams[i]];
        if (stream->state == KAFKA_STREAM_UNASSIGNED || stream->topic_deleted || stream->epoch != epochs[i])
            continue;
        int64_t next = (int64_t)positions[i].high + 1;
        rd_kafka_topic_partition_list_add(list, stream->topic, stream->partition)->offset = next;
    }
    int code = list->cnt > 0 && !rd_kafka_assignment_lost(consumer->rk) ? kafka_positions_save(consumer, list, error)
                                                                        : 0;
    if (code == 0 && list->cnt > 0) {
        (void)rd_kafka_offsets_store(consumer->rk, list); /* refuses partitions that are not assigned any more */
        consumer->commits.wanted = true;
        consumer->commits.next_ms = 0;
        kafka_commit_stored(consumer);
    }
    rd_kafka_topic_partition_list_destroy(list);
    (void)FAILPOINT("bus.commit.after");
    return code;
}
