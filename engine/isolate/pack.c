/*
 * pack.c - see pack.h.
 */
#include "isolate/pack.h"

#include <stddef.h>

void *pack_room(struct pack *pack, size_t size, uint64_t *ret)
{
    const size_t align = _Alignof(max_align_t);
    size_t at = (pack->used + align - 1) & ~(align - 1);
    *ret = 0;
    if (pack->full || at > pack->max || size > pack->max - at) {
        pack->full = true;
        return NULL;
    }
    pack->used = at + size;
    *ret = at;
    return pack->area + at;
}

uint64_t pack_bytes(struct pack *pack, const void *bytes, size_t size)
{
    uint64_t place;
    void *room = pack_room(pack, size, &place);
    if (room != NULL && size > 0)
        memcpy(room, bytes, size);
    return place;
}

static struct sluice_text text_at(const struct pack *pack, uint64_t place, size_t length)
{
    return (struct sluice_text){(const char *)(uintptr_t)(pack->address + place), length};
}

void pack_whole(struct pack *pack, struct sluice_text text)
{
    pack->whole_at = pack_bytes(pack, text.at, text.length);
    pack->whole = (struct span){text.at, text.length};
}

struct sluice_text pack_text(struct pack *pack, struct sluice_text text)
{
    uintptr_t at = (uintptr_t)text.at, whole = (uintptr_t)pack->whole.at;
    if (text.at == NULL)
        return text;
    if (at >= whole && at - whole <= pack->whole.length && text.length <= pack->whole.length - (at - whole))
        return text_at(pack, pack->whole_at + (at - whole), text.length);
    return text_at(pack, pack_bytes(pack, text.at, text.length), text.length);
}

void pack_fields(struct pack *pack, const struct sluice_field *fields, void *packed)
{
    for (const struct sluice_field *field = fields; field != NULL && field->name != NULL; field++) {
        struct sluice_text text;
        char *member = (char *)packed + field->offset;
        if (field->type != SLUICE_TYPE_TEXT && field->type != SLUICE_TYPE_JSON && field->type != SLUICE_TYPE_META_TEXT)
            continue;
        memcpy(&text, member, sizeof text);
        text = pack_text(pack, text);
        memcpy(member, &text, sizeof text);
    }
}
