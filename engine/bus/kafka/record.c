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
