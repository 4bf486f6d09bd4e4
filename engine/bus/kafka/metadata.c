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
