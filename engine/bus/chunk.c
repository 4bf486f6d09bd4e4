/*
 * chunk.c - see chunk.h.
 */
#include "bus/chunk.h"

#include <errno.h>

enum {
    TOPIC_MAX = 249, /* bytes, Kafka's limit */
    KEY_MAX = 0xfffe,
    VALUE_MAX = 64 * 1024 * 1024,
    HEADER_COUNT_MAX = 255, /* more than an event may come with: a dead letter adds its own */
    HEADER_NAME_MAX = 255,
    HEADER_VALUE_MAX = 0xfffe,
};

void bus_chunk_release(struct bus_chunk *chunk, size_t records)
{
    if (chunk == NULL || records == 0)
        return;
    if (atomic_fetch_sub_explicit(&chunk->references, records, memory_order_acq_rel) == records)
        chunk->destroy(chunk);
}

bool topic_matches(struct span pattern, struct span topic)
{
    bool begins = pattern.length > 0 && pattern.at[pattern.length - 1] == '*';
    size_t length = begins ? pattern.length - 1 : pattern.length;
    return (begins ? topic.length >= length : topic.length == length) && memcmp(topic.at, pattern.at, length) == 0;
}

bool topics_match(const char *const *topics, size_t count, struct span topic)
{
    for (size_t i = 0; i < count; i++)
        if (topic_matches(span_of(topics[i]), topic))
            return true;
    return false;
}

int record_check(const struct record *record, struct error *error)
{
    if (record->topic.length == 0 || record->topic.length > TOPIC_MAX)
        return error_set(error, EINVAL, "a record's topic has %zu bytes; a topic has 1 to %d", record->topic.length,
                         TOPIC_MAX);
    if (record->key.length > KEY_MAX)
        return error_set(error, EMSGSIZE, "the key of a record for \"%.*s\" has %zu bytes; the most is %d",
                         (int)record->topic.length, record->topic.at, record->key.length, KEY_MAX);
    if (record->value.length > VALUE_MAX)
        return error_set(error, EMSGSIZE, "a record for \"%.*s\" has %zu bytes; the most is %d",
                         (int)record->topic.length, record->topic.at, record->value.length, VALUE_MAX);
    if (record->header_count > HEADER_COUNT_MAX)
        return error_set(error, EMSGSIZE, "a record for \"%.*s\" has %zu headers; the most is %d",
                         (int)record->topic.length, record->topic.at, record->header_count, HEADER_COUNT_MAX);
    for (size_t i = 0; i < record->header_count; i++)
        if (record->headers[i].name.length > HEADER_NAME_MAX || record->headers[i].value.length > HEADER_VALUE_MAX)
            return error_set(error, EMSGSIZE,
                             "header %zu of a record for \"%.*s\" is longer than %d (name) or %d (value)", i,
                             (int)record->topic.length, record->topic.at, HEADER_NAME_MAX, HEADER_VALUE_MAX);
    return 0;
}

uint32_t record_partition(const struct record *record, uint32_t partitions)
{
    return (uint32_t)(span_hash(record->key.at != NULL ? record->key : record->value) % partitions);
}

uint64_t record_key_hash(const struct record *record, struct position position)
{
    if (record->key.at != NULL)
        return span_hash(record->key);
    return span_hash((struct span){(const char *)&position, sizeof position});
}
