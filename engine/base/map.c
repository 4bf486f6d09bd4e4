/*
 * map.c - see map.h. Open addressing with linear probing over a power of two; removing shifts the followers back, so
 * there are no tombstones and a long-lived intmap does not slow down. At most three quarters are in use.
 */
#include "base/map.h"

#include "base/log.h"

#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { MAP_SIZE_MIN = 16 };

static _Noreturn void map_exhausted(size_t slots)
{
    log_line(LOG_ERROR, "memory", "cannot take a table of %zu slots: the system has no memory left; the process ends",
             slots);
    log_flush();
    _exit(EX_OSERR);
}

/* No slot is free, which a map never comes to: something has written over it. Without an end to the search a thread
 * would look for ever, and nobody would know. The fault is on the thread that looks, as one in memory is. */
static _Noreturn void map_damaged(void)
{
    log_line(LOG_ERROR, "memory", "a table in memory has been written over; the process ends");
    log_flush();
    abort();
}

/* Slots, a power of two, for `expected` entries at a load of three quarters. */
static size_t map_slots(size_t expected)
{
    size_t slots = MAP_SIZE_MIN;
    while (slots / 4 * 3 < expected && slots <= SIZE_MAX / 256)
        slots *= 2;
    return slots;
}

/* True when the entry in slot `at` whose home is `home` may move back to `hole`: its home does not lie between the two.
 * */
static bool map_may_shift(size_t hole, size_t home, size_t at, size_t mask)
{
    return ((at - home) & mask) >= ((at - hole) & mask);
}

/* ---------------------------------------------------------------- span → pointer */

struct map_entry {
    uint64_t hash;
    struct span key;
    void *value; /* NULL: the slot is free */
};

struct map {
    struct map_entry *entries;
    size_t mask, count;
};

struct map *map_create(size_t expected)
{
    struct map *map = calloc(1, sizeof *map);
    if (map == NULL)
        return NULL;
    size_t slots = map_slots(expected);
    map->entries = calloc(slots, sizeof *map->entries);
    map->mask = slots - 1;
    if (map->entries == NULL) {
        free(map);
        return NULL;
    }
    return map;
}

void map_destroy(struct map *map)
{
    if (map == NULL)
        return;
    free(map->entries);
    free(map);
}

/* The slot that holds the key, or the free one where it belongs. */
static struct map_entry *map_slot(const struct map *map, uint64_t hash, struct span key)
{
    size_t at = hash & map->mask;
    for (size_t looked = 0; looked <= map->mask; looked++, at = (at + 1) & map->mask) {
        struct map_entry *entry = &map->entries[at];
        if (entry->value == NULL || (entry->hash == hash && span_equal(entry->key, key)))
            return entry;
    }
    map_damaged();
}

void *map_get(const struct map *map, struct span key)
{
    return map_slot(map, span_hash(key), key)->value;
}

static void map_grow(struct map *map)
{
    struct map_entry *smaller = map->entries;
    size_t smaller_slots = map->mask + 1, slots = smaller_slots * 2;
    map->entries = calloc(slots, sizeof *map->entries);
    if (map->entries == NULL)
        map_exhausted(slots);
    map->mask = slots - 1;
    for (size_t i = 0; i < smaller_slots; i++)
        if (smaller[i].value != NULL)
            *map_slot(map, smaller[i].hash, smaller[i].key) = smaller[i];
    free(smaller);
}

void *map_set(struct map *map, struct span key, void *value)
{
    uint64_t hash = span_hash(key);
    struct map_entry *entry = map_slot(map, hash, key);
    void *replaced = entry->value;
    if (replaced == NULL && ++map->count > (map->mask + 1) / 4 * 3) {
        map_grow(map);
        entry = map_slot(map, hash, key);
    }
    *entry = (struct map_entry){hash, key, value};
    return replaced;
}

/* ---------------------------------------------------------------- uint64_t → pointer */

struct intmap_entry {
    uint64_t key;
    void *value; /* NULL: the slot is free */
};

struct intmap {
    struct intmap_entry *entries;
    size_t mask, count;
};

struct intmap *intmap_create(size_t expected)
{
    struct intmap *map = calloc(1, sizeof *map);
    if (map == NULL)
        return NULL;
    size_t slots = map_slots(expected);
    map->entries = calloc(slots, sizeof *map->entries);
    map->mask = slots - 1;
    if (map->entries == NULL) {
        free(map);
        return NULL;
    }
    return map;
}

void intmap_destroy(struct intmap *map)
{
    if (map == NULL)
        return;
    free(map->entries);
    free(map);
}

/* Keys may be counters, pointers or hashes: the multiplication spreads all three over the upper half. */
static size_t intmap_home(const struct intmap *map, uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15ull) >> 32) & map->mask;
}

static struct intmap_entry *intmap_slot(const struct intmap *map, uint64_t key)
{
    size_t at = intmap_home(map, key);
    for (size_t looked = 0; looked <= map->mask; looked++, at = (at + 1) & map->mask) {
        struct intmap_entry *entry = &map->entries[at];
        if (entry->value == NULL || entry->key == key)
            return entry;
    }
    map_damaged();
}

void *intmap_get(const struct intmap *map, uint64_t key)
{
    return intmap_slot(map, key)->value;
}

static void intmap_grow(struct intmap *map)
{
    struct intmap_entry *smaller = map->entries;
    size_t smaller_slots = map->mask + 1, slots = smaller_slots * 2;
    map->entries = calloc(slots, sizeof *map->entries);
    if (map->entries == NULL)
        map_exhausted(slots);
    map->mask = slots - 1;
    for (size_t i = 0; i < smaller_slots; i++)
        if (smaller[i].value != NULL)
            *intmap_slot(map, smaller[i].key) = smaller[i];
    free(smaller);
}

void *intmap_set(struct intmap *map, uint64_t key, void *value)
{
    struct intmap_entry *entry = intmap_slot(map, key);
    void *replaced = entry->value;
    if (replaced == NULL && ++map->count > (map->mask + 1) / 4 * 3) {
        intmap_grow(map);
        entry = intmap_slot(map, key);
    }
    *entry = (struct intmap_entry){key, value};
    return replaced;
}

void *intmap_remove(struct intmap *map, uint64_t key)
{
    struct intmap_entry *entry = intmap_slot(map, key);
    void *removed = entry->value;
    if (removed == NULL)
        return NULL;

    size_t hole = (size_t)(entry - map->entries), looked = 0;
    for (size_t at = (hole + 1) & map->mask; map->entries[at].value != NULL; at = (at + 1) & map->mask) {
        if (looked++ > map->mask)
            map_damaged();
        if (map_may_shift(hole, intmap_home(map, map->entries[at].key), at, map->mask)) {
            map->entries[hole] = map->entries[at];
            hole = at;
        }
    }
    map->entries[hole] = (struct intmap_entry){0};
    map->count--;
    return removed;
}

size_t intmap_count(const struct intmap *map)
{
    return map->count;
}

bool intmap_next(const struct intmap *map, size_t *cursor, uint64_t *ret_key, void **ret_value)
{
    for (; *cursor <= map->mask; (*cursor)++) {
        const struct intmap_entry *entry = &map->entries[*cursor];
        if (entry->value == NULL)
            continue;
        if (ret_key != NULL)
            *ret_key = entry->key;
        if (ret_value != NULL)
            *ret_value = entry->value;
        (*cursor)++;
        return true;
    }
    return false;
}
