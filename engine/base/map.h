/*
 * map.h - a hash table from a span or a 64-bit key to a pointer. Open addressing, grows by itself.
 *
 * The map copies nothing: keys given as spans must outlive it. Not thread-safe.
 */
#ifndef SLUICE_BASE_MAP_H
#define SLUICE_BASE_MAP_H

#include "base/span.h"

struct map;                                            /* span → void* */
struct map *map_create(size_t expected);               /* NULL when out of memory */
void map_destroy(struct map *map);                     /* NULL is fine */
void *map_get(const struct map *map, struct span key); /* NULL when absent */
/* Sets key to value (never NULL). Returns the value it replaced, or NULL. Out of memory ends the process, as in
 * arena.h. */
void *map_set(struct map *map, struct span key, void *value);

struct intmap; /* uint64_t → void*, the same rules; its entries can be removed and walked */
struct intmap *intmap_create(size_t expected);
void intmap_destroy(struct intmap *map);
void *intmap_get(const struct intmap *map, uint64_t key);
void *intmap_set(struct intmap *map, uint64_t key, void *value);
void *intmap_remove(struct intmap *map, uint64_t key); /* the value, or NULL */
size_t intmap_count(const struct intmap *map);
/* Walks all entries in no order: start with *cursor = 0; false at the end. Do not change the map meanwhile. */
bool intmap_next(const struct intmap *map, size_t *cursor, uint64_t *ret_key, void **ret_value);

#endif
