/*
 * id.c - the ids of event.h. A canonical UUID (36 characters, lower case) is its own 16 bytes; every other text is its
 * hash, so that two texts which differ in any byte, also only in case, are two ids.
 */
#include "event/event.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

enum { UUID_TEXT = 36 };

static int id_hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes of a canonical UUID; false for any other text. */
static bool id_read_uuid(struct span text, uint8_t ret[16])
{
    if (text.length != UUID_TEXT || text.at[8] != '-' || text.at[13] != '-' || text.at[18] != '-' || text.at[23] != '-')
        return false;
    const char *at = text.at;
    for (size_t i = 0; i < 16; i++, at += 2) {
        at += *at == '-' && (i == 4 || i == 6 || i == 8 || i == 10);
        int high = id_hex(at[0]), low = id_hex(at[1]);
        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

struct event_id event_id_of(struct span id_text)
{
    struct event_id id;
    if (!id_read_uuid(id_text, id.bytes))
        span_hash128(id_text, id.bytes);
    return id;
}

void event_id_format(const struct event_id *id, char buf[37])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *buf++ = '-';
        *buf++ = hex[id->bytes[i] >> 4];
        *buf++ = hex[id->bytes[i] & 15];
    }
    *buf = '\0';
}

static void id_mark(struct event_id *id, uint8_t version)
{
    id->bytes[6] = (uint8_t)(version << 4 | (id->bytes[6] & 0x0f));
    id->bytes[8] = (uint8_t)(0x80 | (id->bytes[8] & 0x3f));
}

void event_id_new(int64_t wall_ms, char ret_text[37])
{
    struct event_id id;
    for (size_t i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)((uint64_t)wall_ms >> (40 - 8 * i));
    /* Up to 256 bytes come whole or not at all, once the system has its entropy; before that the call waits. */
    while (getrandom(id.bytes + 6, 10, 0) != 10)
        if (errno != EINTR && errno != EAGAIN)
            abort(); /* a kernel without random numbers: ids would repeat, which is worse than not running */
    id_mark(&id, 7);
    event_id_format(&id, ret_text);
}

void event_id_derive(struct span parent, struct span handler, struct span route, uint32_t ordinal, char ret_text[37])
{
    /* The hash of three hashes: no two ways to cut the same bytes into names look alike. */
    uint8_t parts[3 * 16 + 4];
    struct event_id id, origin;
    span_hash128(parent, parts);
    span_hash128(handler, parts + 16);
    span_hash128(route, parts + 32);
    for (size_t i = 0; i < 4; i++)
        parts[48 + i] = (uint8_t)(ordinal >> (24 - 8 * i));
    span_hash128((struct span){(const char *)parts, sizeof parts}, id.bytes);

    bool timed = id_read_uuid(parent, origin.bytes) && (origin.bytes[6] >> 4 == 7 || origin.bytes[6] >> 4 == 8);
    memcpy(id.bytes, timed ? origin.bytes : parts, 6);
    id_mark(&id, 8);
    event_id_format(&id, ret_text);
}

struct event_id event_id_with_payload(struct event_id id, uint64_t payload_hash)
{
    for (size_t i = 0; i < 8; i++)
        id.bytes[8 + i] ^= (uint8_t)(payload_hash >> 8 * i);
    return id;
}

struct event_id event_id_timer(int32_t chain, int32_t timer, struct event_id correlation)
{
    char text[37], name[96];
    struct event_id id;
    event_id_format(&correlation, text);
    int length = snprintf(name, sizeof name, "timer %d of chain %d, %s", (int)timer, (int)chain, text);
    span_hash128((struct span){name, (size_t)length}, id.bytes);
    return id;
}
