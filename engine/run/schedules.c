/*
 * schedules.c - see schedules.h.
 *
 * A tick of `every` that nobody does is made up for by the next one, which is soon. The next one of `cron` may be a
 * year away, so each process looks every second whether the row of the schedule has the last one.
 */
#include "run/schedules.h"

#include "base/clock.h"
#include "run/state.h"
#include "store/ledger_schedule.h"

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

static void tick_every(struct engine *engine, struct schedule_run *run, size_t index, int64_t now_ms)
{
    int64_t every_ms = engine->config->schedules[index].every_ms;
    if (now_ms < run->next_ms && now_ms >= run->next_ms - every_ms) /* before the latter: the clock was set back */
        return;
    int64_t slot_ms = now_ms / every_ms * every_ms;
    run->next_ms = slot_ms + every_ms;
    tick(engine, index, slot_ms);
}

static void tick_cron(struct engine *engine, struct schedule_run *run, size_t index, int64_t now_ms)
{
    const struct schedule *schedule = &engine->config->schedules[index];
    int64_t next_ms = cron_next_ms(&schedule->cron, schedule->zone, now_ms);
    bool due = now_ms >= run->next_ms && run->began_ms != 0;
    if (due)
        tick(engine, index, cron_last_ms(&schedule->cron, schedule->zone, now_ms));
    if (run->began_ms == 0)
        run->began_ms = now_ms;
    run->next_ms = next_ms; /* when the clock was set back, earlier than it was */
}

int64_t schedules_tick(struct engine *engine, struct schedule_run *runs)
{
    int64_t now_ms = clock_wall_ms(), next_ms = INT64_MAX;
    for (size_t i = 0; i < engine->config->schedule_count; i++) {
        const struct schedule *schedule = &engine->config->schedules[i];
        struct schedule_run *run = &runs[i];
        if (atomic_load(&engine->bindings[schedule->binding->index].paused))
            continue; /* the slot that it misses, it ticks once it is resumed */
        if (schedule->every_ms > 0)
            tick_every(engine, run, i, now_ms);
        else
            tick_cron(engine, run, i, now_ms - run->ahead_ms);
        if (run->next_ms != INT64_MAX && run->next_ms + run->ahead_ms < next_ms)
            next_ms = run->next_ms + run->ahead_ms;
    }
    return next_ms;
}

/* Whether its last tick was not done. A schedule that is new has none before this process began. */
static bool cron_missed(struct engine *engine, struct connection *connection, struct schedule_run *run, size_t index,
                        int64_t server_ms)
{
    const struct schedule *schedule = &engine->config->schedules[index];
    run->ahead_ms = clock_wall_ms() - server_ms;
    if (run->began_ms == 0)
        return false;
    if (!run->begun && run->seen_ms == 0) {
        int64_t last_ms = cron_last_ms(&schedule->cron, schedule->zone, run->began_ms);
        run->begun = ledger_schedule_begin(connection, engine->numbers.schedules[index], last_ms, NULL) == STORE_OK;
        return false;
    }
    run->begun = true;
    return run->seen_ms < cron_last_ms(&schedule->cron, schedule->zone, server_ms);
}

bool schedules_look(struct engine *engine, struct connection *connection, struct schedule_run *runs)
{
    const struct schedule *schedules = engine->config->schedules;
    size_t count = engine->config->schedule_count;
    bool now = false, seldom = false; /* one that ticks each second needs no look */
    for (size_t i = 0; i < count; i++)
        seldom = seldom || schedules[i].every_ms == 0 || schedules[i].every_ms > SCHEDULE_OFTEN_MS;
    int64_t *slots_ms = seldom ? calloc(count, sizeof *slots_ms) : NULL, server_ms = 0;
    if (slots_ms != NULL &&
        ledger_slots(connection, engine->numbers.schedules, count, slots_ms, &server_ms, NULL) == STORE_OK) {
        for (size_t i = 0; i < count; i++) {
            bool set_back = slots_ms[i] < runs[i].seen_ms;
            runs[i].seen_ms = slots_ms[i];
            if (schedules[i].every_ms > 0 ? set_back : cron_missed(engine, connection, &runs[i], i, server_ms)) {
                runs[i].next_ms = 0;
                now = true;
            }
        }
    }
    free(slots_ms);
    return now;
}
