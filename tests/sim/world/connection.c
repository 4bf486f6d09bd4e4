/*
 * connection.c - store/store.h over the fake database: transactions whose changes wait for their end, the locks that
 * they hold, and rows.
 *
 * As in the real one, nothing is sent before the first statement, after a failure only a rollback is possible, and what
 * became of a COMMIT whose reply is lost nobody knows: it happened, it did not, or it will some time later.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

enum {
    LOCK_WAIT_MS = 5000,    /* lock_timeout */
    DEADLOCK_MS = 1000,     /* deadlock_timeout: from then on a wait may be found to be one */
    ORPHAN_MS = 3000,       /* how long the server may take over a COMMIT whose client is not there any more */
    ORPHAN_SESSION_MS = 50, /* and over any other session */
};

/* ---------------------------------------------------------------------------------------------------- transactions */

static struct transaction *transaction_begin(struct world *world)
{
    struct transaction *transaction = world->free_transactions;
    if (transaction != NULL)
        world->free_transactions = transaction->next;
    else
        transaction = calloc(1, sizeof *transaction);
    if (transaction == NULL)
        abort();
    world->open_transactions++;
    transaction->next = NULL;
    transaction->number = ++world->next_transaction;
    transaction->change_count = transaction->event_count = transaction->chain_count = transaction->key_count = 0;
    transaction->member = 0;
    return transaction;
}

void transaction_free(struct transaction *transaction)
{
    free(transaction->changes);
    free(transaction->events);
    free(transaction->chains);
    free(transaction->keys);
    free(transaction);
}

void transaction_end(struct world *world, struct transaction *transaction, bool apply)
{
    if (transaction == NULL)
        return;
    world->open_transactions--;
    if (apply)
        database_apply(world, transaction);
    for (size_t i = 0; i < transaction->change_count && !apply; i++)
        if (transaction->changes[i].kind == CHANGE_ROW)
            world->outbox[transaction->changes[i].which].pending = false;
    for (size_t i = 0; i < transaction->event_count; i++)
        world->events[transaction->events[i]].locked_by = 0;
    for (size_t i = 0; i < transaction->chain_count; i++)
        world->chains[transaction->chains[i]].locked_by = 0;
    for (size_t i = 0; i < transaction->key_count; i++)
        world->held_keys[transaction->keys[i]].locked_by = 0;
    transaction->next = world->free_transactions;
    world->free_transactions = transaction;
    world->progress++;
}

static void transaction_orphan(struct world *world, struct transaction *transaction, bool applies, int64_t due_ms)
{
    transaction->applies = applies;
    transaction->due_ms = due_ms;
    transaction->next = world->orphans;
    world->orphans = transaction;
}

void transactions_settle(struct world *world)
{
    for (struct transaction **at = &world->orphans; *at != NULL;) {
        struct transaction *transaction = *at;
        if (transaction->due_ms > world->now_ms && !world->calm) {
            at = &transaction->next;
            continue;
        }
        *at = transaction->next;
        transaction_end(world, transaction, transaction->applies);
    }
}

/* ------------------------------------------------------------------------------------------------------ connections */

void connection_open(struct connection *connection, struct world *world)
{
    *connection = (struct connection){.world = world, .scratch = arena_create(16384, SIZE_MAX)};
}

void connection_kill(struct connection *connection)
{
    transaction_end(connection->world, connection->transaction, false);
    connection->transaction = NULL;
    connection->killed = true;
}

/* A COMMIT that was sent may still come true; the server rolls everything else back as soon as it sees the end. */
void connection_crash(struct connection *connection)
{
    struct world *world = connection->world;
    struct transaction *transaction = connection->transaction;
    if (transaction != NULL && connection->committing)
        transaction_orphan(world, transaction, sim_below(world, 2), world->now_ms + sim_below(world, ORPHAN_MS));
    else if (transaction != NULL)
        transaction_orphan(world, transaction, false, world->now_ms + sim_below(world, ORPHAN_SESSION_MS));
    arena_destroy(connection->scratch);
    *connection = (struct connection){0};
}

enum store_result connection_fail(struct connection *connection, enum store_result result, struct error *error,
                                  const char *why)
{
    struct world *world = connection->world;
    if (result == STORE_DOWN && connection->transaction != NULL) /* the server will see the end of its session */
        transaction_orphan(world, connection->transaction, false, world->now_ms + sim_below(world, ORPHAN_SESSION_MS));
    else
        transaction_end(world, connection->transaction, false);
    connection->transaction = NULL;
    connection->failed = result;
    error_set(error, EIO, "%s", why);
    return result;
}

/* Whether a statement may be sent; "begin" goes with the first. */
static enum store_result connection_ready(struct connection *connection, struct error *error)
{
    if (!connection->begun)
        sim_fail(connection->world, "a statement is executed outside a transaction");
    if (connection->failed != STORE_OK) {
        error_set(error, EIO, "the transaction has failed before this statement");
        return connection->failed;
    }
    if (connection->transaction == NULL && !connection->killed) {
        connection->transaction = transaction_begin(connection->world);
        connection->active_ms = connection->world->now_ms;
    }
    return STORE_OK;
}

enum store_result connection_trip(struct connection *connection, struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = connection_ready(connection, error);
    if (result != STORE_OK)
        return result;
    lane_pause(world);
    connection->active_ms = world->now_ms;
    if (connection->killed)
        return connection_fail(connection, STORE_DOWN, error, "the server has ended the session");
    if (!database_up(world))
        return connection_fail(connection, STORE_DOWN, error, "the connection is lost");
    if (world->now_ms > connection->deadline_ms || sim_odds(world, world->settings.deadlock))
        return connection_fail(connection, STORE_TRANSIENT, error, "the statement is cancelled");
    return STORE_OK;
}

struct change *connection_change(struct connection *connection, enum change_kind kind, uint32_t which, int64_t value)
{
    static struct change nowhere;
    if (connection_ready(connection, NULL) != STORE_OK || connection->transaction == NULL)
        return &nowhere; /* queued for a session that is over: the next trip tells */
    struct transaction *transaction = connection->transaction;
    transaction->changes = sim_grow(transaction->changes, &transaction->change_size, transaction->change_count,
                                    sizeof *transaction->changes);
    struct change *change = &transaction->changes[transaction->change_count++];
    *change = (struct change){.kind = kind, .which = which, .value = value};
    return change;
}

/* One step of waiting for somebody else's lock. */
static enum store_result connection_wait(struct connection *connection, int64_t since_ms, struct error *error)
{
    struct world *world = connection->world;
    int64_t waited_ms = world->now_ms - since_ms;
    if (waited_ms > LOCK_WAIT_MS || (waited_ms > DEADLOCK_MS && sim_below(world, 8) == 0))
        return connection_fail(connection, STORE_TRANSIENT, error, "waited for a lock for too long");
    return connection_trip(connection, error);
}

enum store_result connection_lock_event(struct connection *connection, uint32_t number, struct error *error)
{
    struct world *world = connection->world;
    struct transaction *transaction = connection->transaction;
    enum store_result result = STORE_OK;
    for (int64_t since_ms = world->now_ms; result == STORE_OK && world->events[number].locked_by != 0;) {
        if (world->events[number].locked_by == transaction->number)
            return STORE_OK;
        result = connection_wait(connection, since_ms, error);
    }
    if (result != STORE_OK || world->events[number].outcome != NOT_ENDED)
        return result; /* its row is there: there is nothing to lock */
    world->events[number].locked_by = transaction->number;
    transaction->events = sim_grow(transaction->events, &transaction->event_size, transaction->event_count,
                                   sizeof *transaction->events);
    transaction->events[transaction->event_count++] = number;
    return STORE_OK;
}

enum store_result connection_lock_key(struct connection *connection, uint32_t number, struct error *error)
{
    struct world *world = connection->world;
    struct transaction *transaction = connection->transaction;
    struct held_entry *key = &world->held_keys[number];
    enum store_result result = STORE_OK;
    for (int64_t since_ms = world->now_ms; result == STORE_OK && key->locked_by != 0;) {
        if (key->locked_by == transaction->number)
            return STORE_OK;
        result = connection_wait(connection, since_ms, error);
    }
    if (result != STORE_OK)
        return result;
    key->locked_by = transaction->number;
    transaction->keys = sim_grow(transaction->keys, &transaction->key_size, transaction->key_count,
                                 sizeof *transaction->keys);
    transaction->keys[transaction->key_count++] = number;
    return STORE_OK;
}

enum store_result connection_alone(struct connection *connection, struct error *error)
{
    struct world *world = connection->world;
    arena_reset(connection->scratch);
    lane_pause(world);
    if (database_up(world) && !sim_odds(world, world->settings.deadlock))
        return STORE_OK;
    error_set(error, ENOTCONN, "the database does not answer");
    return STORE_DOWN;
}

enum store_result connection_lock_chain(struct connection *connection, uint32_t number, struct error *error)
{
    struct world *world = connection->world;
    struct transaction *transaction = connection->transaction;
    enum store_result result = STORE_OK;
    for (int64_t since_ms = world->now_ms; result == STORE_OK && world->chains[number].locked_by != 0;) {
        if (world->chains[number].locked_by == transaction->number)
            return STORE_OK;
        result = connection_wait(connection, since_ms, error);
    }
    if (result != STORE_OK)
        return result;
    struct correlation *chain = &world->chains[number];
    chain->locked_by = transaction->number;
    chain->working = chain->facts;
    chain->working_exists = chain->exists;
    memcpy(chain->working_data, chain->data, sizeof chain->data);
    transaction->chains = sim_grow(transaction->chains, &transaction->chain_size, transaction->chain_count,
                                   sizeof *transaction->chains);
    transaction->chains[transaction->chain_count++] = number;
    return STORE_OK;
}

/* --------------------------------------------------------------------------------------------------------- store.h */

const char *store_result_word(enum store_result result)
{
    static const char *const words[] = {"ok",      "transient", "down",   "unknown", "data",
                                        "refused", "deadline",  "deploy", "fenced"};
    return words[result];
}

enum store_result connection_begin(struct connection *connection, int64_t deadline_ms, struct error *error)
{
    connection_rollback(connection);
    arena_reset(connection->scratch);
    if (!database_up(connection->world)) {
        error_set(error, ENOTCONN, "the database does not answer");
        return STORE_DOWN;
    }
    connection->begun = true;
    connection->deadline_ms = deadline_ms;
    return STORE_OK;
}

/* The effect of a handler: an event whose fate is FATE_DATA breaks it. */
enum store_result connection_exec(struct connection *connection, const struct statement *statement, size_t param_count,
                                  const struct store_param *params, struct rows **ret, struct error *error)
{
    struct world *world = connection->world;
    if (statement->text != handler_effect.text || param_count != 1)
        sim_fail(world, "an unknown statement: %s", statement->text);
    enum store_result result = connection_trip(connection, error);
    const int64_t *numbers = params[0].values;
    for (size_t i = 0; result == STORE_OK && i < params[0].count; i++) {
        if (world->events[numbers[i]].fate == FATE_DATA)
            return connection_fail(connection, STORE_DATA, error, "a constraint is violated");
        if (world->plant != PLANT_EFFECT_BEFORE_CLAIM)
            connection_change(connection, CHANGE_EFFECT, (uint32_t)numbers[i], 0);
    }
    if (result == STORE_OK)
        *ret = rows_make(connection, 0, 1);
    return result;
}

/* What gives rows away waits for the transactions that make them. */
static enum store_result rows_wait(struct connection *connection, struct error *error)
{
    struct world *world = connection->world;
    enum store_result result = STORE_OK;
    for (size_t i = 0; connection->transaction != NULL && i < connection->transaction->change_count;) {
        const struct change *change = &connection->transaction->changes[i];
        if (change->kind != CHANGE_ROW_FREE || !world->outbox[change->which].pending)
            i++;
        else if ((result = connection_trip(connection, error)) != STORE_OK)
            break;
    }
    return result;
}

/* The connection is lost after COMMIT was sent: it was done, or not, or will be or not some time later. */
static void commit_unknown(struct connection *connection)
{
    struct world *world = connection->world;
    world->count.unknown++;
    uint32_t dice = sim_below(world, 4);
    if (dice < 2)
        transaction_end(world, connection->transaction, dice == 0);
    else
        transaction_orphan(world, connection->transaction, dice == 2, world->now_ms + sim_below(world, ORPHAN_MS));
    connection->transaction = NULL;
    connection->failed = STORE_UNKNOWN;
}

enum store_result connection_commit(struct connection *connection, struct error *error)
{
    struct world *world = connection->world;
    if (connection->failed != STORE_OK || (connection->transaction == NULL && !connection->killed)) {
        connection->begun = connection->failed != STORE_OK;
        return connection->failed;
    }
    enum store_result result = rows_wait(connection, error);
    if (result != STORE_OK)
        return result;
    connection->committing = true;
    lane_pause(world);
    connection->committing = false;
    if (connection->killed)
        return connection_fail(connection, STORE_UNKNOWN, error, "the server has ended the session");
    if (!database_up(world))
        return connection_fail(connection, sim_below(world, 2) ? STORE_DOWN : STORE_UNKNOWN, error,
                               "the connection is lost");
    if (sim_odds(world, world->settings.reply_lost)) {
        commit_unknown(connection);
        if (world->plant != PLANT_UNKNOWN_COMMIT_IS_DONE) {
            error_set(error, EINPROGRESS, "the reply to COMMIT is lost");
            return STORE_UNKNOWN;
        }
    }
    transaction_end(world, connection->transaction, true);
    connection->transaction = NULL;
    connection->begun = false;
    lane_pause(world);
    return STORE_OK;
}

void connection_rollback(struct connection *connection)
{
    transaction_end(connection->world, connection->transaction, false);
    connection->transaction = NULL;
    connection->begun = connection->killed = false;
    connection->failed = STORE_OK;
}

enum log_level connection_log_level(const struct connection *connection)
{
    (void)connection;
    return LOG_WARN;
}

uint64_t connection_outages(const struct connection *connection)
{
    return ++connection->world->outages; /* here sessions end by themselves, never by what a handler did */
}

uint64_t connection_crashes(const struct connection *connection)
{
    (void)connection;
    return 0;
}

bool connection_crash_elsewhere(const struct connection *connection)
{
    (void)connection;
    return false;
}

int connection_socket(const struct connection *connection)
{
    return connection->failed == STORE_DOWN || connection->failed == STORE_UNKNOWN ? -1 : 1;
}

void connection_separate(struct connection *connection)
{
    (void)connection;
}

const char *connection_left(const struct connection *connection)
{
    (void)connection;
    return NULL;
}

const char *connection_changed(const struct connection *connection)
{
    (void)connection;
    return NULL;
}

bool connection_tampered(const struct connection *connection)
{
    (void)connection;
    return false;
}

/* ------------------------------------------------------------------------------------------------------------- rows */

struct rows *rows_make(struct connection *connection, size_t most, size_t columns)
{
    struct rows *rows = arena_alloc(connection->scratch, sizeof *rows + most * columns * sizeof rows->cells[0]);
    rows->columns = columns;
    return rows;
}

struct cell *rows_add(struct rows *rows)
{
    return &rows->cells[rows->count++ * rows->columns];
}

size_t rows_count(const struct rows *rows)
{
    return rows->count;
}

size_t rows_columns(const struct rows *rows)
{
    return rows->columns;
}

bool rows_null(const struct rows *rows, size_t row, size_t column)
{
    return rows->cells[row * rows->columns + column].null;
}

int64_t rows_int64(const struct rows *rows, size_t row, size_t column)
{
    return rows->cells[row * rows->columns + column].number;
}

double rows_double(const struct rows *rows, size_t row, size_t column)
{
    return (double)rows_int64(rows, row, column);
}

struct span rows_span(const struct rows *rows, size_t row, size_t column)
{
    return rows->cells[row * rows->columns + column].span;
}

enum param_type rows_type(const struct rows *rows, size_t column)
{
    (void)rows;
    (void)column;
    return PARAM_INT8;
}

struct rows *rows_detach(struct connection *connection, struct rows *rows)
{
    (void)connection; /* their bytes are the world's */
    return rows;
}

void rows_free(struct rows *rows)
{
    (void)rows; /* of the connection's scratch */
}
