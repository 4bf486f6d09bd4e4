/*
 * metadata.c - see metadata.h.
 */
#include "bus/kafka/metadata.h"

#include "bus/kafka/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MISSING_NAMED_MAX = 5 }; /* topics that an error names */

/* Runs the error callback for what librdkafka's threads have met. */
static void serve_errors(rd_kafka_t *rk)
{
    for (rd_kafka_message_t *message; (message = rd_kafka_consumer_poll(rk, 0)) != NULL;)
        rd_kafka_message_destroy(message);
}

int kafka_metadata(rd_kafka_t *rk, const struct kafka_reason *reason, const struct rd_kafka_metadata **ret,
                   struct error *error)
{
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 1, NULL, ret, KAFKA_REQUEST_MS);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    serve_errors(rk);
    return kafka_error_of_reason(error, err, "the topics of the brokers cannot be listed", reason);
}

const rd_kafka_metadata_topic_t *kafka_metadata_topic(const struct rd_kafka_metadata *metadata, const char *name)
{
    for (int t = 0; t < metadata->topic_cnt; t++)
        if (strcmp(metadata->topics[t].topic, name) == 0 && metadata->topics[t].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return &metadata->topics[t];
    return NULL;
}

rd_kafka_event_t *kafka_group_describe(rd_kafka_t *rk, const char *group, int wait_ms,
                                       const rd_kafka_ConsumerGroupDescription_t **ret)
{
    const rd_kafka_DescribeConsumerGroups_result_t *result = NULL;
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    size_t count = 0;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, wait_ms, NULL, 0);
    rd_kafka_DescribeConsumerGroups(rk, &group, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, wait_ms);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (event != NULL)
        result = rd_kafka_event_DescribeConsumerGroups_result(event);
    if (result != NULL)
        groups = rd_kafka_DescribeConsumerGroups_result_groups(result, &count);
    *ret = count == 1 && rd_kafka_ConsumerGroupDescription_error(groups[0]) == NULL ? groups[0] : NULL;
    return event;
}

bool kafka_metadata_has_leader(const struct rd_kafka_metadata *metadata, const char *topic, int32_t partition)
{
    for (int t = 0; t < metadata->topic_cnt; t++) {
        const rd_kafka_metadata_topic_t *found = &metadata->topics[t];
        for (int p = 0; p < found->partition_cnt && strcmp(found->topic, topic) == 0; p++)
            if (found->partitions[p].id == partition)
                return found->partitions[p].leader >= 0;
    }
    return false;
}

int kafka_metadata_check(rd_kafka_t *rk, const struct bus_options *options, const struct kafka_reason *reason,
                         struct error *error)
{
    const struct rd_kafka_metadata *metadata;
    char names[400] = "";
    size_t missing = 0, length = 0;
    if (kafka_metadata(rk, reason, &metadata, error) != 0)
        return -EAGAIN;
    for (size_t i = 0; i < options->topic_count; i++) {
        const char *name = options->topics[i].name;
        if (kafka_metadata_topic(metadata, name) != NULL || missing++ >= MISSING_NAMED_MAX || length >= sizeof names)
            continue;
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", length > 0 ? ", " : "", name);
    }
    rd_kafka_metadata_destroy(metadata);
    if (missing == 0)
        return 0;
    error_set(error, ESTALE, "the brokers have no topic %s%s", names, missing > MISSING_NAMED_MAX ? " and others" : "");
    return error_hint(error, "`sluice migrate CONFIG` makes what is missing");
}
