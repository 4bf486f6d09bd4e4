/*
 * chains.c - store/ledger.h over the fake database: the rows of chains. A row is locked until its transaction ends, and
 * what the transaction reads of it is what it has written there itself.
 */
#include "sim.h"

#include <stdlib.h>

static uint32_t chain_of(const struct world *world, int16_t config, struct event_id correlation)
{
    uint32_t number = (uint32_t)correlation.bytes[12] << 24 | (uint32_t)correlation.bytes[13] << 16 |
                      (uint32_t)correlation.bytes[14] << 8 | correlation.bytes[15];
    if (number >= world->chain_count || world->pipeline.chain_numbers[world->chains[number].config] != config)
        sim_fail(world, "there is no correlation %u of chain %d", number, config);
    return number;
}

static void chain_write(struct connection *connection, uint32_t number)
{
    connection->world->chains[number].working_exists = true;
    connection_change(connection, CHANGE_CHAIN, number, 0);
}

static struct chain_row chain_row(int16_t config, struct event_id correlation, const struct chain_facts *facts)
{
    return (struct chain_row){.chain = config,
                              .state = facts->state,
                              .correlation = correlation,
                              .done = (int32_t)facts->done,
                              .undoing = (int32_t)facts->undoing,
                              .undone = (int32_t)facts->undone};
}

static int number_compare(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

/* In one order for all, as the statement locks them: so two batches cannot deadlock. */
static enum store_result chains_lock(struct connection *connection, const struct chain_done *done, size_t count,
                                     struct error *error)
{
    uint32_t *numbers = arena_array(connection->scratch, uint32_t, count);
    enum store_result result = connection_trip(connection, error);
    for (size_t i = 0; i < count; i++)
        numbers[i] = chain_of(connection->world, done[i].chain, done[i].correlation);
    qsort(numbers, count, sizeof *numbers, number_compare);
    for (size_t i = 0; i < count && result == STORE_OK; i++)
        result = connection_lock_chain(connection, numbers[i], error);
    return result;
}

static void chain_returned(struct rows *rows, size_t index, const struct chain_facts *facts)
{
    struct cell *cells = rows_add(rows);
    cells[0].number = (int64_t)index;
    cells[1].number = facts->state;
    cells[2].number = facts->done;
    cells[3].number = facts->undoing;
    cells[4].number = facts->undone;
    cells[5].span = SPAN("because");
}

enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct rows **ret, struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = chains_lock(connection, done, count, error);
    if (result != STORE_OK)
        return result;
    *ret = rows_make(connection, count, 6);
    for (size_t i = 0; i < count; i++) {
        uint32_t number = chain_of(world, done[i].chain, done[i].correlation);
        struct correlation *chain = &world->chains[number];
        chain->working.done |= 1u << done[i].step;
        if (chain->working_data[done[i].step].at == NULL)
            chain->working_data[done[i].step] = arena_span(world->bytes, done[i].data);
        chain_write(connection, number);
    }
    for (size_t i = 0; i < count && world->plant != PLANT_LATE_STEP_NOT_UNDONE; i++) {
        const struct correlation *chain = &world->chains[chain_of(world, done[i].chain, done[i].correlation)];
        if (chain->working.state != CHAIN_RUNNING)
            chain_returned(*ret, i, &chain->working);
    }
    return STORE_OK;
}

enum store_result ledger_chain_lock(struct connection *connection, int16_t config, struct event_id correlation,
                                    struct chain_row *ret, struct error *error)
{
    struct world *world = connection->world;
    uint32_t number = chain_of(world, config, correlation);
    enum store_result result = connection_trip(connection, error);
    if (result == STORE_OK)
        result = connection_lock_chain(connection, number, error);
    if (result != STORE_OK)
        return result;
    *ret = chain_row(config, correlation, &world->chains[number].working);
    if (!world->chains[number].working_exists)
        ret->chain = -1;
    return STORE_OK;
}

enum store_result ledger_chain_abort(struct connection *connection, int16_t config, struct event_id correlation,
                                     struct span correlation_text, struct span reason, struct chain_row *ret,
                                     struct error *error)
{
    enum store_result result = ledger_chain_lock(connection, config, correlation, ret, error);
    (void)correlation_text;
    (void)reason;
    if (result != STORE_OK)
        return result;
    uint32_t number = chain_of(connection->world, config, correlation);
    struct correlation *chain = &connection->world->chains[number];
    ret->chain = config;
    if (chain->working.state == CHAIN_RUNNING)
        chain->working.state = CHAIN_ABORTED;
    chain_write(connection, number);
    return STORE_OK;
}

enum store_result ledger_chain_data(struct connection *connection, int16_t config, struct event_id correlation,
                                    int16_t step, struct span *ret_data, struct span *ret_reason, struct error *error)
{
    enum store_result result = connection_trip(connection, error);
    if (result != STORE_OK)
        return result;
    *ret_data = connection->world->chains[chain_of(connection->world, config, correlation)].working_data[step];
    *ret_reason = SPAN("because");
    return STORE_OK;
}

enum store_result ledger_chain_update(struct connection *connection, const struct chain_row *row, struct error *error)
{
    struct world *world = connection->world;
    uint32_t number = chain_of(world, row->chain, row->correlation);
    struct correlation *chain = &world->chains[number];
    struct chain_facts before = chain->working;
    (void)error;
    if (connection->failed != STORE_OK || connection->transaction == NULL)
        return connection->failed;
    if (chain->locked_by != connection->transaction->number)
        sim_fail(world, "chain %u is written without its lock", number);
    before.undone |= (uint32_t)row->undone;
    check_undo(world, chain, &before, (uint32_t)row->undoing & ~before.undoing);
    chain->working.state = row->state;
    chain->working.undoing = (uint32_t)row->undoing;
    chain->working.undone = (uint32_t)row->undone;
    chain_write(connection, number);
    return STORE_OK;
}
