/*
 * json_names.c - see json_names.h. Names are compared a byte at a time without being copied, so that names chosen to be
 * long and escaped cost time in proportion to their length and no memory.
 */
#include "event/json_names.h"

#include "event/json_escape.h"

enum { NAMES_PAIRS = 24 }; /* up to so many members are compared in pairs, more through a table */

/* The bytes of a name one after the other, escapes resolved. */
struct name_reader {
    const char *at, *end;
    char decoded[4];
    size_t next, count; /* of decoded[] */
};

static int name_next(struct name_reader *reader)
{
    if (reader->next < reader->count)
        return (unsigned char)reader->decoded[reader->next++];
    if (reader->at == reader->end)
        return -1;
    if (*reader->at != '\\')
        return (unsigned char)*reader->at++;
    reader->count = json_escape_decode(reader->at, reader->decoded, &reader->at);
    reader->next = 1;
    return (unsigned char)reader->decoded[0];
}

/* Whether two names between quotes, as written, spell the same. */
static bool names_equal(struct span a, struct span b)
{
    struct name_reader left = {.at = a.at, .end = a.at + a.length}, right = {.at = b.at, .end = b.at + b.length};
    int byte;
    do {
        byte = name_next(&left);
        if (byte != name_next(&right))
            return false;
    } while (byte >= 0);
    return true;
}

bool json_name_spells(struct span written, struct span plain)
{
    struct name_reader reader = {.at = written.at, .end = written.at + written.length};
    for (size_t i = 0; i < plain.length; i++)
        if (name_next(&reader) != (unsigned char)plain.at[i])
            return false;
    return name_next(&reader) < 0;
}

static bool names_same(const struct json_member *a, const struct json_member *b)
{
    if (!a->name_escaped && !b->name_escaped)
        return span_equal(a->name, b->name);
    return names_equal(a->name, b->name);
}

/* The later of two members with one name, or NULL. Most objects are told apart by one bit for each name. */
static const struct json_member *names_pairs(const struct json_member *members, size_t count)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        const struct json_member *one = &members[i];
        if (one->name_escaped)
            seen = UINT64_MAX; /* its bits are not those of what it spells */
        uint64_t bit = 1;
        if (one->name.length > 0)
            bit = 1ull << ((one->name.length * 7 + (unsigned char)one->name.at[0] * 3 +
                            (unsigned char)one->name.at[one->name.length - 1] * 5) &
                           63);
        if ((seen & bit) != 0)
            for (size_t j = 0; j < i; j++)
                if (names_same(&members[j], one))
                    return one;
        seen |= bit;
    }
    return NULL;
}

/* The same through a table of hashes, for objects of any size. */
static const struct json_member *names_table(struct arena *arena, const struct json_member *members, size_t count)
{
    size_t slots = 64;
    while (slots < count * 2)
        slots *= 2;
    uint32_t *table = arena_array(arena, uint32_t, slots); /* index + 1; 0: free */
    for (size_t i = 0; i < count; i++) {
        struct span name = members[i].name;
        if (members[i].name_escaped)
            name = json_unescape((struct span){name.at - 1, name.length + 2}, true, arena);
        size_t at = span_hash(name) & (slots - 1);
        for (; table[at] != 0; at = (at + 1) & (slots - 1))
            if (names_same(&members[table[at] - 1], &members[i]))
                return &members[i];
        table[at] = (uint32_t)i + 1;
    }
    return NULL;
}

const struct json_member *json_names_twice(const struct json_member *members, size_t count, struct arena *arena)
{
    return count <= NAMES_PAIRS ? names_pairs(members, count) : names_table(arena, members, count);
}
