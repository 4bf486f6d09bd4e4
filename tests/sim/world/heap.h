/*
 * heap.h - the earliest first: a binary heap of pointers by due time. Ties leave in the order they came.
 *
 * Not thread-safe. Knows its maximum; heap_push fails with -ENOSPC beyond it.
 */
#ifndef SLUICE_SIM_HEAP_H
#define SLUICE_SIM_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap;
struct heap *heap_create(size_t max); /* NULL when out of memory */
void heap_destroy(struct heap *heap); /* NULL is fine; the items are the caller's */
int heap_push(struct heap *heap, int64_t due_ms, void *item);
int64_t heap_due(const struct heap *heap);         /* INT64_MAX when empty */
void *heap_pop(struct heap *heap, int64_t now_ms); /* the earliest that is due at now_ms, or NULL */
size_t heap_count(const struct heap *heap);

#endif
