/*
 * lane_queue.c - the entries of a lane, linked in the order of their arrival.
 */
#include "flow/lane_parts.h"

void queue_insert(struct lane_queue *queue, struct lane_entry *entry)
{
    if (queue->tail == NULL || lane_older(queue->tail, entry)) {
        entry->next = NULL;
        if (queue->tail == NULL)
            queue->head = entry;
        else
            queue->tail->next = entry;
        queue->tail = entry;
        return;
    }
    struct lane_entry *ahead = queue->hint != NULL && lane_older(queue->hint, entry) ? queue->hint : NULL;
    struct lane_entry *behind = ahead == NULL ? queue->head : ahead->next;
    while (lane_older(behind, entry)) { /* ends: the tail is not older */
        ahead = behind;
        behind = behind->next;
    }
    entry->next = behind;
    if (ahead == NULL)
        queue->head = entry;
    else
        ahead->next = entry;
    queue->hint = entry;
}

struct lane_entry *queue_pop(struct lane_queue *queue)
{
    struct lane_entry *entry = queue->head;
    queue->head = entry->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    if (queue->hint == entry)
        queue->hint = NULL;
    entry->next = NULL;
    return entry;
}

size_t queue_drop(struct lane_queue *queue, bool (*match)(const struct lane_entry *entry, void *context), void *context,
                  struct lane_entry **dropped)
{
    struct lane_entry *entry = queue->head;
    size_t kept = 0;
    *queue = (struct lane_queue){0};
    while (entry != NULL) {
        struct lane_entry *next = entry->next;
        if (match(entry, context)) {
            entry->next = *dropped;
            *dropped = entry;
        } else {
            queue_insert(queue, entry);
            kept++;
        }
        entry = next;
    }
    return kept;
}

static struct lane_entry *entries_merge(struct lane_entry *a, struct lane_entry *b)
{
    struct lane_entry *head = NULL, **tail = &head;
    while (a != NULL && b != NULL) {
        struct lane_entry **older = lane_older(a, b) ? &a : &b;
        *tail = *older;
        tail = &(*older)->next;
        *older = (*older)->next;
    }
    *tail = a != NULL ? a : b;
    return head;
}

/* By arrival: a merge sort whose bins hold sorted lists of 1, 2, 4 … entries. */
struct lane_entry *entries_sort(struct lane_entry *list)
{
    struct lane_entry *bins[64] = {0};
    while (list != NULL) {
        struct lane_entry *run = list;
        list = list->next;
        run->next = NULL;
        size_t bin = 0;
        for (; bins[bin] != NULL; bin++) {
            run = entries_merge(bins[bin], run);
            bins[bin] = NULL;
        }
        bins[bin] = run;
    }
    struct lane_entry *sorted = NULL;
    for (size_t bin = 0; bin < 64; bin++)
        sorted = entries_merge(bins[bin], sorted);
    return sorted;
}
