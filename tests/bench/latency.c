/*
 * latency.c - how long a purchase takes on Kafka: one producer and one consumer of payments, at a steady rate.
 *
 *     latency BROKERS TRY_TOPIC SUCCESS_TOPIC PARTITIONS RATE COUNT WARM [name=value ...]
 *
 * Purchases 1..COUNT (users, seats and reservations of these numbers) are produced to TRY_TOPIC with acks=all, RATE
 * a second; each is followed until its event is read from SUCCESS_TOPIC by a consumer of committed records. Prints
 * p50 and p99 in milliseconds of: produce called → acknowledged, acknowledged → read, produce called → read; then the
 * longest of each. The first WARM purchases are not counted: new topics for brokers, new statements for the database.
 */
#include "client.h"

#include <pthread.h>

enum { LATE_S = 30 };

struct purchase {
    int64_t sent_ns, got_ns;
    atomic_llong acked_ns;
    struct client_batch report;
};

struct reading {
    rd_kafka_t *consumer;
    struct purchase *purchases;
    long count;
    atomic_bool tail; /* every partition has been read to its end: what comes now is new */
    int partitions;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct purchase *purchase = message->_private;
    (void)rk, (void)opaque;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fprintf(stderr, "latency: %s\n", rd_kafka_message_errstr(message));
        exit(1);
    }
    atomic_store(&purchase->acked_ns, client_now_ns());
}

static void *reading_main(void *context)
{
    struct reading *reading = context;
    long got = 0;
    int ends = 0;
    while (got < reading->count) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reading->consumer, 100);
        int64_t now = client_now_ns();
        if (message == NULL)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && ++ends == reading->partitions)
            atomic_store(&reading->tail, true);
        const char *name = message->err != RD_KAFKA_RESP_ERR_NO_ERROR
                               ? NULL
                               : memmem(message->payload, message->len, "latency-", 8);
        char digits[16] = {0};
        if (name != NULL) {
            size_t left = message->len - (size_t)(name + 8 - (const char *)message->payload);
            memcpy(digits, name + 8, left < sizeof digits - 1 ? left : sizeof digits - 1);
        }
        long number = strtol(digits, NULL, 10);
        if (number >= 1 && number <= reading->count && reading->purchases[number - 1].got_ns == 0) {
            reading->purchases[number - 1].got_ns = now;
            got++;
        }
        rd_kafka_message_destroy(message);
    }
    return NULL;
}

static void send_purchase(rd_kafka_t *producer, rd_kafka_topic_t *topic, const char *name, long number,
                          struct purchase *purchase)
{
    char value[512], key[64];
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int key_length = snprintf(key, sizeof key, "%ld-%ld", number, number);
    int length = snprintf(
        value, sizeof value,
        "{\"eventId\":\"00000000-0000-4000-8000-%012lx\",\"eventName\":\"%s\",\"timestamp\":\"2026-01-01T00:00:00."
        "000Z\",\"data\":"
        "{\"paymentTxId\":\"latency-%ld\",\"userId\":%ld,\"seatId\":%ld,\"amount\":100,\"reservationId\":%ld}}",
        number, name, number, number, number, number);
    purchase->sent_ns = client_now_ns();
    rd_kafka_resp_err_t err = rd_kafka_producev(
        producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(key, (size_t)key_length),
        RD_KAFKA_V_VALUE(value, (size_t)length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_TIMESTAMP(wall.tv_sec * 1000 + wall.tv_nsec / 1000000), RD_KAFKA_V_OPAQUE(purchase), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fprintf(stderr, "latency: %s\n", rd_kafka_err2str(err));
        exit(1);
    }
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Returns the worst. */
static double print_shares(double *list, long count)
{
    qsort(list, (size_t)count, sizeof *list, by_value);
    printf("%.2f %.2f ", list[count / 2], list[count * 99 / 100]);
    return list[count - 1];
}

int main(int argc, char **argv)
{
    static const struct client_properties reads = {.list = {"group.id=latency", "enable.auto.commit=false",
                                                            "enable.partition.eof=true",
                                                            "isolation.level=read_committed", "fetch.wait.max.ms=500"},
                                                   .count = 5};
    struct client_properties more = {0};
    if (argc < 8 || argc - 8 > CLIENT_PROPERTIES_MAX) {
        fprintf(stderr, "usage: latency BROKERS TRY_TOPIC SUCCESS_TOPIC PARTITIONS RATE COUNT WARM [name=value ...]\n");
        return 2;
    }
    for (int i = 8; i < argc; i++)
        more.list[more.count++] = argv[i];
    int partitions = (int)strtol(argv[4], NULL, 10);
    long rate = strtol(argv[5], NULL, 10), count = strtol(argv[6], NULL, 10), warm = strtol(argv[7], NULL, 10);
    if (partitions < 1 || rate < 1 || warm < 0 || count <= warm)
        return 2;
    struct purchase *purchases = calloc((size_t)count, sizeof *purchases);
    struct reading reading = {.purchases = purchases,
                              .count = count,
                              .partitions = partitions,
                              .consumer = client_new(RD_KAFKA_CONSUMER, argv[1], &reads, &more, NULL)};
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    rd_kafka_topic_partition_list_add_range(list, argv[3], 0, partitions - 1);
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reading.consumer, list);
    pthread_t thread;
    pthread_create(&thread, NULL, reading_main, &reading);
    rd_kafka_t *producer = client_producer(argv[1], &more, on_report);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, argv[2], NULL);
    const struct rd_kafka_metadata *metadata;
    /* connected, before the clock starts */
    if (rd_kafka_metadata(producer, 0, topic, &metadata, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 1;
    rd_kafka_metadata_destroy(metadata);
    while (!atomic_load(&reading.tail))
        rd_kafka_poll(producer, 10);
    int64_t began = client_now_ns();
    for (long i = 0; i < count; i++) {
        int64_t due = began + (i + 1) * 1000000000LL / rate;
        for (int64_t now = client_now_ns(); now < due; now = client_now_ns()) {
            if (due - now > 2000000)
                rd_kafka_poll(producer, (int)((due - now) / 1000000) - 1);
            else {
                struct timespec pause = {.tv_nsec = due - now};
                nanosleep(&pause, NULL);
            }
        }
        send_purchase(producer, topic, argv[2], i + 1, &purchases[i]);
    }
    rd_kafka_flush(producer, 10000);
    struct timespec late;
    clock_gettime(CLOCK_REALTIME, &late);
    late.tv_sec += LATE_S;
    if (pthread_timedjoin_np(thread, NULL, &late) != 0) {
        fprintf(stderr, "latency: the last purchases did not come within %d s\n", LATE_S);
        return 1;
    }
    double *lists[3], worst[3];
    for (int l = 0; l < 3; l++)
        lists[l] = calloc((size_t)count, sizeof *lists[l]);
    for (long i = warm; i < count; i++) {
        lists[0][i - warm] = (double)(purchases[i].acked_ns - purchases[i].sent_ns) / 1e6;
        lists[1][i - warm] = (double)(purchases[i].got_ns - purchases[i].acked_ns) / 1e6;
        lists[2][i - warm] = (double)(purchases[i].got_ns - purchases[i].sent_ns) / 1e6;
    }
    for (int l = 0; l < 3; l++) {
        worst[l] = print_shares(lists[l], count - warm);
        free(lists[l]);
    }
    printf("%.2f %.2f %.2f\n", worst[0], worst[1], worst[2]);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    rd_kafka_consumer_close(reading.consumer);
    rd_kafka_destroy(reading.consumer);
    free(purchases);
    return 0;
}
