/*
 * log.c - see log.h.
 */
#include "bus/memory/log.h"

#include "base/clock.h"

#include <stdlib.h>

static void segment_destroy(struct bus_chunk *chunk)
{
    free(chunk);
}

/* A copy at *at, which moves behind it. A span without bytes (NULL) stays one. */
static struct span copy_span(struct span from, char **at)
{
    struct span to = {from.at == NULL ? NULL : memcpy(*at, from.at, from.length), from.length};
    *at += from.length;
    return to;
}

struct segment *memory_segment_create(const struct record *records, const uint32_t *picked, size_t count)
{
    size_t headers = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const struct record *record = &records[picked[i]];
        headers += record->header_count;
        bytes += record->topic.length + record->key.length + record->value.length + 1;
        for (size_t j = 0; j < record->header_count; j++)
            bytes += record->headers[j].name.length + record->headers[j].value.length;
    }
    size_t size = sizeof(struct segment) + count * sizeof(struct record) + headers * sizeof(struct header) + bytes;
    struct segment *segment = malloc(size);
    if (segment == NULL)
        return NULL;
    *segment = (struct segment){.chunk = {.destroy = segment_destroy}, .size = size, .count = count};
    atomic_init(&segment->chunk.references, 1); /* the log's */

    struct header *header = (struct header *)(void *)&segment->records[count];
    char *at = (char *)(header + headers);
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < count; i++) {
        const struct record *from = &records[picked[i]];
        struct record *to = &segment->records[i];
        to->topic = copy_span(from->topic, &at);
        to->key = copy_span(from->key, &at);
        to->value = copy_span(from->value, &at);
        to->headers = header;
        to->header_count = from->header_count;
        to->timestamp_ms = from->timestamp_ms != 0 ? from->timestamp_ms : now;
        for (size_t j = 0; j < from->header_count; j++, header++) {
            header->name = copy_span(from->headers[j].name, &at);
            header->value = copy_span(from->headers[j].value, &at);
        }
    }
    return segment;
}

bool memory_log_append(struct memory_log *log, struct segment *segment)
{
    if (log->end == log->size) {
        size_t live = log->end - log->first;
        if (live * 2 > log->size || log->size == 0) {
            size_t size = log->size == 0 ? 64 : log->size * 2;
            struct segment **segments = reallocarray(log->segments, size, sizeof *segments);
            if (segments == NULL)
                return false;
            log->segments = segments;
            log->size = size;
        }
        if (live > 0)
            memmove(log->segments, log->segments + log->first, live * sizeof *log->segments);
        log->first = 0;
        log->end = live;
    }
    segment->offset = log->next;
    log->next += segment->count;
    log->segments[log->end++] = segment;
    return true;
}

struct segment *memory_log_find(const struct memory_log *log, uint64_t offset)
{
    size_t low = log->first, high = log->end;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct segment *segment = log->segments[middle];
        if (segment->offset + segment->count <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->end ? log->segments[low] : NULL;
}

size_t memory_log_trim(struct memory_log *log, uint64_t completed, int64_t before_ms)
{
    size_t bytes = 0;
    while (log->first < log->end) {
        struct segment *segment = log->segments[log->first];
        if (segment->offset + segment->count > completed || segment->published_ms > before_ms)
            break;
        log->first++;
        bytes += segment->size;
        bus_chunk_release(&segment->chunk, 1);
    }
    return bytes;
}

void memory_log_free(struct memory_log *log)
{
    for (size_t i = log->first; i < log->end; i++)
        bus_chunk_release(&log->segments[i]->chunk, 1);
    free(log->segments);
}
