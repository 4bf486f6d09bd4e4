/*
 * record.c - see record.h.
 */
#include "event/record.h"

struct span record_header(const struct record *record, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = record->header_count; i > 0; i--) {
        const struct header *header = &record->headers[i - 1];
        if (header->name.length == length && memcmp(header->name.at, name, length) == 0)
            return header->value;
    }
    return (struct span){NULL, 0};
}

bool header_of_dead_letter(struct span name)
{
    static const char *const names[] = {HEADER_DLT_TOPIC,     HEADER_DLT_PARTITION, HEADER_DLT_OFFSET,
                                        HEADER_DLT_TIMESTAMP, HEADER_DLT_REASON,    HEADER_DLT_CODE,
                                        HEADER_DLT_HANDLER,   HEADER_DLT_GROUP,     HEADER_ATTEMPTS};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_is(name, names[i]))
            return true;
    return false;
}
