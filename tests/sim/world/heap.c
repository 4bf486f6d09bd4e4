/*
 * heap.c - see heap.h. An array in heap order by (due, number of the push), which makes ties leave in the order they
 * came.
 */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

struct heap_item {
    int64_t due_ms;
    uint64_t push;
    void *item;
};

struct heap {
    struct heap_item *items;
    size_t count, size, max;
    uint64_t pushes;
};

struct heap *heap_create(size_t max)
{
    struct heap *heap = calloc(1, sizeof *heap);
    if (heap != NULL)
        heap->max = max;
    return heap;
}

void heap_destroy(struct heap *heap)
{
    if (heap == NULL)
        return;
    free(heap->items);
    free(heap);
}

static int heap_before(const struct heap_item *a, const struct heap_item *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->push < b->push;
}

int heap_push(struct heap *heap, int64_t due_ms, void *item)
{
    if (heap->count >= heap->max)
        return -ENOSPC;
    if (heap->count == heap->size) {
        size_t size = heap->size == 0 ? 16 : heap->size * 2;
        struct heap_item *items = reallocarray(heap->items, size, sizeof *items);
        if (items == NULL)
            return -ENOMEM;
        heap->items = items;
        heap->size = size;
    }

    struct heap_item added = {due_ms, heap->pushes++, item};
    size_t at = heap->count++;
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (!heap_before(&added, &heap->items[parent]))
            break;
        heap->items[at] = heap->items[parent];
        at = parent;
    }
    heap->items[at] = added;
    return 0;
}

int64_t heap_due(const struct heap *heap)
{
    return heap->count == 0 ? INT64_MAX : heap->items[0].due_ms;
}

void *heap_pop(struct heap *heap, int64_t now_ms)
{
    if (heap->count == 0 || heap->items[0].due_ms > now_ms)
        return NULL;

    void *first = heap->items[0].item;
    struct heap_item last = heap->items[--heap->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap_before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!heap_before(&heap->items[child], &last))
            break;
        heap->items[at] = heap->items[child];
        at = child;
    }
    if (heap->count > 0)
        heap->items[at] = last;
    return first;
}

size_t heap_count(const struct heap *heap)
{
    return heap->count;
}
