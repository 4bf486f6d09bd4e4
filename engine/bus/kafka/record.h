/*
 * record.h - a Kafka message as a record of the bus, whose spans point into the message, and a record as a message.
 */
#ifndef SLUICE_BUS_KAFKA_RECORD_H
#define SLUICE_BUS_KAFKA_RECORD_H

#include "event/event.h"

#include <librdkafka/rdkafka.h>

size_t kafka_record_header_count(const rd_kafka_message_t *message);
/* `headers`: room for kafka_record_header_count(). The record lives as long as the message and `headers`. */
void kafka_record_of(const rd_kafka_message_t *message, struct header *headers, struct record *ret);

/* Hands a copy of the record to a producer; `opaque` comes with its report. The topic's name was checked. */
rd_kafka_resp_err_t kafka_record_produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct record *record,
                                         void *opaque);

#endif
