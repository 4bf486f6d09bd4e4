/*
 * outage.c - says in the log that the database does not answer, and that it answers again.
 *
 * Every lane, reader and chore meets the same outage. The store says it once, again each minute, and once when it is
 * over; the others ask store_unreachable() and say nothing. A connection that was lost and made again at once is
 * no outage here.
 */
#include "store/connection/connection.h"

#include "base/clock.h"
#include "base/log.h"

enum { ANNOUNCE_AGAIN_MS = 60000 };

void outage_begin(struct store *store, const char *sentence, const char *advice)
{
    if (!store->announce)
        return;
    const char *separator = advice == NULL ? "" : "; ";
    advice = advice == NULL ? "" : advice;
    int64_t now = clock_monotonic_ms(), since = 0, announced;
    if (atomic_compare_exchange_strong(&store->unreachable_since_ms, &since, now)) {
        atomic_store(&store->announced_ms, now);
        log_warn("store", "waiting for the database, no try is counted: %s%s%s", sentence, separator, advice);
        return;
    }
    announced = atomic_load(&store->announced_ms);
    if (now - announced >= ANNOUNCE_AGAIN_MS && atomic_compare_exchange_strong(&store->announced_ms, &announced, now))
        log_warn("store", "waiting for the database since %lld s: %s%s%s", (long long)((now - since) / 1000), sentence,
                 separator, advice);
}

void outage_end(struct store *store)
{
    int64_t since = atomic_load(&store->unreachable_since_ms) == 0 ? 0
                                                                   : atomic_exchange(&store->unreachable_since_ms, 0);
    if (since != 0)
        log_info("store", "the database answers again, after %.1f s", (double)(clock_monotonic_ms() - since) / 1000);
}

bool store_unreachable(const struct store *store)
{
    return atomic_load(&store->unreachable_since_ms) != 0;
}

enum log_level connection_log_level(const struct connection *connection)
{
    return connection != NULL && store_unreachable(connection->store) ? LOG_DEBUG : LOG_WARN;
}

/* Notices (a plugin's "raise notice", "already exists, skipping") are no errors and are dropped, but for the one with
 * which the server closes every connection but that of a server process that has crashed. */
void outage_notice(void *context, const PGresult *result)
{
    struct connection *connection = context;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (state == NULL || strcmp(state, "57P02") != 0)
        return;
    connection->crash_elsewhere = true;
    atomic_fetch_add(&connection->store->crashes, 1);
}
