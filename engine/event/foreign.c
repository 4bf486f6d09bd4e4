/*
 * foreign.c - see foreign.h.
 */
#include "event/foreign.h"

#include <stdio.h>

enum { SCHEMA_HEAD = 5 }; /* the byte 0, and the number of a schema in four bytes */

static const struct {
    struct span head;
    const char *what;
} heads[] = {
    {SPAN("\xef\xbb\xbf"), "the value begins with a UTF-8 byte order mark (BOM): write UTF-8 without one"},
    {SPAN("\xff\xfe\0\0"), "the value is UTF-32 (little endian): write UTF-8"},
    {SPAN("\0\0\xfe\xff"), "the value is UTF-32 (big endian): write UTF-8"},
    {SPAN("{\0\0\0"), "the value is UTF-32 (little endian): write UTF-8"},
    {SPAN("\xff\xfe"), "the value is UTF-16 (little endian): write UTF-8"},
    {SPAN("\xfe\xff"), "the value is UTF-16 (big endian): write UTF-8"},
    {SPAN("{\0"), "the value is UTF-16 (little endian): write UTF-8"},
    {SPAN("\0{\0"), "the value is UTF-16 (big endian): write UTF-8"},
    {SPAN("\x1f\x8b"), "the value is gzip: let the producer's compression.type compress it"},
    {SPAN("\x28\xb5\x2f\xfd"), "the value is zstd: let the producer's compression.type compress it"},
    {SPAN("\xac\xed\0\x05"), "the value is a serialized Java object: write JSON"},
    {SPAN("Obj\x01"), "the value is an Avro container: write JSON"},
};

bool foreign_describe(struct span value, char *buf, size_t size)
{
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct span head = heads[i].head;
        if (value.length <= head.length || memcmp(value.at, head.at, head.length) != 0)
            continue;
        snprintf(buf, size, "%s", heads[i].what);
        return true;
    }
    if (value.length <= SCHEMA_HEAD || value.at[0] != '\0')
        return false;
    const unsigned char *at = (const unsigned char *)value.at;
    snprintf(buf, size,
             "the value begins with a schema registry's prefix (the byte 0, schema %u): use a serializer that writes "
             "plain JSON",
             (unsigned)at[1] << 24 | (unsigned)at[2] << 16 | (unsigned)at[3] << 8 | at[4]);
    return true;
}
