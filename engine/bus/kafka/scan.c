/*
 * scan.c - see scan.h.
 */
#include "bus/kafka/scan.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus/chunk.h"
#include "bus/kafka/client.h"
#include "bus/kafka/fetch.h"
#include "bus/kafka/kafka.h"
#include "bus/kafka/metadata.h"
#include "bus/kafka/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCAN_POLL_MS = 100,
    SCAN_STALLED_MS = 10000, /* so long nothing has come, and partitions are not at their end */
    SCAN_MERGED_MAX = 10000, /* records that wait to be merged */
    SCAN_SETTLED_MS = 5000,  /* the longest wait for transactions that are open */
};

struct scan {
    struct kafka_bus *bus;
    rd_kafka_t *rk;
    struct kafka_reason reason;
    struct kafka_fetch fetch;
    rd_kafka_topic_partition_list_t *list; /* of all partitions */
    struct reading {                       /* of each */
        int64_t end;                       /* where it ended when its first message came; 0: not known yet */
        bool ended;                        /* read up to there, or to its end */
        bool waits;                        /* read up to a transaction that is open, and there is more behind it */
    } * reading;
    size_t ended_count;
    size_t leaderless; /* partitions that are left out */
    char first_leaderless[280];
    int last;                     /* index in the list: of the last message */
    int64_t began_ms, settled_ms; /* transactions that are open are waited for until then; 0: are not */
    struct span contains;
    bool (*each)(const struct record *record, int32_t partition, struct position position, void *context);
    void *context;
    /* what was read and not delivered, while partitions are merged: */
    struct waiting {
        rd_kafka_message_t *message;
        int64_t time, number;
    } * waiting;
    size_t waiting_count, waiting_size;
    int64_t numbered; /* messages of equal time are delivered as they came */
    bool exact;       /* all are */
};

static int waiting_compare(const void *left, const void *right)
{
    const struct waiting *a = left, *b = right;
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool scan_has(const struct scan *scan, const char *topic)
{
    for (int i = 0; i < scan->list->cnt; i++)
        if (strcmp(scan->list->elems[i].topic, topic) == 0)
            return true;
    return false;
}

/* All partitions of the topics, each from its first record. */
static int scan_partitions(struct scan *scan, const char *const *topics, size_t topic_count, bool follow,
                           struct error *error)
{
    const struct rd_kafka_metadata *metadata;
    int code = kafka_metadata(scan->rk, &scan->reason, &metadata, error);
    if (code != 0)
        return code;
    rd_kafka_topic_partition_list_t *names = kafka_options_topics(&scan->bus->options, topics, topic_count, true);
    for (int t = 0; t < metadata->topic_cnt; t++) {
        const rd_kafka_metadata_topic_t *topic = &metadata->topics[t];
        if (rd_kafka_topic_partition_list_find(names, topic->topic, RD_KAFKA_PARTITION_UA) == NULL)
            continue;
        for (int p = 0; p < topic->partition_cnt; p++) {
            if (!follow && topic->partitions[p].leader < 0) { /* nothing of it can be read, and nobody waits for it */
                if (scan->leaderless++ == 0)
                    snprintf(scan->first_leaderless, sizeof scan->first_leaderless, "%d of %.249s",
                             topic->partitions[p].id, topic->topic);
                continue;
            }
            rd_kafka_topic_partition_list_add(scan->list, topic->topic, topic->partitions[p].id)->offset =
                RD_KAFKA_OFFSET_BEGINNING;
        }
    }
    rd_kafka_topic_partition_list_destroy(names);
    rd_kafka_metadata_destroy(metadata);
    for (size_t t = 0; t < topic_count; t++)
        if (topics[t][0] != '\0' && topics[t][strlen(topics[t]) - 1] != '*' && !scan_has(scan, topics[t]) &&
            scan->leaderless == 0) {
            error_set(error, ENOENT, "the brokers have no topic %s", topics[t]);
            return error_hint(error, "`sluice migrate CONFIG` makes what is missing");
        }
    scan->reading = calloc((size_t)scan->list->cnt + 1, sizeof *scan->reading);
    if (scan->reading == NULL)
        return error_set(error, ENOMEM, "out of memory");
    rd_kafka_resp_err_t err = rd_kafka_assign(scan->rk, scan->list);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : kafka_error(error, err, "the topics cannot be read");
}

/* Of the message's partition in the list; they come in runs. -1: of none, an error of a whole topic. */
static int scan_index(struct scan *scan, const rd_kafka_message_t *message)
{
    const char *topic = rd_kafka_topic_name(message->rkt);
    for (int n = 0; n < scan->list->cnt; n++) {
        int i = (scan->last + n) % scan->list->cnt;
        if (scan->list->elems[i].partition == message->partition && strcmp(scan->list->elems[i].topic, topic) == 0)
            return scan->last = i;
    }
    return -1;
}

/* What is behind a transaction that is open is there, and no reader sees it: it ends for them before its end, also when
 * they ask again. */
static void report_open(const struct scan *scan, const char *topic, int32_t partition, int64_t end)
{
    int64_t low, high = 0, stable = 0;
    if (rd_kafka_get_watermark_offsets(scan->rk, topic, partition, &low, &high) != 0 || high <= end ||
        rd_kafka_query_watermark_offsets(scan->rk, topic, partition, &low, &stable, KAFKA_REQUEST_MS) != 0 ||
        stable >= high)
        return;
    log_warn("kafka", "partition %d of %s: %lld records are not shown, for a producer's transaction is open at %lld",
             (int)partition, topic, (long long)(high - stable), (long long)stable);
}

static void scan_end(struct scan *scan, int index)
{
    scan->ended_count += !scan->reading[index].ended;
    scan->reading[index].ended = true;
}

static void scan_ended(struct scan *scan, const rd_kafka_message_t *message)
{
    int index = scan_index(scan, message);
    if (index < 0)
        return;
    struct reading *reading = &scan->reading[index];
    bool at_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    reading->waits = at_end && !reading->ended && scan->settled_ms != 0 && message->offset < reading->end;
    if (reading->waits)
        return;
    if (at_end && !reading->ended)
        report_open(scan, rd_kafka_topic_name(message->rkt), message->partition, message->offset);
    scan_end(scan, index);
}

/* A message of a partition has come. The end is that of the beginning: on a busy one, another comes before the reader
 * hears of an end. */
static void scan_came(struct scan *scan, int index, const rd_kafka_message_t *message)
{
    struct reading *reading = &scan->reading[index];
    int64_t low, high = 0;
    if (reading->end == 0 && rd_kafka_get_watermark_offsets(scan->rk, rd_kafka_topic_name(message->rkt),
                                                            message->partition, &low, &high) == 0)
        reading->end = high > 0 ? high : 0;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && reading->end > 0 && message->offset + 1 >= reading->end)
        scan_end(scan, index);
}

/* The transactions that are still open have been waited for long enough. */
static void scan_settle(struct scan *scan)
{
    scan->settled_ms = 0;
    for (int i = 0; i < scan->list->cnt; i++) {
        if (scan->reading[i].ended || !scan->reading[i].waits)
            continue;
        report_open(scan, scan->list->elems[i].topic, scan->list->elems[i].partition, 0);
        scan_end(scan, i);
    }
}

/* An error in place of a message. The leader of a partition of a new topic may not know it yet; after a while nothing
 * is awaited of it. */
static void scan_error(struct scan *scan, const rd_kafka_message_t *message)
{
    bool unknown = message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                   message->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
                   message->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    if (unknown && clock_monotonic_ms() < scan->began_ms + KAFKA_REQUEST_MS)
        return;
    if (message->rkt != NULL && (unknown || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF))
        scan_ended(scan, message);
    if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        log_rarely(5000, LOG_WARN, "kafka", "reading topics: %s", rd_kafka_message_errstr(message));
}

static bool scan_wanted(const struct scan *scan, const rd_kafka_message_t *message)
{
    return scan->contains.length == 0 ||
           (message->len >= scan->contains.length &&
            memmem(message->payload, message->len, scan->contains.at, scan->contains.length) != NULL);
}

/* False: the caller wants no more. Destroys the message. */
static bool scan_deliver(struct scan *scan, rd_kafka_message_t *message)
{
    size_t count = kafka_record_header_count(message);
    struct header *headers = calloc(count + 1, sizeof *headers);
    struct record record;
    bool more = headers != NULL;
    if (more) {
        kafka_record_of(message, headers, &record);
        more = scan->each(&record, message->partition, (struct position){(uint64_t)message->offset, 0}, scan->context);
    }
    free(headers);
    rd_kafka_message_destroy(message);
    return more;
}

/* Keeps the message for later. False: out of memory, it is destroyed. */
static bool scan_merge(struct scan *scan, rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t kind;
    if (scan->waiting_count == scan->waiting_size) {
        size_t size = scan->waiting_size == 0 ? 1024 : 2 * scan->waiting_size;
        struct waiting *grown = reallocarray(scan->waiting, size, sizeof *grown);
        if (grown == NULL) {
            rd_kafka_message_destroy(message);
            return false;
        }
        scan->waiting = grown;
        scan->waiting_size = size;
    }
    scan->waiting[scan->waiting_count++] = (struct waiting){
        message, scan->exact ? 0 : rd_kafka_message_timestamp(message, &kind), scan->numbered++};
    return true;
}

/* The `count` oldest of what waits, in order of time. False: the caller wants no more. */
static bool scan_deliver_oldest(struct scan *scan, size_t count)
{
    bool more = true;
    qsort(scan->waiting, scan->waiting_count, sizeof *scan->waiting, waiting_compare);
    for (size_t i = 0; i < count; i++) {
        if (more)
            more = scan_deliver(scan, scan->waiting[i].message);
        else
            rd_kafka_message_destroy(scan->waiting[i].message);
    }
    memmove(scan->waiting, scan->waiting + count, (scan->waiting_count - count) * sizeof *scan->waiting);
    scan->waiting_count -= count;
    return more;
}

/* Nothing has come for long, and not every partition was read up to its end. */
static int scan_stalled_error(const struct scan *scan, struct error *error)
{
    int i = 0;
    while (i + 1 < scan->list->cnt && scan->reading[i].ended)
        i++;
    return error_set(
        error, EAGAIN,
        "%zu of %d partitions are not read to their end, and nothing comes any more: the first is %d of %s%s%s",
        (size_t)scan->list->cnt - scan->ended_count, scan->list->cnt, (int)scan->list->elems[i].partition,
        scan->list->elems[i].topic, scan->reason.text[0] == '\0' ? "" : "; ", scan->reason.text);
}

static int scan_run(struct scan *scan, const struct bus_scan *wanted, struct error *error)
{
    const bool follow = wanted->follow;
    bool more = scan->list->cnt > 0, merging = true;
    int code = 0;
    for (int64_t progress_ms = clock_monotonic_ms(); more && !scan_stopped(wanted);) {
        if (scan->settled_ms != 0 && clock_monotonic_ms() >= scan->settled_ms)
            scan_settle(scan);
        if (scan->ended_count == (size_t)scan->list->cnt)
            merging = false;
        if (merging && clock_monotonic_ms() > progress_ms + SCAN_STALLED_MS) {
            merging = false;
            code = scan_stalled_error(scan, error);
            if (follow)
                log_warn("kafka", "%s", error->text);
        }
        if (!merging && scan->waiting_count > 0 && !scan_deliver_oldest(scan, scan->waiting_count))
            return 0;
        if (!merging && !follow)
            return code;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(scan->rk, SCAN_POLL_MS);
        if (message == NULL)
            continue;
        int index = merging && message->rkt != NULL ? scan_index(scan, message) : -1;
        if (index >= 0 && !scan->reading[index].ended)
            progress_ms = clock_monotonic_ms(); /* new records behind the end are no progress */
        if (index >= 0)
            scan_came(scan, index, message);
        kafka_fetch_took(&scan->fetch, scan->rk, message);
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && scan_wanted(scan, message)) {
            if (!merging)
                more = scan_deliver(scan, message);
            else if (!scan_merge(scan, message))
                return error_set(error, ENOMEM, "out of memory while reading topics");
            else if (scan->waiting_count >= SCAN_MERGED_MAX)
                more = scan_deliver_oldest(scan, scan->waiting_count / 2);
            continue;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            scan_error(scan, message);
        rd_kafka_message_destroy(message);
    }
    return 0;
}

int kafka_scan(struct bus *head, const struct bus_scan *wanted, struct error *error)
{
    struct scan scan = {.bus = (struct kafka_bus *)head,
                        .contains = wanted->contains,
                        .each = wanted->each,
                        .context = wanted->context,
                        .began_ms = clock_monotonic_ms()};
    scan.exact = wanted->exact;
    scan.settled_ms = wanted->exact ? scan.began_ms + SCAN_SETTLED_MS : 0;
    scan.rk = kafka_client_scanner(&scan.bus->options, &scan.reason, error);
    if (scan.rk == NULL)
        return -EINVAL;
    kafka_fetch_init(&scan.fetch, scan.rk);
    scan.list = rd_kafka_topic_partition_list_new(64);
    int code = scan_partitions(&scan, wanted->topics, wanted->topic_count, wanted->follow, error);
    if (code == 0)
        code = scan_run(&scan, wanted, error);
    if (code == 0 && scan.leaderless > 0)
        code = error_set(error, EAGAIN, "%zu of %zu partitions are not read since they have no leader: the first is %s",
                         scan.leaderless, (size_t)scan.list->cnt + scan.leaderless, scan.first_leaderless);
    for (size_t i = 0; i < scan.waiting_count; i++)
        rd_kafka_message_destroy(scan.waiting[i].message);
    free(scan.waiting);
    free(scan.reading);
    rd_kafka_topic_partition_list_destroy(scan.list);
    kafka_client_end(scan.rk);
    return code;
}
