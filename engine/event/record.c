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
