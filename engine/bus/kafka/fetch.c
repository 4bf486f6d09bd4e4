/*
 * fetch.c - see fetch.h.
 */
#include "bus/kafka/fetch.h"

#include <stdlib.h>

enum { FETCH_STEPS = 8 }; /* the threads are woken so often while a full queue is emptied */

static int64_t conf_number(const rd_kafka_t *rk, const char *name)
{
    char text[32] = "0";
    size_t size = sizeof text;
    (void)rd_kafka_conf_get(rd_kafka_conf((rd_kafka_t *)(uintptr_t)rk), name, text, &size);
    return strtoll(text, NULL, 10);
}

void kafka_fetch_init(struct kafka_fetch *fetch, const rd_kafka_t *rk)
{
    *fetch = (struct kafka_fetch){0};
    if (conf_number(rk, "fetch.queue.backoff.ms") > 0)
        return;
    fetch->count_step = conf_number(rk, "queued.min.messages") / FETCH_STEPS + 1;
    fetch->bytes_step = conf_number(rk, "queued.max.messages.kbytes") * 1024 / FETCH_STEPS + 1;
}

/* ListOffsets for every assigned partition wakes the threads of all brokers that are read from; nobody waits for the
 * answer. */
void kafka_fetch_took(struct kafka_fetch *fetch, rd_kafka_t *rk, const rd_kafka_message_t *message)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    if (fetch->count_step == 0)
        return;
    fetch->count++;
    fetch->bytes += (int64_t)(message->len + message->key_len);
    if (fetch->count < fetch->count_step && fetch->bytes < fetch->bytes_step)
        return;
    fetch->count = fetch->bytes = 0;
    if (rd_kafka_assignment(rk, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    if (list->cnt > 0)
        (void)rd_kafka_offsets_for_times(rk, list, 0);
    rd_kafka_topic_partition_list_destroy(list);
}
