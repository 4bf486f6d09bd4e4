/*
 * shared.c - one session for all connections of a store that one thread uses.
 *
 * The session goes to whoever opens next, with the statements that the server knows by it and with what session.c
 * remembers of it. It stays where it is while a transaction is open on it: a second transaction beside that one has a
 * session of its own. It outlives the connection that has it.
 */
#include "store/connection/connection.h"

void store_share_session(struct store *store)
{
    store->shares_session = true;
}

static bool is_idle(const struct connection *connection)
{
    return connection->transaction == TRANSACTION_NONE && connection->pending_count == 0 &&
           PQtransactionStatus(connection->pg) == PQTRANS_IDLE;
}

static void hand_on(struct connection *from, struct connection *to)
{
    to->pg = from->pg;
    to->prepared = from->prepared;
    to->prepared_count = from->prepared_count;
    from->pg = NULL;
    from->prepared = NULL;
    from->prepared_count = 0;
    session_hand_on(&from->session, &to->session);
    PQsetNoticeReceiver(to->pg, outage_notice, to);
    to->store->holder = to;
}

void shared_borrow(struct connection *connection)
{
    struct connection *holder = connection->store->holder;
    if (holder != NULL && holder != connection && connection->pg == NULL && is_idle(holder))
        hand_on(holder, connection);
}

void shared_keep(struct connection *connection)
{
    struct store *store = connection->store;
    if (store->holder == connection && store->spare != NULL && store->spare != connection && is_idle(connection))
        hand_on(connection, store->spare);
}

void shared_own(struct connection *connection)
{
    struct store *store = connection->store;
    if (store->shares_session && store->holder == NULL)
        store->holder = connection;
}
