/*
 * missing.c - see missing.h.
 */
#include "bus/kafka/missing.h"

#include "base/clock.h"
#include "bus/kafka/consumer.h"

#include <errno.h>
#include <string.h>

enum { MISSING_LOOK_MS = 2000, MISSING_WAIT_MS = 500 /* the longest wait for what the brokers say of a topic */ };

void kafka_missing_suspect(struct bus_consumer *consumer, const char *topic)
{
    const rd_kafka_topic_partition_list_t *list = consumer->subscription;
    for (int i = 0; i < list->cnt; i++)
        if (strcmp(list->elems[i].topic, topic) == 0)
            consumer->missing.topics[i].suspected = true;
}

/* What the brokers say of a topic; an error that is about no topic when they say nothing. */
static rd_kafka_resp_err_t ask(rd_kafka_t *rk, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    if (topic == NULL)
        return RD_KAFKA_RESP_ERR__FAIL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &metadata, MISSING_WAIT_MS);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        err = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__FAIL;
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(topic);
    return err;
}

static const char *why_of(rd_kafka_resp_err_t err)
{
    switch (kafka_error_permanent(err)) {
    case -EACCES:
        return "this user may not; grant READ and DESCRIBE on it";
    case -ENOENT:
        return "the brokers do not have it; `sluice migrate CONFIG` makes it";
    default:
        return rd_kafka_err2str(err);
    }
}

static void look(struct bus_consumer *consumer, struct kafka_missing_topic *missing, const char *name)
{
    rd_kafka_resp_err_t err = ask(consumer->rk, name);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        *missing = (struct kafka_missing_topic){0};
    else if (kafka_error_permanent(err) != 0)
        missing->err = err;
}

void kafka_missing_each(struct bus_consumer *consumer,
                        void (*each)(const char *what, const char *place, const char *why, void *context),
                        void *context)
{
    const rd_kafka_topic_partition_list_t *list = consumer->subscription;
    bool due = clock_monotonic_ms() >= consumer->missing.look_ms;
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_missing_topic *missing = &consumer->missing.topics[i];
        if (missing->suspected && due) {
            look(consumer, missing, list->elems[i].topic);
            consumer->missing.look_ms = clock_monotonic_ms() + MISSING_LOOK_MS;
        }
        if (missing->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            each("topic", list->elems[i].topic, why_of(missing->err), context);
    }
}
