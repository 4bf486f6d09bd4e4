/*
 * ledger_chain.c - one row a correlation: steps done, steps undone, aborted or not.
 *
 * A row is locked by whoever marks a step or an abort, until that transaction ends: of a step and an abort that happen
 * at the same time, one sees the other.
 */
#include <errno.h>

#include "store/ledger_inner.h"

enum { CHAIN_STEPS_MAX = 31 /* bits of a positive int4 */ };

/*
 * One row a correlation, in the order of the primary key, so that two batches do not lock each other out. Of a step
 * that was done twice the data of the first time stays: that is what happened. Rows come back for the correlations that
 * are no longer running, for each of their inputs.
 */
static const struct statement statement_chain_done = {
    "WITH input AS MATERIALIZED (SELECT u.chain, u.step, u.correlation, u.text, u.data, u.place "
    "       FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY AS u(chain, step, correlation, text, data, place)),"
    "  kept AS (SELECT DISTINCT ON (chain, correlation, step) chain, correlation, step, data FROM input"
    "       WHERE data IS NOT NULL ORDER BY chain, correlation, step, place),"
    "  grouped AS (SELECT i.chain, i.correlation, bit_or(1 << i.step) AS done, min(i.text) AS text FROM input i"
    "       GROUP BY i.chain, i.correlation),"
    "  written AS (INSERT INTO sluice.chain AS c (chain, at, correlation, correlation_text, done, data_steps, data)"
    "       SELECT g.chain, " LEDGER_NOW ", g.correlation, g.text, g.done,"
    "         ARRAY(SELECT k.step FROM kept k WHERE (k.chain, k.correlation) = (g.chain, g.correlation) ORDER BY 1),"
    "         ARRAY(SELECT k.data FROM kept k WHERE (k.chain, k.correlation) = (g.chain, g.correlation)"
    "               ORDER BY k.step)"
    "       FROM grouped g ORDER BY g.chain, g.correlation"
    "       ON CONFLICT ON CONSTRAINT chain_pkey DO UPDATE SET done = c.done | excluded.done, at = excluded.at,"
    "         data_steps = CASE WHEN c.data_steps && excluded.data_steps THEN c.data_steps || ARRAY("
    "             SELECT s.step FROM unnest(excluded.data_steps) AS s(step)"
    "             WHERE s.step <> ALL (c.data_steps) ORDER BY s.step)"
    "           ELSE c.data_steps || excluded.data_steps END,"
    "         data = CASE WHEN c.data_steps && excluded.data_steps THEN c.data || ARRAY("
    "             SELECT s.data FROM unnest(excluded.data_steps, excluded.data) AS s(step, data)"
    "             WHERE s.step <> ALL (c.data_steps) ORDER BY s.step)"
    "           ELSE c.data || excluded.data END"
    "       RETURNING c.chain, c.correlation, c.state, c.done, c.undoing, c.undone, c.reason) "
    "SELECT (i.place - 1)::int4, w.state, w.done, w.undoing, w.undone, w.reason "
    "FROM written w JOIN input i ON i.chain = w.chain AND i.correlation = w.correlation "
    "WHERE w.state <> 0 ORDER BY i.place",
    false,
};

enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct rows **ret, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (done[i].step < 0 || done[i].step >= CHAIN_STEPS_MAX) {
            error_set(error, EINVAL, "a chain may have %d steps; a step has the number %d", (int)CHAIN_STEPS_MAX,
                      done[i].step);
            connection->failed = STORE_DEPLOY;
            return STORE_DEPLOY;
        }
    }
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &done[0].chain, count, sizeof(*done)),
        STORE_COLUMN(PARAM_INT2, &done[0].step, count, sizeof(*done)),
        STORE_COLUMN(PARAM_UUID, &done[0].correlation, count, sizeof(*done)),
        STORE_COLUMN(PARAM_TEXT, &done[0].correlation_text, count, sizeof(*done)),
        STORE_COLUMN(PARAM_BYTEA, &done[0].data, count, sizeof(*done)),
    };
    return connection_exec(connection, &statement_chain_done, 5, params, ret, error);
}

/* Two statements, one round trip: the second sees a row that another transaction made while the first one waited for
 * it. */
static const struct statement statement_chain_make = {
    "INSERT INTO sluice.chain (chain, at, correlation, correlation_text) VALUES ($1, " LEDGER_NOW ", $2, $3) "
    "ON CONFLICT ON CONSTRAINT chain_pkey DO NOTHING",
    false,
};
static const struct statement statement_chain_lock = {
    "SELECT state, done, undoing, undone FROM sluice.chain WHERE chain = $1 AND correlation = $2 FOR NO KEY UPDATE",
    false,
};
static const struct statement statement_chain_abort = {
    "UPDATE sluice.chain SET state = 1, reason = $3, at = " LEDGER_NOW " WHERE chain = $1 AND correlation = $2",
    false,
};

static struct chain_row chain_read(const struct rows *rows, int16_t chain, struct event_id correlation)
{
    return (struct chain_row){
        .chain = chain,
        .correlation = correlation,
        .state = (int16_t)rows_int64(rows, 0, 0),
        .done = (int32_t)rows_int64(rows, 0, 1),
        .undoing = (int32_t)rows_int64(rows, 0, 2),
        .undone = (int32_t)rows_int64(rows, 0, 3),
    };
}

enum store_result ledger_chain_lock(struct connection *connection, int16_t chain, struct event_id correlation,
                                    struct chain_row *ret, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_chain_lock, 2, params, &rows, error);
    if (result == STORE_OK)
        *ret = rows_count(rows) == 0 ? (struct chain_row){.chain = -1, .correlation = correlation}
                                     : chain_read(rows, chain, correlation);
    return result;
}

enum store_result ledger_chain_abort(struct connection *connection, int16_t chain, struct event_id correlation,
                                     struct span correlation_text, struct span reason, struct chain_row *ret,
                                     struct error *error)
{
    const struct store_param make[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation),
                                       STORE_VALUE(PARAM_TEXT, &correlation_text)};
    const struct store_param abort[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation),
                                        STORE_VALUE(PARAM_TEXT, &reason)};
    struct chain_row row;
    enum store_result result = connection_queue(connection, &statement_chain_make, 3, make, error);
    if (result == STORE_OK)
        result = ledger_chain_lock(connection, chain, correlation, &row, error);
    if (result == STORE_OK && row.chain >= 0 && row.state == CHAIN_RUNNING)
        result = connection_queue(connection, &statement_chain_abort, 3, abort, error);
    if (result == STORE_OK)
        *ret = row;
    return result;
}

static const struct statement statement_chain_data = {
    "SELECT data[array_position(data_steps, $3)], reason FROM sluice.chain WHERE chain = $1 AND correlation = $2",
    false,
};

enum store_result ledger_chain_data(struct connection *connection, int16_t chain, struct event_id correlation,
                                    int16_t step, struct span *ret_data, struct span *ret_reason, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &chain), STORE_VALUE(PARAM_UUID, &correlation),
                                         STORE_VALUE(PARAM_INT2, &step)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_chain_data, 3, params, &rows, error);
    if (result == STORE_OK) {
        *ret_data = rows_span(rows, 0, 0);
        *ret_reason = rows_span(rows, 0, 1);
    }
    return result;
}

static const struct statement statement_chain_update = {
    "UPDATE sluice.chain SET state = $3, undoing = $4, undone = $5, at = " LEDGER_NOW
    " WHERE chain = $1 AND correlation = $2",
    false,
};

enum store_result ledger_chain_update(struct connection *connection, const struct chain_row *row, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &row->chain),   STORE_VALUE(PARAM_UUID, &row->correlation),
        STORE_VALUE(PARAM_INT2, &row->state),   STORE_VALUE(PARAM_INT4, &row->undoing),
        STORE_VALUE(PARAM_INT4, &row->undone),
    };
    return connection_queue(connection, &statement_chain_update, 5, params, error);
}
