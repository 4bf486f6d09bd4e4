/*
 * fake_after.c - store/ledger_after.h in memory. Others' transactions do not run beside the test's.
 */
#include "fake_ledger.h"

#include "base/clock.h"
#include "check.h"

static struct needed *needed_find(struct fake_tables *tables, struct event_id id)
{
    for (size_t i = 0; i < tables->needed_count; i++)
        if (memcmp(&tables->needed[i].id, &id, sizeof id) == 0)
            return &tables->needed[i];
    return NULL;
}

enum store_result ledger_after_look(struct connection *connection, int16_t group, struct needed *needed, size_t count,
                                    struct error *error)
{
    enum store_result result = fake_executed(connection, "after_look", count, error);
    (void)group;
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        const struct needed *row = needed_find(&connection->tables, needed[i].id);
        needed[i].handled = row != NULL && row->handled;
    }
    return result;
}

enum store_result ledger_after_note(struct connection *connection, int16_t group, const struct needed *needed,
                                    size_t count, const struct held_need *held, size_t held_count, size_t *ret,
                                    struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    enum store_result result = fake_executed(connection, "after_note", count, error);
    (void)group;
    *ret = 0;
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        struct needed *row = needed_find(tables, needed[i].id);
        assert_true(i == 0 || memcmp(&needed[i - 1].id, &needed[i].id, sizeof needed[i].id) < 0);
        if (row == NULL)
            FAKE_ADD(tables->needed, tables->needed_count, needed[i]);
        else
            row->handled |= needed[i].handled;
    }
    for (size_t h = 0; h < tables->held_count && result == STORE_OK; h++) {
        struct fake_held *row = &tables->held[h];
        for (size_t i = 0; i < held_count; i++)
            if (row->row.key_hash == held[i].key_hash && memcmp(&row->row.id, &held[i].event, sizeof row->row.id) == 0)
                row->needs = held[i].needs, row->rule = held[i].rule, row->waits = held[i].rule.at != NULL,
                row->ready = row->ready && row->waits;
        const struct needed *need = row->waits ? needed_find(tables, row->needs) : NULL;
        *ret += need != NULL && need->handled && !row->ready;
        row->ready = row->ready || (need != NULL && need->handled);
    }
    return result;
}

enum store_result ledger_after_ready(struct connection *connection, int16_t group, const struct span *streams,
                                     size_t stream_count, int32_t limit, struct rows **ret, struct error *error)
{
    static const enum param_type types[] = {PARAM_INT8, PARAM_BOOL};
    const struct fake_tables *tables = &connection->tables;
    struct fake_cell cells[2 * (FAKE_TABLE_MAX + 1)];
    size_t found = 0;
    bool some = false;
    enum store_result result = fake_alone(connection, "after_ready", error);
    (void)group, (void)streams, (void)stream_count, (void)limit;
    for (size_t h = 0; h < tables->held_count; h++) {
        some = some || (tables->held[h].waits && !tables->held[h].ready);
        if (tables->held[h].ready)
            cells[2 * found++] = (struct fake_cell){.number = tables->held[h].row.key_hash};
    }
    if (found == 0)
        cells[2 * found++] = (struct fake_cell){.null = true};
    for (size_t i = 0; i < found; i++)
        cells[2 * i + 1] = (struct fake_cell){.number = some};
    *ret = fake_rows(connection, 2, types, found, cells);
    return result;
}

static bool stands(struct span rule, const struct span *rules, size_t rule_count)
{
    for (size_t i = 0; i < rule_count; i++)
        if (span_equal(rules[i], rule))
            return true;
    return false;
}

enum store_result ledger_after_changed(struct connection *connection, int16_t group, const struct span *streams,
                                       size_t stream_count, const struct span *rules, size_t rule_count,
                                       struct error *error)
{
    struct fake_tables *tables = &connection->tables;
    enum store_result result = fake_alone(connection, "after_changed", error);
    (void)group, (void)streams, (void)stream_count;
    for (size_t h = 0; result == STORE_OK && h < tables->held_count; h++) {
        struct fake_held *row = &tables->held[h];
        row->ready = row->ready || (row->waits && !stands(row->rule, rules, rule_count));
    }
    return result;
}
