/*
 * chains.c - store/ledger.h over the fake database: the rows of chains. A row is locked until its transaction ends, and
 * what the transaction reads of it is what it has written there itself.
 */
#include "sim.h"

#include "store/ledger_span.h"

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
    return (struct chain_row){.chain = config, .correlation = correlation, .facts = *facts};
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

enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct chain_noted *ret, size_t *ret_count, struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = chains_lock(connection, done, count, error);
    *ret_count = 0;
    if (result != STORE_OK)
        return result;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = chain_of(world, done[i].chain, done[i].correlation);
        struct correlation *chain = &world->chains[number];
        uint8_t steps[CHAIN_DOINGS_MAX];
        size_t places[CHAIN_DOINGS_MAX];
        int32_t notes = 0;
        for (size_t j = 0; j < count && notes < CHAIN_DOINGS_MAX; j++)
            if (chain_of(world, done[j].chain, done[j].correlation) == number) {
                places[notes] = j;
                steps[notes++] = (uint8_t)done[j].step;
            }
        if (places[0] < i)
            continue;
        chain_note(&chain->working, steps, notes);
        for (int32_t n = 0; n < notes; n++)
            chain->working_data[chain->working.count - notes + n] = arena_span(world->bytes, done[places[n]].data);
        chain_write(connection, number);
    }
    for (size_t i = 0; i < count && world->plant != PLANT_LATE_STEP_NOT_UNDONE; i++) {
        const struct correlation *chain = &world->chains[chain_of(world, done[i].chain, done[i].correlation)];
        if (chain->working.state != CHAIN_RUNNING)
            ret[(*ret_count)++] = (struct chain_noted){
                .input = i, .noted = true, .row = chain_row(done[i].chain, done[i].correlation, &chain->working)};
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

enum store_result ledger_chain_abort(struct connection *connection, int16_t config, int32_t definition,
                                     struct event_id correlation, struct span correlation_text, struct span reason,
                                     struct chain_row *ret, struct error *error)
{
    enum store_result result = ledger_chain_lock(connection, config, correlation, ret, error);
    (void)definition;
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
                                    int32_t doing, struct span *ret_data, struct span *ret_reason, struct error *error)
{
    enum store_result result = connection_trip(connection, error);
    if (result != STORE_OK)
        return result;
    *ret_data = connection->world->chains[chain_of(connection->world, config, correlation)].working_data[doing];
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
    before.undone |= row->facts.undone;
    check_undo(world, chain, &before, row->facts.undoing & ~before.undoing);
    chain->working = row->facts;
    chain_write(connection, number);
    return STORE_OK;
}

/* Every chain here has the definition of the pipeline. */
enum store_result ledger_chain_note(struct connection *connection, const struct chain_row *row,
                                    const struct chain_done *done, bool begins, struct error *error)
{
    (void)row;
    (void)done;
    (void)begins;
    (void)error;
    sim_fail(connection->world, "a chain has another definition");
    return STORE_DEPLOY;
}

enum store_result ledger_chain_definition(struct connection *connection, int32_t number, struct span *ret,
                                          struct error *error)
{
    (void)ret;
    (void)error;
    sim_fail(connection->world, "definition %d is asked for", number);
    return STORE_DEPLOY;
}

/* No traces are recorded there. */
enum store_result ledger_chain_spans_note(struct connection *connection, const struct chain_span *spans, size_t count,
                                          struct error *error)
{
    (void)spans, (void)count;
    return connection_trip(connection, error);
}

enum store_result ledger_chain_span_find(struct connection *connection, struct chain_span *span, struct error *error)
{
    span->traceparent = (struct span){NULL, 0};
    return connection_trip(connection, error);
}
