/*
 * arena.c - see arena.h. A list of blocks, the newest first; only the newest is allocated from. What is larger than a
 * block gets a block of its own. Under AddressSanitizer the unused part of every block is poisoned, so that a pointer
 * kept across arena_reset() is caught where it is used.
 */
#include "base/arena.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>

/* Functions of our own around the sanitizer's: gcc takes those for readers of the fresh memory they are given. */
static __attribute__((noinline)) void arena_hide(char *at, size_t size)
{
    __asan_poison_memory_region(at, size);
}

static __attribute__((noinline)) void arena_show(char *at, size_t size)
{
    __asan_unpoison_memory_region(at, size);
}
#else
#define arena_hide(at, size) ((void)(at), (void)(size))
#define arena_show(at, size) ((void)(at), (void)(size))
#endif

enum {
    ARENA_ALIGN = 16,
    ARENA_KEEP_BLOCKS = 64, /* spare blocks that one arena may hold between two rounds */
};

struct arena_block {
    struct arena_block *next;
    size_t size; /* of bytes[] */
    size_t used;
    _Alignas(ARENA_ALIGN) char bytes[];
};

struct arena {
    struct arena_block *blocks; /* in use, the current one first */
    struct arena_block *spare;  /* kept by arena_reset() */
    size_t block_size, max_size;
    size_t used; /* bytes handed out, with their padding */
};

struct arena *arena_create(size_t block_size, size_t max_size)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL)
        return NULL;
    arena->block_size = block_size < 256 ? 256 : (block_size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    arena->max_size = max_size;
    return arena;
}

static void arena_free_blocks(struct arena_block *block)
{
    while (block != NULL) {
        struct arena_block *next = block->next;
        arena_show(block->bytes, block->size);
        free(block);
        block = next;
    }
}

void arena_destroy(struct arena *arena)
{
    if (arena == NULL)
        return;
    arena_free_blocks(arena->blocks);
    arena_free_blocks(arena->spare);
    free(arena);
}

/* Blocks of the ordinary size go to the spare list while it has room; larger ones were for one event and go back to
 * libc. */
void arena_reset(struct arena *arena)
{
    size_t kept = 0;
    for (struct arena_block *block = arena->spare; block != NULL; block = block->next)
        kept++;

    struct arena_block *block = arena->blocks;
    while (block != NULL) {
        struct arena_block *next = block->next;
        if (block->size == arena->block_size && kept < ARENA_KEEP_BLOCKS) {
            arena_hide(block->bytes, block->size);
            block->used = 0;
            block->next = arena->spare;
            arena->spare = block;
            kept++;
        } else {
            arena_show(block->bytes, block->size);
            free(block);
        }
        block = next;
    }
    arena->blocks = NULL;
    arena->used = 0;
}

static _Noreturn void arena_exhausted(const struct arena *arena, size_t size, const char *why)
{
    log_line(LOG_ERROR, "memory",
             "cannot take %zu bytes more, %zu are in use and %zu are allowed: %s; the process ends", size, arena->used,
             arena->max_size, why);
    log_flush();
    _exit(EX_OSERR);
}

/* Makes a block with room for `size` the current one. */
static struct arena_block *arena_grow(struct arena *arena, size_t size)
{
    struct arena_block *block;
    if (size <= arena->block_size && arena->spare != NULL) {
        block = arena->spare;
        arena->spare = block->next;
    } else {
        size_t block_size = size > arena->block_size ? size : arena->block_size;
        block = malloc(sizeof *block + block_size);
        if (block == NULL)
            arena_exhausted(arena, size, "the system has no memory left");
        block->size = block_size;
        block->used = 0;
        arena_hide(block->bytes, block->size);
    }

    /* A block made for one large allocation is full: the half-empty one stays in front, its rest is not lost. */
    if (size > arena->block_size && arena->blocks != NULL) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

void *arena_alloc_raw(struct arena *arena, size_t size)
{
    size_t padded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (padded < size || arena->used > arena->max_size || padded > arena->max_size - arena->used)
        arena_exhausted(arena, size, "the limit of this arena is reached");
    if (padded == 0)
        padded = ARENA_ALIGN; /* two empty allocations still have different addresses */

    struct arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < padded)
        block = arena_grow(arena, padded);
    char *at = block->bytes + block->used;
    block->used += padded;
    arena->used += padded;
    arena_show(at, size);
    return at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *at = arena_alloc_raw(arena, size);
    memset(at, 0, size);
    return at;
}

void *arena_copy(struct arena *arena, const void *bytes, size_t length)
{
    char *at = arena_alloc_raw(arena, length);
    if (length > 0)
        memcpy(at, bytes, length);
    return at;
}

void *arena_grown(struct arena *arena, void *list, size_t count, size_t item_size)
{
    if ((count & (count - 1)) != 0)
        return list;
    void *larger = arena_alloc(arena, item_size * (count == 0 ? 1 : count * 2));
    if (count > 0)
        memcpy(larger, list, item_size * count);
    return larger;
}

char *arena_string(struct arena *arena, struct span text)
{
    char *at = arena_alloc_raw(arena, text.length + 1);
    if (text.length > 0)
        memcpy(at, text.at, text.length);
    at[text.length] = '\0';
    return at;
}

struct span arena_span(struct arena *arena, struct span text)
{
    return (struct span){arena_copy(arena, text.at, text.length), text.length};
}

char *arena_format(struct arena *arena, const char *format, ...)
{
    char small[256];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(small, sizeof small, format, arguments);
    va_end(arguments);

    char *at;
    if (length < (int)sizeof small) {
        at = arena_copy(arena, small, length < 0 ? 1 : (size_t)length + 1);
        /* below 0 only a broken multibyte conversion gets us; our formats have none */
        at[length < 0 ? 0 : length] = '\0';
    } else {
        at = arena_alloc_raw(arena, (size_t)length + 1);
        vsnprintf(at, (size_t)length + 1, format, again);
    }
    va_end(again);
    return at;
}
