/*
 * item.c - see item.h.
 */
#include "batch/item.h"

#include "bus/bus.h"
#include "store/store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct item_block {
    atomic_size_t items;
    struct rows *rows;
    struct item item[];
};

struct item_block *item_block_create(size_t count, struct rows *rows)
{
    struct item_block *block = calloc(1, sizeof *block + count * sizeof block->item[0]);
    if (block == NULL)
        return NULL;
    atomic_init(&block->items, count);
    block->rows = rows;
    for (size_t i = 0; i < count; i++)
        block->item[i].block = block;
    return block;
}

struct item *item_block_items(struct item_block *block)
{
    return block->item;
}

void item_block_release(struct item_block *block, size_t items)
{
    if (atomic_fetch_sub_explicit(&block->items, items, memory_order_acq_rel) == items) {
        rows_free(block->rows);
        free(block);
    }
}

/* Events that may wait for others are in an order of their own: one that waits must not hold up what it waits for. */
static uint64_t order_of(const struct topic *topic, uint64_t key_hash)
{
    if (topic == NULL || topic->after == NULL)
        return key_hash;
    const uint64_t both[] = {key_hash, span_hash(span_of(topic->name))};
    return span_hash((struct span){(const char *)both, sizeof both});
}

void item_of_record(struct item *item, enum item_source source, const struct record *record, uint64_t key_hash,
                    struct topic *topic, const struct group *group)
{
    item->source = source;
    item->record = *record;
    bool again = source == ITEM_HELD || group->tap != NULL || group->retired != NULL; /* held: as it was written */
    item->entry.key_hash = again ? key_hash : order_of(topic, key_hash);
    item->entry.unordered = source == ITEM_PARKED; /* its key went on */
    item->topic = topic;
    item->binding = group->retired != NULL ? NULL
                    : group->tap != NULL   ? group->tap->binding
                    : topic == NULL        ? NULL
                                           : topic->binding;
}

void item_rename(struct item *item)
{
    item->record.topic = span_of(item->topic->name);
}

void item_cancel(struct item *item, struct span why)
{
    if (why.length == 0)
        return;
    item->condemned = DEAD_CANCELLED;
    item->sentence = strndup(why.at, why.length);
}

int item_own_headers(struct item *item)
{
    item->headers = calloc(item->record.header_count + 1, sizeof *item->headers);
    if (item->headers == NULL)
        return -ENOMEM;
    if (item->record.header_count > 0)
        memcpy(item->headers, item->record.headers, item->record.header_count * sizeof *item->headers);
    item->record.headers = item->headers;
    return 0;
}

static struct span copied(char **at, struct span bytes)
{
    struct span copy = {bytes.at == NULL ? NULL : *at, bytes.length};
    if (bytes.at != NULL && bytes.length > 0)
        memcpy(*at, bytes.at, bytes.length);
    *at += bytes.length;
    return copy;
}

/* The headers, and behind them all bytes. */
static struct header *record_own(struct record *record)
{
    size_t count = record->header_count, size = record->topic.length + record->key.length + record->value.length;
    for (size_t i = 0; i < count; i++)
        size += record->headers[i].name.length + record->headers[i].value.length;
    struct header *headers = malloc((count + 1) * sizeof *headers + size);
    if (headers == NULL)
        return NULL;
    char *at = (char *)(headers + count + 1);
    record->topic = copied(&at, record->topic);
    record->key = copied(&at, record->key);
    record->value = copied(&at, record->value);
    for (size_t i = 0; i < count; i++) {
        headers[i].name = copied(&at, record->headers[i].name);
        headers[i].value = copied(&at, record->headers[i].value);
    }
    record->headers = headers;
    return headers;
}

struct item *item_wait_apart(struct item *item)
{
    struct item_block *block = item_block_create(1, NULL);
    struct record record = item->record;
    struct header *owned = block == NULL ? NULL : record_own(&record);
    if (owned == NULL) {
        free(block);
        return NULL;
    }
    struct item *waiting = item_block_items(block);
    *waiting = *item;
    waiting->block = block;
    waiting->chunk = NULL;
    waiting->record = record;
    waiting->headers = owned;
    waiting->waits = waiting->waited = true;
    waiting->waiting_key = item->entry.key_hash;
    waiting->entry.key_hash = span_hash((struct span){(const char *)&waiting, sizeof waiting});
    item->sentence = NULL; /* it is the copy's now */
    items_free(&item, 1);
    return waiting;
}

void item_wait_over(struct item *item)
{
    if (item->waits)
        item->entry.key_hash = item->waiting_key;
    item->waits = false;
}

void items_free(struct item **items, size_t count)
{
    for (size_t i = 0; i < count;) {
        struct item_block *block = items[i]->block;
        struct bus_chunk *chunk = items[i]->chunk;
        size_t run = 0;
        while (i + run < count && items[i + run]->block == block && items[i + run]->chunk == chunk) {
            free(items[i + run]->sentence);
            free(items[i + run]->headers);
            run++;
        }
        if (chunk != NULL)
            bus_chunk_release(chunk, run);
        item_block_release(block, run);
        i += run;
    }
}

uint64_t attempt_key(int16_t handler, struct event_id id)
{
    return span_hash((struct span){(const char *)id.bytes, sizeof id.bytes}) ^ (uint64_t)handler << 48;
}
