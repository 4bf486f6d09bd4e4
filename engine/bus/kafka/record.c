/*
 * record.c - see record.h.
 */
#include "bus/kafka/record.h"

size_t kafka_record_header_count(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers = NULL;
    return rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_header_cnt(headers) : 0;
}

void kafka_record_of(const rd_kafka_message_t *message, struct header *headers, struct record *ret)
{
    rd_kafka_headers_t *source = NULL;
    rd_kafka_timestamp_type_t kind;
    *ret = (struct record){.topic = span_of(rd_kafka_topic_name(message->rkt)),
                           .key = {message->key, message->key_len},
                           .value = {message->payload, message->len},
                           .headers = headers,
                           .timestamp_ms = rd_kafka_message_timestamp(message, &kind)};
    if (rd_kafka_message_headers(message, &source) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    const char *name;
    const void *value;
    size_t length;
    while (rd_kafka_header_get_all(source, ret->header_count, &name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR)
        headers[ret->header_count++] = (struct header){span_of(name), {value, length}};
}

rd_kafka_resp_err_t kafka_record_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct record *record,
                                         void *opaque)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        const struct header *header = &record->headers[i];
        rd_kafka_header_add(headers, header->name.at, (ssize_t)header->name.length, header->value.at,
                            (ssize_t)header->value.length);
    }
    rd_kafka_resp_err_t err = rd_kafka_producev(
        rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(record->key.at, record->key.length),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.at, record->value.length),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(record->timestamp_ms),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_headers_destroy(headers);
    return err;
}
