/*
 * fake_suspect.c - sluice.suspect for the tests of batch/.
 */
#include "fake_ledger.h"

#include "check.h"
#include "store/ledger_suspect.h"

enum store_result ledger_suspects_note(struct connection *connection, const struct noted_suspect *suspects,
                                       size_t count, struct error *error)
{
    enum store_result result = fake_alone(connection, "suspects_note", error);
    assert_false(connection->open);
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        assert_true(suspects[i].times > 0);
        connection->suspects++;
    }
    return result;
}

enum store_result ledger_suspects_clear(struct connection *connection, const struct noted_suspect *suspects,
                                        size_t count, struct error *error)
{
    (void)suspects, (void)error;
    assert_true(count > 0);
    fake_queued(connection, "suspects_clear", count);
    connection->suspects -= count < connection->suspects ? count : connection->suspects;
    return STORE_OK;
}
