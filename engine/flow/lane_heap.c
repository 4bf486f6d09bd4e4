/*
 * lane_heap.c - held keys by rank: binary heaps of pointers, each key with its index.
 */
#include "flow/lane_parts.h"

enum { LANE_HEAP_MIN = 16 };

static void heap_set(struct lane_heap *heap, size_t at, struct lane_key *key)
{
    heap->keys[at] = key;
    key->at = at;
}

static void heap_up(struct lane_heap *heap, struct lane_key *key)
{
    size_t at = key->at;
    for (; at > 0 && key->rank < heap->keys[(at - 1) / 2]->rank; at = (at - 1) / 2)
        heap_set(heap, at, heap->keys[(at - 1) / 2]);
    heap_set(heap, at, key);
}

static void heap_down(struct lane_heap *heap, struct lane_key *key)
{
    size_t at = key->at;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child + 1 < heap->count && heap->keys[child + 1]->rank < heap->keys[child]->rank)
            child++;
        if (child >= heap->count || key->rank <= heap->keys[child]->rank)
            break;
        heap_set(heap, at, heap->keys[child]);
        at = child;
    }
    heap_set(heap, at, key);
}

void heap_add(struct lane *lane, struct lane_heap *heap, struct lane_key *key, int64_t rank)
{
    if (heap->count == heap->size) {
        size_t size = heap->size == 0 ? LANE_HEAP_MIN : heap->size * 2;
        struct lane_key **keys = arena_alloc_raw(lane->arena, size * sizeof *keys);
        if (heap->count > 0)
            memcpy(keys, heap->keys, heap->count * sizeof *keys);
        heap->keys = keys;
        heap->size = size;
    }
    key->heap = heap;
    key->rank = rank;
    heap_set(heap, heap->count++, key);
    heap_up(heap, key);
}

void heap_leave(struct lane_key *key)
{
    struct lane_heap *heap = key->heap;
    key->heap = NULL;
    if (heap == NULL)
        return;
    struct lane_key *last = heap->keys[--heap->count];
    if (last == key)
        return;
    heap_set(heap, key->at, last);
    heap_up(heap, last);
    heap_down(heap, last);
}
