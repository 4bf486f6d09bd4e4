/*
 * fake_breaker.c - store/ledger_breaker.h in memory: one breaker.
 */
#include "fake_ledger.h"

#include "check.h"
#include "store/ledger_breaker.h"

enum store_result ledger_breaker_try(struct connection *connection, const struct breaker *breaker, bool *ret,
                                     struct error *error)
{
    enum store_result result = fake_executed(connection, "breaker_try", 1, error);
    (void)breaker;
    *ret = result == STORE_OK && connection->tables.breaker == FAKE_HALF_OPEN && !connection->tables.breaker_locked;
    return result;
}

enum store_result ledger_breaker_close(struct connection *connection, const struct breaker *breaker,
                                       struct error *error)
{
    (void)breaker, (void)error;
    fake_queued(connection, "breaker_close", 1);
    connection->tables.breaker = FAKE_CLOSED;
    return STORE_OK;
}

enum store_result ledger_breaker_reopen(struct connection *connection, const struct breaker *breaker,
                                        struct span reason, struct error *error)
{
    enum store_result result = connection->open ? fake_executed(connection, "breaker_reopen", 1, error)
                                                : fake_alone(connection, "breaker_reopen", error);
    assert_true(reason.length > 0 && breaker->open_ms > 0);
    if (result == STORE_OK)
        connection->tables.breaker = FAKE_OPEN;
    return result;
}
