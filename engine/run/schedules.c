/*
 * schedules.c - see schedules.h.
 */
#include "run/schedules.h"

#include "base/clock.h"
#include "run/state.h"
#include "store/ledger.h"

#include <stdlib.h>

enum { SCHEDULE_OFTEN_MS = 1000 };

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

int64_t schedules_tick(struct engine *engine, struct schedule_run *runs)
{
    int64_t now = clock_wall_ms(), next = INT64_MAX;
    for (size_t i = 0; i < engine->config->schedule_count; i++) {
        int64_t every = engine->config->schedules[i].every_ms;
        if (atomic_load(&engine->bindings[engine->config->schedules[i].binding->index].paused))
            continue; /* the slot that it misses, it ticks once it is resumed */
        if (now >= runs[i].next_ms || now < runs[i].next_ms - every) { /* the latter: the clock was set back */
            int64_t slot = now / every * every;
            runs[i].next_ms = slot + every;
            tick(engine, i, slot);
        }
        if (runs[i].next_ms < next)
            next = runs[i].next_ms;
    }
    return next;
}

bool schedules_look(struct engine *engine, struct connection *connection, struct schedule_run *runs)
{
    size_t count = engine->config->schedule_count;
    bool now = false, seldom = false; /* one that ticks each second needs no look */
    for (size_t i = 0; i < count; i++)
        seldom = seldom || engine->config->schedules[i].every_ms > SCHEDULE_OFTEN_MS;
    int64_t *slots_ms = seldom ? calloc(count, sizeof *slots_ms) : NULL;
    if (slots_ms != NULL && ledger_slots(connection, engine->numbers.schedules, count, slots_ms, NULL) == STORE_OK) {
        for (size_t i = 0; i < count; i++) {
            if (slots_ms[i] < runs[i].seen_ms) {
                runs[i].next_ms = 0;
                now = true;
            }
            runs[i].seen_ms = slots_ms[i];
        }
    }
    free(slots_ms);
    return now;
}
