/*
 * binary.h - what a record's headers say about its value, by the CloudEvents binding for Kafka. For event/ alone.
 *
 * A content-type of application/cloudevents… means structured mode, whatever else there is. Else the headers ce_id or
 * ce_specversion mean binary mode: attributes are headers with "ce_" before their names, and the value is the data.
 * Without them the value says what it is. Names of headers are compared byte for byte, as Kafka does.
 */
#ifndef SLUICE_EVENT_BINARY_H
#define SLUICE_EVENT_BINARY_H

#include "event/event.h"

enum binary_mode {
    MODE_VALUE = 0,  /* the value says what it is */
    MODE_STRUCTURED, /* a CloudEvent as JSON */
    MODE_BINARY,
    MODE_UNREADABLE, /* a CloudEvent in a format that is not JSON, or many in one value */
};

/* Which one it is, in one look at the headers. */
enum binary_mode binary_look(const struct record *record);

/* The attributes that mean something to the engine; {NULL, 0} when absent. Of one that stands twice the last is
 * here. */
struct binary {
    struct span id, version, type, source, subject, time, content_type;
    size_t id_count;
    size_t size; /* bytes of all attributes and the content-type, names and values */
};
void binary_find(const struct record *record, struct binary *ret);

/* Whether every attribute stands once and is a text: UTF-8 without control characters. -EINVAL with a sentence. */
int binary_check(const struct record *record, struct error *error);

/* The hash of what makes two events of one id the same event. */
uint64_t binary_hash(const struct record *record, const struct binary *binary);

#endif
