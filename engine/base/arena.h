/*
 * arena.h - memory by lifetime: allocate freely, free everything at once.
 *
 * One arena lives as long as a batch, a request or a configuration. Blocks are kept across arena_reset(), so a lane
 * that has handled a few batches allocates nothing. Not thread-safe: an arena belongs to one thread at a time.
 */
#ifndef SLUICE_BASE_ARENA_H
#define SLUICE_BASE_ARENA_H

#include "base/span.h"

struct arena;

/* An empty arena that grows in blocks of block_size bytes and refuses to hold more than max_size. NULL when out of
 * memory. */
struct arena *arena_create(size_t block_size, size_t max_size);
void arena_destroy(struct arena *arena); /* NULL is fine */
/* Frees everything that was allocated; the arena keeps up to 64 blocks of block_size for the next round. */
void arena_reset(struct arena *arena);

/* `size` zeroed bytes aligned for any type. Never returns NULL: running out of memory or over max_size ends the
 * process with a sentence (a supervisor starts it again and no event is lost), so that no caller carries an untested
 * branch. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_alloc_raw(struct arena *arena, size_t size); /* the same, not zeroed */
void *arena_copy(struct arena *arena, const void *bytes, size_t length);
/* A list of `count` items with room for one more: itself, or a zeroed copy of twice the size when count is a power of
 * two. `list` may be NULL when count is 0. */
void *arena_grown(struct arena *arena, void *list, size_t count, size_t item_size);
char *arena_string(struct arena *arena, struct span text);     /* a NUL-terminated copy */
struct span arena_span(struct arena *arena, struct span text); /* a copy */
char *arena_format(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define arena_new(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

#endif
