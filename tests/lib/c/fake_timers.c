/*
 * fake_timers.c - timers of chains in the fake ledger's table of parked events.
 */
#include "fake_ledger.h"

#include "store/ledger_timer.h"

#include "check.h"

static struct parked *parked_find(struct fake_tables *tables, int16_t group, struct event_id id)
{
    for (size_t i = 0; i < tables->parked_count; i++)
        if (tables->parked[i].group == group && memcmp(&tables->parked[i].id, &id, sizeof id) == 0)
            return &tables->parked[i];
    return NULL;
}

enum store_result ledger_timers_cancel(struct connection *connection, int16_t group, const struct event_id *ids,
                                       size_t count, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    (void)error;
    if (count > 0)
        fake_queued(connection, "timers_cancel", count);
    for (size_t i = 0; i < count; i++) {
        struct parked *row = parked_find(tables, group, ids[i]);
        if (row != NULL)
            *row = tables->parked[--tables->parked_count];
    }
    return STORE_OK;
}

enum store_result ledger_timers_end(struct connection *connection, int16_t group, struct timer_taken *timers,
                                    size_t count, struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    enum store_result result = fake_executed(connection, "timers_end", count, error);
    for (size_t i = 0; result == STORE_OK && i < count; i++) {
        struct parked *row = parked_find(tables, group, timers[i].id);
        timers[i].ended = row != NULL && span_equal(row->record, timers[i].record);
        if (timers[i].ended)
            *row = tables->parked[--tables->parked_count];
    }
    return result;
}
