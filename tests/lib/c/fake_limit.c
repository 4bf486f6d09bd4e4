/*
 * fake_limit.c - store/ledger_limit.h in memory: one bucket, whose next slot is kept by the test's clock, and of whose
 * places others have `taken`.
 */
#include "fake_ledger.h"

#include "base/clock.h"
#include "store/ledger_limit.h"

enum store_result ledger_limit_take(struct connection *connection, int16_t group, struct slots *slots, size_t count,
                                    int64_t ahead_ms, struct error *error)
{
    enum store_result result = fake_alone(connection, "limit_take", error);
    int64_t now_us = clock_monotonic_ns() / 1000;
    (void)group;
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        int64_t *next_us = &connection->next_slot_us, step_us = slots[i].step_ns / 1000;
        *next_us = *next_us < now_us ? now_us : *next_us;
        slots[i].in_us = *next_us - now_us;
        slots[i].given = 0;
        for (; slots[i].given < slots[i].want && *next_us <= now_us + ahead_ms * 1000; *next_us += step_us)
            slots[i].given++;
    }
    return result;
}

static void give_places(const struct connection *connection, struct places *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int32_t free = places[i].most - connection->taken;
        places[i].given = places[i].want < free ? places[i].want : free < 0 ? 0 : free;
    }
}

enum store_result ledger_limit_places(struct connection *connection, struct places *places, size_t count,
                                      struct error *error)
{
    enum store_result result = fake_executed(connection, "limit_places", count, error);
    if (result == STORE_OK)
        give_places(connection, places, count);
    return result;
}

enum store_result ledger_limit_free(struct connection *connection, struct places *places, size_t count,
                                    struct error *error)
{
    enum store_result result = fake_alone(connection, "limit_free", error);
    if (result == STORE_OK)
        give_places(connection, places, count);
    return result;
}
