/*
 * stream.c - see stream.h.
 */
#include "bus/kafka/stream.h"

#include <stdlib.h>
#include <string.h>

void kafka_streams_init(struct kafka_streams *streams)
{
    pthread_mutex_init(&streams->lock, NULL);
}

void kafka_streams_destroy(struct kafka_streams *streams)
{
    for (size_t i = 0; i < streams->count; i++)
        free(streams->list[i].topic);
    free(streams->list);
    pthread_mutex_destroy(&streams->lock);
}

struct kafka_stream *kafka_stream_find(const struct kafka_streams *streams, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < streams->count; i++)
        if (streams->list[i].partition == partition && strcmp(streams->list[i].topic, topic) == 0)
            return &streams->list[i];
    return NULL;
}

static bool streams_grow(struct kafka_streams *streams)
{
    size_t size = streams->size == 0 ? 64 : 2 * streams->size;
    pthread_mutex_lock(&streams->lock);
    struct kafka_stream *grown = reallocarray(streams->list, size, sizeof *grown);
    if (grown != NULL) {
        streams->list = grown;
        streams->size = size;
    }
    pthread_mutex_unlock(&streams->lock);
    return grown != NULL;
}

struct kafka_stream *kafka_stream_make(struct kafka_streams *streams, const char *topic, int32_t partition)
{
    struct kafka_stream *stream = kafka_stream_find(streams, topic, partition);
    if (stream != NULL)
        return stream;
    if (streams->count == streams->size && !streams_grow(streams))
        return NULL;
    stream = &streams->list[streams->count];
    *stream = (struct kafka_stream){.topic = strdup(topic), .partition = partition};
    if (stream->topic == NULL)
        return NULL;
    streams->count++;
    return stream;
}

struct kafka_stream *kafka_stream_of_message(struct kafka_streams *streams, const rd_kafka_message_t *message)
{
    if (streams->last < streams->count && streams->last_topic == message->rkt &&
        streams->list[streams->last].partition == message->partition)
        return &streams->list[streams->last];
    struct kafka_stream *stream = kafka_stream_find(streams, rd_kafka_topic_name(message->rkt), message->partition);
    if (stream == NULL)
        return NULL;
    streams->last_topic = message->rkt;
    streams->last = kafka_stream_number(streams, stream);
    return stream;
}
