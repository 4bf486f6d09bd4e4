/*
 * ledger.c - store/ledger.h over the fake database: the inbox, tries, parked events and the outbox. Chains: chains.c.
 *
 * "Executed" is a trip, in which anything may happen; "queued" is a change that waits for the end of the transaction.
 */
#include "sim.h"

#include "event/record_batch.h"
#include "store/ledger_schedule.h"
#include "store/ledger_timer.h"

#include <errno.h>

/* ------------------------------------------------------------------------------------------------------------ inbox */

static int16_t handler_number(const struct world *world, const struct event_state *event)
{
    const struct binding *binding = world->pipeline.topics[event->topic].binding;
    return binding == NULL ? world->pipeline.numbers.chain_handler : pipeline_number(binding);
}

static enum store_result claim_one(struct connection *connection, struct claim *claim, struct error *error)
{
    struct world *world = connection->world;
    uint32_t number = event_known(world, claim->id, "claimed");
    if (claim->handler != handler_number(world, &world->events[number]))
        sim_fail(world, "event %u is claimed for handler %d", number, claim->handler);
    if (world->plant == PLANT_EFFECT_BEFORE_CLAIM)
        world->events[number].effects++;
    if (world->plant == PLANT_UNPARK_BEFORE_COMMIT && world->events[number].parking == PARKED)
        database_unpark(world, number);
    enum store_result result = connection_lock_event(connection, number, error);
    if (result != STORE_OK)
        return result;
    const struct event_state *event = &world->events[number];
    if (event->outcome == NOT_ENDED) {
        connection_change(connection, CHANGE_CLAIM, number, claim->hash);
        return STORE_OK;
    }
    claim->hit = true;
    claim->conflict = claim->hash != event->hash;
    claim->outcome = event->outcome == ENDED_DEAD ? OUTCOME_DEAD : event->recorded;
    return STORE_OK;
}

enum store_result ledger_claim(struct connection *connection, int64_t member, struct claim *claims, size_t count,
                               struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = connection_trip(connection, error);
    if (result != STORE_OK)
        return result;
    if (member != 0 && (world->running->process->fenced || member != world->running->process->member)) {
        world->count.fenced++;
        return connection_fail(connection, STORE_FENCED, error, "a peer has removed this process");
    }
    connection->transaction->member = member;
    for (size_t i = 0; i < count && result == STORE_OK; i++) {
        claims[i].hit = claims[i].conflict = false;
        result = claim_one(connection, &claims[i], error);
    }
    return result;
}

enum store_result ledger_claim_dead(struct connection *connection, const struct claim *claims, size_t count,
                                    struct error *error)
{
    (void)count;
    (void)error;
    sim_fail(connection->world, "event %u is claimed again, and nobody sends dead letters again here",
             event_known(connection->world, claims[0].id, "claimed again"));
}

enum store_result ledger_outcomes(struct connection *connection, const struct claim *claims, size_t count,
                                  struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (claims[i].outcome != 0)
            connection_change(connection, CHANGE_OUTCOME, event_known(connection->world, claims[i].id, "recorded"),
                              claims[i].outcome);
    (void)error;
    return connection->failed;
}

enum store_result ledger_unclaim(struct connection *connection, const struct claim *claims, size_t count,
                                 struct error *error)
{
    struct world *world = connection->world;
    for (size_t i = 0; i < count && world->plant != PLANT_CLAIM_KEPT_ON_RETRY; i++)
        connection_change(connection, CHANGE_UNCLAIM, event_known(world, claims[i].id, "claimed no more"), 0);
    (void)error;
    return connection->failed;
}

/* --------------------------------------------------------------------------------------------------------- attempts */

enum store_result ledger_attempts_save(struct connection *connection, const struct attempt *attempts, size_t count,
                                       struct error *error)
{
    for (size_t i = 0; i < count; i++)
        connection_change(connection, CHANGE_ATTEMPT, event_known(connection->world, attempts[i].id, "tried"),
                          attempts[i].attempts);
    (void)error;
    return connection->failed;
}

enum store_result ledger_attempts_clear(struct connection *connection, const struct attempt *attempts, size_t count,
                                        struct error *error)
{
    for (size_t i = 0; i < count; i++)
        connection_change(connection, CHANGE_NO_ATTEMPT, event_known(connection->world, attempts[i].id, "tried"), 0);
    (void)error;
    return connection->failed;
}

/* ----------------------------------------------------------------------------------------------------------- parked */

/* Parked rows have an id of their own, of the event and its payload: from now on it stands for the event. */
enum store_result ledger_park(struct connection *connection, const struct parked *parked, size_t count,
                              struct error *error)
{
    struct world *world = connection->world;
    for (size_t i = 0; i < count; i++) {
        struct record *records;
        size_t record_count = 0;
        if (record_batch_read(parked[i].record, connection->scratch, &records, &record_count, NULL) != 0 ||
            record_count != 1)
            sim_fail(world, "a parked event cannot be read back");
        uint32_t number = event_of_record(world, &records[0]);
        const struct record *whole = world->events[number].record;
        if (!span_equal(whole->value, records[0].value) || whole->header_count != records[0].header_count)
            sim_fail(world, "event %u is parked as another one", number);
        event_alias(world, parked[i].id, number);
        connection_change(connection, CHANGE_PARK, number,
                          parked[i].state == PARKED_STUCK ? -1 : parked[i].due_ms - SIM_WALL_MS);
    }
    (void)error;
    return connection->failed;
}

enum store_result ledger_unpark(struct connection *connection, int16_t group, const struct event_id *ids, size_t count,
                                struct error *error)
{
    struct world *world = connection->world;
    (void)group;
    for (size_t i = 0; i < count; i++) {
        uint32_t number = event_known(world, ids[i], "parked no more");
        connection_change(connection, CHANGE_UNPARK, number, 0);
    }
    (void)error;
    return connection->failed;
}

/* The chains of the simulation have no timers. */
enum store_result ledger_timers_cancel(struct connection *connection, int16_t group, const struct event_id *ids,
                                       size_t count, struct error *error)
{
    (void)group;
    (void)ids;
    (void)error;
    if (count > 0)
        sim_fail(connection->world, "%zu timers end that never began", count);
    return connection->failed;
}

enum store_result ledger_timers_end(struct connection *connection, int16_t group, struct timer_taken *timers,
                                    size_t count, struct error *error)
{
    (void)group;
    (void)timers;
    (void)error;
    sim_fail(connection->world, "%zu timers are due that never began", count);
    return connection->failed;
}

/* ----------------------------------------------------------------------------------------------------------- outbox */

enum store_result ledger_outbox_add(struct connection *connection, int64_t owner, struct span record_batch,
                                    int64_t *ret_id, struct error *error)
{
    struct world *world = connection->world;
    world->outbox = sim_grow(world->outbox, &world->outbox_size, world->outbox_count, sizeof *world->outbox);
    uint32_t row = (uint32_t)world->outbox_count++;
    world->outbox[row] = (struct outbox_row){
        .bytes = arena_span(world->bytes, record_batch), .maker = owner, .owner = owner, .pending = true};
    connection_change(connection, CHANGE_ROW, row, 0);
    if (connection->transaction == NULL)
        world->outbox[row].pending = false; /* it never will be */
    *ret_id = (int64_t)row + 1;
    (void)error;
    return connection->failed;
}

static enum store_result rows_queue(struct connection *connection, enum change_kind kind, const int64_t *ids,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        connection_change(connection, kind, (uint32_t)ids[i] - 1, 0);
    return connection->failed;
}

enum store_result ledger_outbox_done(struct connection *connection, const int64_t *ids, size_t count,
                                     struct error *error)
{
    (void)error;
    return rows_queue(connection, CHANGE_ROW_DONE, ids, count);
}

enum store_result ledger_outbox_release(struct connection *connection, const int64_t *ids, size_t count,
                                        struct error *error)
{
    (void)error;
    return rows_queue(connection, CHANGE_ROW_FREE, ids, count);
}

enum store_result ledger_outbox_of_claims(struct connection *connection, int64_t but_owner, const struct claim *claims,
                                          size_t count, struct rows **ret, struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = connection_trip(connection, error);
    if (result != STORE_OK)
        return result;
    *ret = rows_make(connection, count, 1);
    for (size_t i = 0; i < count; i++) {
        const struct event_state *event = &world->events[event_known(world, claims[i].id, "looked up")];
        const struct outbox_row *row = event->outbox == SIM_NONE ? NULL : &world->outbox[event->outbox];
        if (row != NULL && row->live && row->owner == row->maker && row->owner != but_owner)
            rows_add(*ret)[0].number = (int64_t)event->outbox + 1;
    }
    return STORE_OK;
}

enum store_result ledger_outbox_lock(struct connection *connection, const int64_t *ids, size_t count, struct rows **ret,
                                     struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = connection_trip(connection, error);
    if (result != STORE_OK)
        return result;
    *ret = rows_make(connection, count, 2);
    for (size_t i = 0; i < count; i++) { /* they are remembered in the order of their ids */
        if (!world->outbox[ids[i] - 1].live)
            continue;
        struct cell *cells = rows_add(*ret);
        cells[0].number = ids[i];
        cells[1].span = world->outbox[ids[i] - 1].bytes;
        world->count.late_rows++;
    }
    return STORE_OK;
}

/* --------------------------------------------------------------------------------------- what this world never has */

enum store_result ledger_outbox_refuse(struct connection *connection, int64_t id, struct span record_batch,
                                       struct span reason, struct error *error)
{
    (void)record_batch;
    (void)error;
    sim_fail(connection->world, "an output of row %lld is refused: %.*s", (long long)id, (int)reason.length, reason.at);
}

enum store_result ledger_replies_save(struct connection *connection, const struct kept_reply *replies, size_t count,
                                      struct error *error)
{
    (void)replies;
    (void)error;
    if (count > 0)
        sim_fail(connection->world, "an event is answered like a request");
    return connection->failed;
}

enum store_result ledger_reply_get(struct connection *connection, struct kept_reply *reply, struct error *error)
{
    (void)reply;
    (void)error;
    sim_fail(connection->world, "an event is looked up like a request");
}

enum store_result ledger_tick(struct connection *connection, int16_t schedule, int64_t period_ms, int64_t *slot_ms,
                              bool *ret, struct error *error)
{
    (void)period_ms;
    (void)slot_ms;
    (void)ret;
    (void)error;
    sim_fail(connection->world, "schedule %d has a tick", schedule);
}

enum store_result ledger_dead_letters_add(struct connection *connection, const struct dead_letter_row *rows,
                                          size_t count, struct error *error)
{
    (void)connection, (void)rows, (void)count, (void)error;
    return STORE_OK;
}

enum store_result ledger_dead_letters_again(struct connection *connection, int16_t group, const struct claim *claims,
                                            size_t count, struct error *error)
{
    (void)connection, (void)group, (void)claims, (void)count, (void)error;
    return STORE_OK;
}
