/*
 * resume.c - see resume.h.
 */
#include "bus/kafka/resume.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "bus/kafka/commit.h"
#include "bus/kafka/consumer.h"
#include "bus/kafka/metadata.h"
#include "bus/kafka/offsets.h"
#include "bus/kafka/positions.h"
#include "bus/kafka/producer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------------- reports */

static void report_deleted(struct bus_consumer *consumer, struct kafka_stream *stream,
                           const struct kafka_offsets *offsets)
{
    struct error *fault = &consumer->health.fault;
    if (stream == NULL)
        return;
    stream->deleted_from = offsets->committed < 0 ? offsets->recorded : offsets->committed;
    stream->deleted_to = offsets->low;
    if (stream->halt_reported || fault->code != 0)
        return; /* one partition is reported at a time */
    stream->halt_reported = true;
    error_set(fault, ENODATA,
              "group %s stopped reading partition %d of %s: its next record is %lld, and the brokers have deleted "
              "everything below %lld (retention?)",
              consumer->group, (int)stream->partition, stream->topic, (long long)stream->deleted_from,
              (long long)stream->deleted_to);
    if (consumer->connection != NULL)
        error_hint(fault,
                   "to go on without them: select sluice.bus_skip('%s', '%s', %d, %lld) in the database of `store`",
                   consumer->group, stream->topic, (int)stream->partition, (long long)offsets->low);
    else
        error_hint(fault, "to go on without them: stop the group, set its offset to %lld, start it again",
                   (long long)offsets->low);
}

static void report_unknown_group(struct bus_consumer *consumer)
{
    if (consumer->unknown_group_reported)
        return;
    consumer->unknown_group_reported = true;
    log_warn("kafka",
             "group %s: Kafka has offsets of the group and the database has none: is it a new database, or another one "
             "than the group worked with? Records below the offsets are not read; to read them, stop the group and "
             "delete it in Kafka",
             consumer->group);
}

static void report_recreated(const struct bus_consumer *consumer, const rd_kafka_topic_partition_t *partition,
                             const struct kafka_offsets *offsets, int64_t offset)
{
    if (offsets->topic_recreated)
        log_warn("kafka",
                 "group %s: Kafka has deleted the offset of partition %d of %s: the topic was recreated; it is read "
                 "from its first record, %lld",
                 consumer->group, (int)partition->partition, partition->topic, (long long)offset);
    else
        log_warn("kafka",
                 "group %s: partition %d of %s ends at %lld, before the group's position: the topic was recreated or "
                 "truncated; it is read from its first record, %lld",
                 consumer->group, (int)partition->partition, partition->topic, (long long)offsets->high,
                 (long long)offset);
}

static void report(struct bus_consumer *consumer, const rd_kafka_topic_partition_t *partition,
                   struct kafka_stream *stream, enum kafka_start start, const struct kafka_offsets *offsets,
                   int64_t offset)
{
    const char *group = consumer->group, *topic = partition->topic;
    int number = (int)partition->partition;
    switch (start) {
    case KAFKA_START_NEW:
        break;
    case KAFKA_START_CONTINUE:
        if (consumer->connection != NULL && offsets->recorded < 0)
            report_unknown_group(consumer);
        break;
    case KAFKA_START_STORE_ONLY:
        log_warn("kafka",
                 "group %s: Kafka has no offset for partition %d of %s; reading goes on at %lld, the position in the "
                 "database",
                 group, number, topic, (long long)offset);
        break;
    case KAFKA_START_STORE_BEHIND:
        log_warn("kafka",
                 "group %s: partition %d of %s is committed up to %lld in Kafka, but the database says that only what "
                 "is below %lld is done (the database was restored, or the offset was moved); it is read from there",
                 group, number, topic, (long long)offsets->committed, (long long)offsets->recorded);
        break;
    case KAFKA_START_RECREATED:
        report_recreated(consumer, partition, offsets, offset);
        break;
    case KAFKA_START_DELETED:
        report_deleted(consumer, stream, offsets);
        break;
    }
}

/* ------------------------------------------------------------------------------------------------- recreated topics */

/* Deletes the positions of the old topic in the store, then writes the first offset of the new one to the store and to
 * Kafka. */
static int replace_positions(struct bus_consumer *consumer, const rd_kafka_topic_partition_t *partition, int64_t offset,
                             struct error *error)
{
    rd_kafka_topic_partition_list_t *first = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(first, partition->topic, partition->partition)->offset = offset;
    int code = kafka_positions_delete(consumer, partition->topic, partition->partition, error);
    if (code == 0)
        code = kafka_positions_save(consumer, first, error);
    if (code == 0)
        code = kafka_commit_overwrite(consumer, first, error);
    rd_kafka_topic_partition_list_destroy(first);
    return code;
}

/* Whether to believe what the brokers say of the group's offset. */
static enum kafka_answer weigh(struct bus_consumer *consumer, struct kafka_stream *stream,
                               struct kafka_offsets *offsets)
{
    bool doubted = stream->no_offset_ms != 0;
    if (FAILPOINT("bus.offset.lost") == FAILPOINT_ERROR)
        offsets->committed = -1;
    enum kafka_answer answer = kafka_start_weigh(offsets->committed, stream->had_committed_offset, clock_monotonic_ms(),
                                                 &stream->no_offset_ms);
    if (answer == KAFKA_ANSWER_DOUBTED && !doubted)
        log_info("kafka",
                 "group %s: Kafka says that it has no offset of partition %d of %s, and it had one; it is asked again "
                 "before the topic counts as recreated",
                 consumer->group, (int)stream->partition, stream->topic);
    return answer;
}

/* Whether the stream's positions are of a topic that was deleted.
 *
 * A group that has members loses a committed offset only together with the topic. Then:
 *   1. this partition had an offset and has none now, so its topic was recreated. One answer does not show it: a broker
 *      that has just become the group's may not know all of it yet, and everything would be read again;
 *   2. the topic's other partitions were recreated with it. Where one of them is longer than it was before, the brokers
 *      report no offset out of range, and reading would go on in its middle;
 *   3. so those that are read are marked here, lost to the engine, and read from their first record like this one. */
static bool was_recreated(struct bus_consumer *consumer, struct kafka_stream *stream,
                          const struct kafka_offsets *offsets, bool offset_deleted)
{
    struct kafka_streams *streams = &consumer->streams;
    for (size_t i = 0; offset_deleted && !stream->topic_recreated && i < streams->count; i++) {
        struct kafka_stream *other = &streams->list[i];
        if (other->state == KAFKA_STREAM_READING && strcmp(other->topic, stream->topic) == 0)
            other->offset_out_of_range = other->topic_recreated = streams->any_offset_out_of_range = true;
    }
    if (!offset_deleted)
        stream->had_committed_offset = offsets->committed >= 0;
    return offset_deleted || stream->topic_recreated;
}

/* --------------------------------------------------------------------------------------------------------- resuming */

/* Those of `list` that a broker can be asked about, and no_leader of their streams. NULL with a sentence: not known. */
static rd_kafka_topic_partition_list_t *
partitions_with_leader(struct bus_consumer *consumer, const rd_kafka_topic_partition_list_t *list, struct error *error)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t err = rd_kafka_metadata(consumer->rk, 0, NULL, &metadata, KAFKA_REQUEST_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kafka_error(error, err, "the leaders of partitions cannot be read");
        return NULL;
    }
    rd_kafka_topic_partition_list_t *led = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *partition = &list->elems[i];
        struct kafka_stream *stream = kafka_stream_find(&consumer->streams, partition->topic, partition->partition);
        bool has_leader = kafka_metadata_has_leader(metadata, partition->topic, partition->partition);
        if (stream != NULL)
            stream->no_leader = !has_leader;
        if (has_leader)
            rd_kafka_topic_partition_list_add(led, partition->topic, partition->partition);
        else
            log_rarely(10000, LOG_WARN, "kafka",
                       "group %s: partition %d of %s has no leader; it is read when it has one", consumer->group,
                       (int)partition->partition, partition->topic);
    }
    rd_kafka_metadata_destroy(metadata);
    return led;
}

static int start_partition(struct bus_consumer *consumer, rd_kafka_topic_partition_t *partition,
                           struct kafka_offsets *offsets, struct error *error)
{
    struct kafka_stream *stream = kafka_stream_find(&consumer->streams, partition->topic, partition->partition);
    int64_t offset = 0;
    enum kafka_answer answer = stream == NULL ? KAFKA_ANSWER_TAKEN : weigh(consumer, stream, offsets);
    int code = 0;
    if (answer == KAFKA_ANSWER_DOUBTED && !stream->topic_recreated) {
        partition->offset = RD_KAFKA_OFFSET_INVALID;
        return 0;
    }
    if (stream != NULL)
        offsets->topic_recreated = was_recreated(consumer, stream, offsets, answer == KAFKA_ANSWER_CONFIRMED);
    enum kafka_start start = kafka_start_decide(offsets, &offset);
    report(consumer, partition, stream, start, offsets, offset);
    if (stream != NULL)
        stream->offset_commit_pending = start == KAFKA_START_STORE_ONLY || start == KAFKA_START_NEW;
    if (stream != NULL)
        stream->behind = offsets->high > offset;
    if (start == KAFKA_START_RECREATED)
        code = replace_positions(consumer, partition, offset, error);
    partition->offset = start == KAFKA_START_DELETED ? RD_KAFKA_OFFSET_INVALID : offset;
    return code;
}

/* kafka_resume() of partitions that all have leaders. */
static int start_with_leader(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct error *error)
{
    struct kafka_offsets *offsets = calloc((size_t)list->cnt + 1, sizeof *offsets);
    if (offsets == NULL)
        return error_set(error, ENOMEM, "out of memory");
    int code = list->cnt == 0 ? 0 : kafka_offsets_ask(consumer->rk, list, KAFKA_REQUEST_MS, offsets, error);
    /* A position may be behind where a transaction is open: an operator or another reader put it there. */
    if (code == 0 && list->cnt > 0)
        code = kafka_producer_ends(consumer->bus, list, KAFKA_REQUEST_MS, offsets, error);
    if (code == 0 && list->cnt > 0)
        code = kafka_positions_load(consumer, list, offsets, error);
    for (int i = 0; i < list->cnt && code == 0; i++)
        code = start_partition(consumer, &list->elems[i], &offsets[i], error);
    free(offsets);
    return code;
}

int kafka_resume(struct bus_consumer *consumer, rd_kafka_topic_partition_list_t *list, struct error *error)
{
    rd_kafka_topic_partition_list_t *led = partitions_with_leader(consumer, list, error);
    int code = led == NULL ? -EAGAIN : start_with_leader(consumer, led, error);
    for (int i = 0; code == 0 && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *known = rd_kafka_topic_partition_list_find(led, list->elems[i].topic,
                                                                                     list->elems[i].partition);
        list->elems[i].offset = known == NULL ? RD_KAFKA_OFFSET_INVALID : known->offset;
    }
    if (led != NULL)
        rd_kafka_topic_partition_list_destroy(led);
    return code;
}
