/*
 * group.c - see group.h.
 */
#include "run/group.h"

#include "batch/item.h"
#include "bus/bus.h"
#include "run/state.h"

bool group_is_recorded(const struct engine *engine, const struct group *config)
{
    bool recorded = config->tap == NULL;
    for (size_t i = 0; i < engine->config->binding_count; i++)
        recorded = recorded || (engine->config->bindings[i]->group == config && engine->bindings[i].records);
    return recorded && engine->store != NULL;
}

size_t group_bytes_max(const struct group *config)
{
    size_t bytes = (size_t)GROUP_LANE_BYTES * config->lanes;
    return bytes < GROUP_BYTES_MIN ? GROUP_BYTES_MIN : bytes > GROUP_BYTES_MAX ? GROUP_BYTES_MAX : bytes;
}

void group_wake(struct group_run *group)
{
    for (size_t i = 0; i < group->worker_count; i++)
        mailbox_wake(&group->workers[i]->mailbox);
}

void group_changed(struct group_run *group)
{
    atomic_fetch_add(&group->assignment, 1);
    group_wake(group);
}

/* Completes the positions of items that came from the bus. */
static void complete_positions(struct group_run *group, struct item **items, size_t count)
{
    pthread_mutex_lock(&group->lock);
    for (size_t i = 0; i < count; i++) {
        const struct item *item = items[i];
        if (item->source == ITEM_BUS && item->stream < group->tracker_count && group->trackers[item->stream] != NULL)
            tracker_complete(group->trackers[item->stream], item->epoch, item->ticket);
    }
    pthread_mutex_unlock(&group->lock);
}

void group_finish(struct group_run *group, struct item **items, size_t count, bool complete)
{
    size_t taken = 0, bytes = 0, parked = 0, ended = 0, waiting = 0, waiting_bytes = 0;
    if (complete)
        complete_positions(group, items, count);
    for (size_t i = 0; i < count; i++) {
        parked += items[i]->source == ITEM_PARKED;
        if (items[i]->source != ITEM_BUS)
            continue;
        ended++;
        if (items[i]->waited) {
            waiting++;
            waiting_bytes += items[i]->record.value.length;
        } else {
            taken++;
            bytes += items[i]->record.value.length;
        }
    }
    items_free(items, count);
    if (parked > 0)
        atomic_fetch_sub(&group->engine->parked_in_flight, parked);
    if (ended == 0)
        return;
    atomic_fetch_sub(&group->in_flight, taken);
    atomic_fetch_sub(&group->in_flight_bytes, bytes);
    atomic_fetch_sub(&group->waiting, waiting);
    atomic_fetch_sub(&group->waiting_bytes, waiting_bytes);
    series_add(group->metric_in_flight, -(int64_t)ended);
    if (atomic_load(&group->paused))
        bus_wake(group->engine->bus, group->consumer);
}

void group_waits(struct group_run *group, const struct item *item)
{
    atomic_fetch_add(&group->waiting, 1);
    atomic_fetch_add(&group->waiting_bytes, item->record.value.length);
    atomic_fetch_sub(&group->in_flight, 1);
    atomic_fetch_sub(&group->in_flight_bytes, item->record.value.length);
    if (atomic_load(&group->paused))
        bus_wake(group->engine->bus, group->consumer);
}
