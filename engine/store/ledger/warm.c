/*
 * warm.c - see ledger_warm(): what the first batch of a lane would have to wait for, before there is one.
 */
#include "store/ledger/inner.h"

#include "base/clock.h"

void ledger_warm(struct connection *connection, int64_t deadline_ms)
{
    struct claim claim = {.handler = 0};
    int64_t id;
    char text[37];
    event_id_new(clock_wall_ms(), text); /* nobody waits for another lane's */
    claim.id = event_id_of(span_of(text));
    if (connection_begin(connection, deadline_ms, NULL) == STORE_OK &&
        ledger_claim(connection, 0, &claim, 1, NULL) == STORE_OK &&
        ledger_outbox_add(connection, 0, (struct span){"", 0}, &id, NULL) == STORE_OK)
        (void)ledger_outbox_done(connection, &id, 1, NULL);
    connection_rollback(connection);
}
