/*
 * offsets.c - see offsets.h.
 */
#include "bus/kafka/offsets.h"

#include "bus/kafka/error.h"

/* ListOffsets takes these in place of a timestamp. */
enum list_offsets { LIST_OFFSETS_EARLIEST = -2, LIST_OFFSETS_LATEST = -1 };

static int list_offsets(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, enum list_offsets which,
                        int wait_ms, struct kafka_offsets *ret, struct error *error)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < asked->cnt; i++)
        asked->elems[i].offset = which;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, asked, wait_ms);
    for (int i = 0; i < asked->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        const rd_kafka_topic_partition_t *answer = rd_kafka_topic_partition_list_find(asked, list->elems[i].topic,
                                                                                      list->elems[i].partition);
        err = answer->err;
        *(which == LIST_OFFSETS_EARLIEST ? &ret[i].low : &ret[i].high) = answer->offset;
    }
    rd_kafka_topic_partition_list_destroy(asked);
    return err == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : kafka_error(error, err, "the first and last offsets of partitions cannot be read");
}

int kafka_offsets_ask(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                      struct kafka_offsets *ret, struct error *error)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t err = rd_kafka_committed(rk, asked, wait_ms);
    for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        const rd_kafka_topic_partition_t *answer = rd_kafka_topic_partition_list_find(asked, list->elems[i].topic,
                                                                                      list->elems[i].partition);
        err = answer->err;
        ret[i] = (struct kafka_offsets){.committed = answer->offset >= 0 ? answer->offset : -1, .recorded = -1};
    }
    rd_kafka_topic_partition_list_destroy(asked);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return kafka_error(error, err, "the committed offsets of the group cannot be read");
    int code = list_offsets(rk, list, LIST_OFFSETS_EARLIEST, wait_ms, ret, error);
    return code == 0 ? list_offsets(rk, list, LIST_OFFSETS_LATEST, wait_ms, ret, error) : code;
}

int kafka_offsets_ends(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int wait_ms,
                       struct kafka_offsets *ret, struct error *error)
{
    return list_offsets(rk, list, LIST_OFFSETS_LATEST, wait_ms, ret, error);
}
