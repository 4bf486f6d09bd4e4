/*
 * timeouts.c - see timeouts.h. A timeout, or what an operator asked for, is handed to a lane like a parked event, and
 * claimed under an id made of chain, correlation and generation, so that it takes effect once, whoever finds it.
 */
#include "run/timeouts.h"

#include "base/log.h"
#include "run/state.h"
#include "store/ledger_timeout.h"

enum {
    TIMEOUTS_HOLD_MS = 30000, /* one taken by a process that died comes again after this */
    TIMEOUTS_LIMIT = 200,
    TIMEOUTS_IN_FLIGHT_MAX = 4000
};

static void timeout_push(struct engine *engine, struct chain *chain, struct rows *rows, size_t row, struct item *item)
{
    struct group_run *group = &engine->groups[0];
    const struct record record = {
        .topic = span_of(chain->steps[0].done->name), .key = rows_span(rows, row, 1), .value = rows_span(rows, row, 2)};
    item_of_record(item, ITEM_PARKED, &record, span_hash(record.key), chain->steps[0].done, group->config);
    item->binding = NULL;
    item->timed_out = &chain->timed_out;
    atomic_fetch_add(&engine->parked_in_flight, 1);
    mailbox_push(&group->workers[lane_of_key(item->entry.key_hash, group->worker_count)]->mailbox, &item->entry,
                 &item->entry.next);
}

void timeouts_take(struct engine *engine, struct connection *connection, struct arena *arena)
{
    const struct pipeline *config = engine->config;
    struct rows *rows = NULL;
    struct error error = {0};
    if (config->chain_count == 0 || atomic_load(&engine->parked_in_flight) >= TIMEOUTS_IN_FLIGHT_MAX)
        return;
    struct span *correlates = arena_array(arena, struct span, config->chain_count);
    for (size_t c = 0; c < config->chain_count; c++)
        correlates[c] = span_of(config->chains[c].correlate);
    enum store_result result = ledger_chain_timeouts(connection, engine->numbers.chains, correlates,
                                                     config->chain_count, TIMEOUTS_HOLD_MS, TIMEOUTS_LIMIT, &rows,
                                                     &error);
    arena_reset(arena);
    if (result != STORE_OK) {
        log_rarely(10000, connection_log_level(connection), "keeper",
                   "chains whose timeout is over cannot be looked for: %s", error.text);
        return;
    }
    size_t count = rows_count(rows);
    if (count == 0)
        return;
    rows = rows_detach(connection, rows);
    struct item_block *block = item_block_create(count, rows);
    for (size_t i = 0; block != NULL && i < count; i++)
        timeout_push(engine, &config->chains[rows_int64(rows, i, 0)], rows, i, &item_block_items(block)[i]);
    if (block == NULL)
        rows_free(rows);
}
