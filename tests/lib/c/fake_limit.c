/*
 * fake_limit.c - store/ledger_limit.h in memory: one bucket, whose next slot is kept by the test's clock.
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
