/*
 * schedules.c - see schedules.h.
 */
#include "run/schedules.h"

#include "base/clock.h"
#include "run/state.h"

static void tick(struct engine *engine, size_t index, int64_t slot_ms)
{
    const struct schedule *schedule = &engine->config->schedules[index];
    struct mailbox *mailbox = &engine->scheduler->mailbox;
    if (atomic_load(&engine->ticks_in_flight[index]))
        return; /* its last tick still runs: the next one finds this one's work */
    struct item_block *block = item_block_create(1, NULL);
    if (block == NULL)
        return;
    atomic_store(&engine->ticks_in_flight[index], true);
    struct item *item = item_block_items(block);
    item->source = ITEM_TICK;
    item->binding = schedule->binding;
    item->schedule = schedule;
    item->slot_ms = slot_ms;
    item->record.topic = span_of(schedule->name);
    item->entry.key_hash = index;
    mailbox_push(mailbox, &item->entry, &item->entry.next);
}

int64_t schedules_tick(struct engine *engine, int64_t *next_slot_ms)
{
    int64_t now = clock_wall_ms(), next = INT64_MAX;
    for (size_t i = 0; i < engine->config->schedule_count; i++) {
        int64_t every = engine->config->schedules[i].every_ms;
        if (now >= next_slot_ms[i]) {
            int64_t slot = now / every * every;
            next_slot_ms[i] = slot + every;
            tick(engine, i, slot);
        }
        if (next_slot_ms[i] < next)
            next = next_slot_ms[i];
    }
    return next;
}
