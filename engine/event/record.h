/*
 * record.h - an event as a bus carries it: topic, key, value and headers, and the names of the headers that mean
 * something here. A record owns nothing: its spans point into whatever the bus or the arena keeps.
 */
#ifndef SLUICE_EVENT_RECORD_H
#define SLUICE_EVENT_RECORD_H

#include "base/span.h"

struct header {
    struct span name, value; /* value {NULL, 0}: none, which is not an empty one */
};

struct record { /* as it came from, or goes to, a bus */
    struct span topic;
    struct span key; /* {NULL, 0}: none */
    struct span value;
    struct header *headers;
    size_t header_count;
    int64_t timestamp_ms; /* of the record; the bus's clock */
};

/* {NULL, 0} when there is none of that name, or none with a value; of several the last one counts. */
struct span record_header(const struct record *record, const char *name);

/* Headers that the engine reads and writes. Anything else travels through unread. */
#define HEADER_TRACEPARENT "traceparent" /* W3C Trace Context: see traceparent_derive() */
#define HEADER_TRACESTATE "tracestate"
#define HEADER_CONTENT_TYPE "content-type" /* tells the CloudEvents modes apart */
#define HEADER_HOPS "sluice-hops"          /* decimal; each emission adds one */
#define HEADER_UNDO "sluice-undo"          /* of an undo: the chain's generation and doing, "0.1" */
#define HEADER_UNDOES "sluice-undoes"      /* likewise, where a trace is recorded: traceparent of what did the step */
#define HEADER_CORRELATION "sluice-correlation" /* the chain's correlation, when there is one */
#define HEADER_NOT_BEFORE                                                                                              \
    "sluice-not-before" /* milliseconds since 1970 UTC: a step of a retry ladder, or a delayed event, is due */
#define HEADER_FIRST_TRY "sluice-first-try" /* likewise, in a trace that is recorded: the span of the first try */
#define HEADER_PARENT "sluice-parent"       /* id of the event it came from */
/* Of a dead letter that was replayed: */
#define HEADER_REPLAY_OF "sluice-replay-of"         /* the id of its event */
#define HEADER_REPLAY_LETTER "sluice-replay-letter" /* what `sluice dead-letter` calls it */
#define HEADER_REPLAY_COUNT "sluice-replay-count"   /* how often it was replayed by now */
#define HEADER_REPLAY_FOR "sluice-replay-for"       /* the group whose dead letter it was: others have no part in it */
#define HEADER_REPLAY_NOTED "sluice-replay-noted"   /* "1": chains have noted the event before */
/* Of a dead letter, the names that Spring's tools know: */
#define HEADER_DLT_TOPIC "kafka_dlt-original-topic"
#define HEADER_DLT_PARTITION "kafka_dlt-original-partition"
#define HEADER_DLT_OFFSET "kafka_dlt-original-offset"
#define HEADER_DLT_TIMESTAMP "kafka_dlt-original-timestamp"
#define HEADER_DLT_REASON "kafka_dlt-exception-message"
#define HEADER_DLT_CODE "sluice-dlt-reason" /* one of DEAD_* as a word */
#define HEADER_DLT_HANDLER "sluice-dlt-handler"
#define HEADER_DLT_GROUP "sluice-dlt-group" /* whose dead letter it is */
#define HEADER_ATTEMPTS "retry_topic-attempts"

/* Whether it is one of those that a dead letter has more than its event: from HEADER_DLT_TOPIC on. */
bool header_of_dead_letter(struct span name);

#endif
