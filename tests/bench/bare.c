/*
 * bare.c - events through librdkafka without an engine: consumer_poll → producev, acks=all, idempotent, at least once.
 *
 *     bare BROKERS GROUP IN OUT COUNT BATCH DEPTH [name=value ...]
 *
 * One consumer, one producer, one thread. Records go on with their key and value, and two headers as an engine adds
 * them. At most DEPTH batches of BATCH are on their way; offsets of a batch are stored when each of its records has
 * its delivery report, and committed every 200 ms. Prints events a second, from the assignment to the last report,
 * and the CPU milliseconds of an event.
 */
#include "client.h"

#include <sys/resource.h>

enum { DEPTH_MAX = 64, COMMIT_NS = 200000000, GIVE_UP_S = 30 };

struct batch {
    struct client_batch sent;
    rd_kafka_message_t **messages;
    size_t count;
};

static void finish(rd_kafka_t *consumer, rd_kafka_t *producer, struct batch *batch)
{
    client_await(producer, &batch->sent);
    if (batch->count == 0)
        return;
    rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(16);
    for (size_t i = 0; i < batch->count; i++) {
        const rd_kafka_message_t *message = batch->messages[i];
        const char *topic = rd_kafka_topic_name(message->rkt);
        rd_kafka_topic_partition_t *place = offsets->cnt > 0 &&
                                                    offsets->elems[offsets->cnt - 1].partition == message->partition
                                                ? &offsets->elems[offsets->cnt - 1]
                                                : rd_kafka_topic_partition_list_find(offsets, topic,
                                                                                     message->partition);
        if (place == NULL)
            place = rd_kafka_topic_partition_list_add(offsets, topic, message->partition);
        place->offset = message->offset + 1;
    }
    rd_kafka_offsets_store(consumer, offsets);
    rd_kafka_topic_partition_list_destroy(offsets);
    for (size_t i = 0; i < batch->count; i++)
        rd_kafka_message_destroy(batch->messages[i]);
    batch->count = 0;
}

static void pass(rd_kafka_t *producer, rd_kafka_topic_t *out, const rd_kafka_message_t *message, struct batch *batch)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
    rd_kafka_header_add(headers, "sluice-hops", 11, "1", 1);
    rd_kafka_header_add(headers, "sluice-parent", 13, "00000000-0000-4000-8000-000000000000", 36);
    client_send(producer, out, message->key, message->key_len, message->payload, message->len,
                rd_kafka_message_timestamp(message, NULL), headers, &batch->sent);
}

static void subscribe(rd_kafka_t *consumer, const char *topic)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(consumer, list);
    int64_t until = client_now_ns() + GIVE_UP_S * 1000000000LL;
    /* nothing is fetched before it is assigned */
    for (int assigned = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && assigned == 0;) {
        rd_kafka_topic_partition_list_t *mine = NULL;
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 0);
        if ((message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR) || client_now_ns() > until)
            exit(1);
        if (message != NULL)
            rd_kafka_message_destroy(message);
        err = rd_kafka_assignment(consumer, &mine);
        assigned = mine == NULL ? 0 : mine->cnt;
        rd_kafka_topic_partition_list_destroy(mine);
        struct timespec pause = {.tv_nsec = 200000};
        if (assigned == 0)
            nanosleep(&pause, NULL);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

int main(int argc, char **argv)
{
    struct client_properties more = {0},
                             reads = {.list = {"enable.auto.commit=false", "enable.auto.offset.store=false",
                                               "auto.offset.reset=earliest", "isolation.level=read_committed",
                                               "check.crcs=true", "fetch.wait.max.ms=200"},
                                      .count = 6};
    struct batch batches[DEPTH_MAX] = {0};
    char group[256];
    if (argc < 8 || argc - 8 > CLIENT_PROPERTIES_MAX) {
        fprintf(stderr, "usage: bare BROKERS GROUP IN OUT COUNT BATCH DEPTH [name=value ...]\n");
        return 2;
    }
    long count = strtol(argv[5], NULL, 10), done = 0;
    size_t size = strtoul(argv[6], NULL, 10), depth = strtoul(argv[7], NULL, 10);
    if (size < 1 || depth < 1 || depth > DEPTH_MAX)
        return 2;
    for (int i = 8; i < argc; i++)
        more.list[more.count++] = argv[i];
    snprintf(group, sizeof group, "group.id=%s", argv[2]);
    reads.list[reads.count++] = group;
    for (size_t i = 0; i < depth; i++)
        batches[i].messages = calloc(size, sizeof *batches[i].messages);

    rd_kafka_t *consumer = client_new(RD_KAFKA_CONSUMER, argv[1], &reads, &more, NULL);
    rd_kafka_t *producer = client_producer(argv[1], &more, client_report);
    rd_kafka_topic_t *out = rd_kafka_topic_new(producer, argv[4], NULL);
    subscribe(consumer, argv[3]);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    int64_t began = client_now_ns(), committed = began, heard = began;
    for (size_t at = 0; done < count; at = (at + 1) % depth) {
        struct batch *batch = &batches[at];
        finish(consumer, producer, batch);
        while (batch->count < size && done < count) {
            rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, batch->count > 0 ? 0 : 100);
            if (message == NULL && batch->count > 0)
                break;
            if (message == NULL && client_now_ns() > heard + GIVE_UP_S * 1000000000LL) {
                fprintf(stderr, "bare: no more records came\n");
                return 1;
            }
            if (message == NULL)
                continue;
            if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
                rd_kafka_message_destroy(message);
                continue;
            }
            pass(producer, out, message, batch);
            batch->messages[batch->count++] = message;
            done++;
        }
        heard = client_now_ns();
        rd_kafka_poll(producer, 0);
        if (heard > committed + COMMIT_NS) {
            rd_kafka_commit(consumer, NULL, 1);
            committed = heard;
        }
    }
    for (size_t i = 0; i < depth; i++)
        finish(consumer, producer, &batches[i]);
    double seconds = (double)(client_now_ns() - began) / 1e9;
    getrusage(RUSAGE_SELF, &after);
    double cpu =
        (double)(after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec) *
            1e3 +
        (double)(after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec - before.ru_stime.tv_usec) /
            1e3;
    printf("%.0f %.6f\n", (double)count / seconds, cpu / (double)count);
    rd_kafka_commit(consumer, NULL, 0);
    rd_kafka_consumer_close(consumer);
    rd_kafka_topic_destroy(out);
    rd_kafka_destroy(producer);
    rd_kafka_destroy(consumer);
    for (size_t i = 0; i < depth; i++)
        free(batches[i].messages);
    return 0;
}
