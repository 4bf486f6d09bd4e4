/*
 * leave.c - what the memory bus leaves to the process that takes this one's place: all records that it keeps, with
 * their offsets, and how far each group is. See memory.h.
 *
 * The file is read on the same machine by the same program, or a newer one of it: numbers as they are in memory, after
 * a mark that changes with the format.
 */
#include "bus/memory/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char mark[8] = "sluice1";

/* ---------------------------------------------------------------------------------------------------------- writing */

static void put_number(FILE *file, uint64_t number)
{
    (void)fwrite(&number, sizeof number, 1, file); /* errors stay: ferror() */
}

static void put_span(FILE *file, struct span span)
{
    put_number(file, span.at == NULL ? UINT64_MAX : span.length);
    if (span.length > 0)
        (void)fwrite(span.at, span.length, 1, file);
}

static void put_segment(FILE *file, const struct segment *segment)
{
    put_number(file, segment->count);
    put_number(file, segment->offset);
    put_number(file, segment->sequence);
    put_number(file, (uint64_t)segment->published_ms);
    for (size_t i = 0; i < segment->count; i++) {
        const struct record *record = &segment->records[i];
        put_span(file, record->topic);
        put_span(file, record->key);
        put_span(file, record->value);
        put_number(file, (uint64_t)record->timestamp_ms);
        put_number(file, record->header_count);
        for (size_t j = 0; j < record->header_count; j++) {
            put_span(file, record->headers[j].name);
            put_span(file, record->headers[j].value);
        }
    }
}

static void put_bus(FILE *file, const struct memory_bus *bus)
{
    (void)fwrite(mark, sizeof mark, 1, file);
    put_number(file, bus->partition_count);
    put_number(file, bus->sequence);
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        const struct memory_log *log = &bus->partitions[p];
        put_number(file, log->next);
        put_number(file, log->end - log->first);
        for (size_t i = log->first; i < log->end; i++)
            put_segment(file, log->segments[i]);
    }
    uint64_t groups = 0;
    for (const struct memory_group *group = bus->groups; group != NULL; group = group->next)
        groups++;
    put_number(file, groups);
    for (const struct memory_group *group = bus->groups; group != NULL; group = group->next) {
        put_span(file, span_of(group->name));
        for (uint32_t p = 0; p < bus->partition_count; p++)
            put_number(file, group->leases[p].completed);
    }
}

static FILE *open_copy(int file, const char *mode)
{
    int copy = dup(file);
    FILE *stream = copy < 0 ? NULL : fdopen(copy, mode);
    if (stream == NULL && copy >= 0)
        close(copy);
    return stream;
}

int memory_leave(struct bus *head, int file, struct error *error)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    FILE *stream = open_copy(file, "wb");
    int code = stream == NULL ? -errno : 0;
    pthread_mutex_lock(&bus->lock);
    bus->left = true;
    if (stream != NULL)
        put_bus(stream, bus);
    pthread_mutex_unlock(&bus->lock);
    if (stream != NULL && (fflush(stream) != 0 || ferror(stream)))
        code = errno == 0 ? -EIO : -errno;
    if (stream != NULL)
        (void)fclose(stream);
    return code == 0 ? 0 : error_set(error, -code, "the events in memory cannot be handed over: %s", strerror(-code));
}

/* ---------------------------------------------------------------------------------------------------------- reading */

/* What is left of the file. A read past its end gives zeros, and `bad`. */
struct left {
    const char *at;
    size_t length;
    bool bad;
};

static uint64_t take_number(struct left *left)
{
    uint64_t number = 0;
    if (left->length < sizeof number) {
        left->bad = true;
        return 0;
    }
    memcpy(&number, left->at, sizeof number);
    left->at += sizeof number;
    left->length -= sizeof number;
    return number;
}

static struct span take_span(struct left *left)
{
    uint64_t length = take_number(left);
    if (length == UINT64_MAX)
        return (struct span){NULL, 0};
    if (length > left->length) {
        left->bad = true;
        return (struct span){NULL, 0};
    }
    struct span span = {left->at, length};
    left->at += length;
    left->length -= length;
    return span;
}

static bool take_record(struct left *left, struct record *ret)
{
    *ret = (struct record){.topic = take_span(left), .key = take_span(left), .value = take_span(left)};
    ret->timestamp_ms = (int64_t)take_number(left);
    size_t count = take_number(left);
    struct header *headers = count > left->length ? NULL : calloc(count + 1, sizeof *headers);
    for (size_t i = 0; headers != NULL && i < count; i++)
        headers[i] = (struct header){take_span(left), take_span(left)};
    ret->headers = headers;
    ret->header_count = headers == NULL ? 0 : count;
    return headers != NULL && !left->bad;
}

static bool take_segment(struct left *left, struct memory_bus *bus, struct memory_log *log)
{
    size_t count = take_number(left), taken = 0;
    uint64_t offset = take_number(left), sequence = take_number(left);
    int64_t published_ms = (int64_t)take_number(left);
    struct record *records = count > left->length ? NULL : calloc(count + 1, sizeof *records);
    uint32_t *all = records == NULL ? NULL : calloc(count + 1, sizeof *all);
    for (; all != NULL && taken < count && take_record(left, &records[taken]); taken++)
        all[taken] = (uint32_t)taken;
    struct segment *segment = all != NULL && taken == count ? memory_segment_create(records, all, count) : NULL;
    for (size_t i = 0; records != NULL && i < count; i++)
        free((void *)(uintptr_t)records[i].headers);
    free(records);
    free(all);
    if (segment == NULL)
        return false;
    segment->sequence = sequence;
    segment->published_ms = published_ms;
    log->next = offset;
    if (!memory_log_append(log, segment)) {
        free(segment);
        return false;
    }
    bus->bytes += segment->size;
    return true;
}

static bool take_bus(struct left *left, struct memory_bus *bus)
{
    uint64_t partitions = take_number(left);
    bus->sequence = take_number(left);
    if (left->bad || partitions != bus->partition_count)
        return false;
    for (uint32_t p = 0; p < bus->partition_count; p++) {
        uint64_t next = take_number(left);
        for (uint64_t segments = take_number(left); segments > 0; segments--)
            if (!take_segment(left, bus, &bus->partitions[p]))
                return false;
        bus->partitions[p].next = next;
    }
    for (uint64_t groups = take_number(left); groups > 0 && !left->bad; groups--) {
        struct span span = take_span(left);
        char *name = left->bad || span.at == NULL ? NULL : strndup(span.at, span.length);
        struct memory_group *group = name == NULL ? NULL : memory_group_get(bus, name);
        free(name);
        if (group == NULL)
            return false;
        for (uint32_t p = 0; p < bus->partition_count; p++)
            group->leases[p].completed = take_number(left);
    }
    return !left->bad;
}

/* The whole file; NULL: it cannot be read. */
static char *read_all(int file, size_t *ret_length)
{
    off_t size = lseek(file, 0, SEEK_END);
    char *bytes = size < 0 ? NULL : malloc((size_t)size + 1);
    size_t length = 0;
    while (bytes != NULL && length < (size_t)size) {
        ssize_t got = pread(file, bytes + length, (size_t)size - length, (off_t)length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    *ret_length = length;
    return bytes;
}

int memory_find(struct bus *head, int file, struct error *error)
{
    struct memory_bus *bus = (struct memory_bus *)head;
    size_t length;
    char *bytes = read_all(file, &length);
    struct left left = {bytes, length, false};
    bool nothing = length == 0; /* the process before ended before it left anything */
    if (bytes == NULL)
        return error_set(error, ENOMEM, "out of memory for the events that were handed over");
    pthread_mutex_lock(&bus->lock);
    bool good = nothing;
    if (!nothing && length > sizeof mark && memcmp(bytes, mark, sizeof mark) == 0) {
        left.at += sizeof mark;
        left.length -= sizeof mark;
        good = take_bus(&left, bus);
    }
    pthread_mutex_unlock(&bus->lock);
    free(bytes);
    return good ? 0 : error_set(error, EINVAL, "the events that were handed over in memory cannot be read");
}
