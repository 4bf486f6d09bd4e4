/*
 * lag.c - see lag.h.
 */
#include "bus/kafka/lag.h"

#include "bus/kafka/consumer.h"
#include "bus/kafka/offsets.h"
#include "bus/kafka/producer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LAG_WAIT_MS = 500 }; /* the longest wait for each answer of the brokers */

/* The client of the group's consumer in this process, held, and a copy of what it subscribes to; NULL: there is
 * none. */
static struct kafka_client *client_of(struct kafka_bus *bus, const char *group,
                                      rd_kafka_topic_partition_list_t **ret_topics)
{
    struct kafka_client *client = NULL;
    pthread_mutex_lock(&bus->lock);
    for (struct bus_consumer *consumer = bus->consumers; consumer != NULL && client == NULL;
         consumer = consumer->next) {
        if (strcmp(consumer->group, group) != 0)
            continue;
        client = consumer->client;
        kafka_client_hold(client);
        *ret_topics = rd_kafka_topic_partition_list_copy(consumer->subscription);
    }
    pthread_mutex_unlock(&bus->lock);
    return client;
}

/* Of the topics, those that a broker can be asked about. NULL: not known. */
static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *topics)
{
    const struct rd_kafka_metadata *metadata;
    if (rd_kafka_metadata(rk, 0, NULL, &metadata, LAG_WAIT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    for (int t = 0; t < metadata->topic_cnt; t++) {
        const rd_kafka_metadata_topic_t *topic = &metadata->topics[t];
        if (rd_kafka_topic_partition_list_find(topics, topic->topic, RD_KAFKA_PARTITION_UA) == NULL)
            continue;
        for (int p = 0; p < topic->partition_cnt; p++)
            if (topic->partitions[p].leader >= 0)
                rd_kafka_topic_partition_list_add(list, topic->topic, topic->partitions[p].id);
    }
    rd_kafka_metadata_destroy(metadata);
    return list;
}

/* What is behind an open transaction waits, too. */
static int64_t lag_of(struct kafka_bus *bus, rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list)
{
    struct error error;
    int64_t lag = 0;
    if (list->cnt == 0)
        return 0;
    struct kafka_offsets *offsets = calloc((size_t)list->cnt, sizeof *offsets);
    if (offsets == NULL || kafka_offsets_ask(rk, list, LAG_WAIT_MS, offsets, &error) != 0 ||
        kafka_producer_ends(bus, list, LAG_WAIT_MS, offsets, &error) != 0)
        lag = -EAGAIN;
    for (int i = 0; i < list->cnt && lag >= 0; i++) {
        int64_t next = offsets[i].committed > offsets[i].low ? offsets[i].committed : offsets[i].low;
        lag += offsets[i].high > next ? offsets[i].high - next : 0;
    }
    free(offsets);
    return lag;
}

int64_t kafka_lag(struct bus *head, const char *group)
{
    rd_kafka_topic_partition_list_t *topics = NULL;
    struct kafka_client *client = client_of((struct kafka_bus *)head, group, &topics);
    if (client == NULL)
        return -ENOENT;
    rd_kafka_topic_partition_list_t *list = partitions_of(client->rk, topics);
    int64_t lag = list == NULL ? -EAGAIN : lag_of((struct kafka_bus *)head, client->rk, list);
    if (list != NULL)
        rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_topic_partition_list_destroy(topics);
    kafka_client_release(client);
    return lag;
}
