/*
 * chain.c - one row a correlation: steps done, steps undone, aborted or not.
 *
 * A row is locked by the transaction that marks a step or an abort, until it ends: of a step and an abort that happen
 * at the same time, one sees the other.
 */
#include "store/ledger/inner.h"

#include <errno.h>
#include <stdlib.h>

/* An input with its place in the caller's list, which is what the rows that come back are numbered by. */
struct placed {
    struct chain_done done;
    int32_t place;
    int32_t bit;
};

/*
 * One row a correlation, in the order of the primary key, so that two batches cannot deadlock. Of a step
 * that was done twice the data of the first time stays: that is what happened. Rows come back for the correlations that
 * are no longer running, for each of their inputs.
 */
#define CHAIN_UPSERT                                                                                                   \
    "       on conflict on constraint chain_pkey do update set done = c.done | excluded.done, at = excluded.at,"       \
    "         data_steps = case when c.data_steps && excluded.data_steps then c.data_steps || array("                  \
    "             select s.step from unnest(excluded.data_steps) as s(step)"                                           \
    "             where s.step <> all (c.data_steps) order by s.step)"                                                 \
    "           else c.data_steps || excluded.data_steps end,"                                                         \
    "         data = case when c.data_steps && excluded.data_steps then c.data || array("                              \
    "             select s.data from unnest(excluded.data_steps, excluded.data) as s(step, data)"                      \
    "             where s.step <> all (c.data_steps) order by s.step)"                                                 \
    "           else c.data || excluded.data end"                                                                      \
    "       returning c.chain, c.correlation, c.state, c.done, c.undoing, c.undone, c.reason) "                        \
    "select i.place, w.state, w.done, w.undoing, w.undone, w.reason "                                                  \
    "from written w join unnest($1, $3, $7) as i(chain, correlation, place)"                                           \
    "  on i.chain = w.chain and i.correlation = w.correlation where w.state <> 0 order by i.place"

/* The common case: every correlation stands once in the call. Nothing is sorted or grouped again. */
static const struct statement statement_chain_done = {
    "with written as (insert into sluice.chain as c (chain, at, correlation, correlation_text, done, data_steps, data)"
    "       select u.chain, " LEDGER_NOW ", u.correlation, u.text, u.bit,"
    "         case when u.data is null then '{}' else array[u.step] end, case when u.data is null then '{}' else "
    "array[u.data] end"
    "       from unnest($1, $2, $3, $4, $5, $6) as u(chain, step, correlation, text, data, bit)" CHAIN_UPSERT,
    false,
};
static const struct statement statement_chain_done_grouped = {
    "with once as (select distinct on (u.chain, u.correlation, u.step) u.chain, u.correlation, u.step, u.text, u.data, "
    "u.bit"
    "       from unnest($1, $2, $3, $4, $5, $6, $7) as u(chain, step, correlation, text, data, bit, place)"
    "       order by u.chain, u.correlation, u.step, u.place),"
    "  written as (insert into sluice.chain as c (chain, at, correlation, correlation_text, done, data_steps, data)"
    "       select o.chain, " LEDGER_NOW ", o.correlation, min(o.text), bit_or(o.bit),"
    "         coalesce(array_agg(o.step order by o.step) filter (where o.data is not null), '{}'),"
    "         coalesce(array_agg(o.data order by o.step) filter (where o.data is not null), '{}')"
    "       from once o group by o.chain, o.correlation order by o.chain, o.correlation" CHAIN_UPSERT,
    false,
};

static int placed_compare(const void *left, const void *right)
{
    const struct placed *a = left, *b = right;
    if (a->done.chain != b->done.chain)
        return a->done.chain < b->done.chain ? -1 : 1;
    int order = memcmp(&a->done.correlation, &b->done.correlation, sizeof a->done.correlation);
    return order != 0 ? order : a->place < b->place ? -1 : 1;
}

static bool same_chain(const struct placed *a, const struct placed *b)
{
    return a->done.chain == b->done.chain &&
           memcmp(&a->done.correlation, &b->done.correlation, sizeof a->done.correlation) == 0;
}

enum store_result ledger_chain_done(struct connection *connection, const struct chain_done *done, size_t count,
                                    struct rows **ret, struct error *error)
{
    struct placed *list = calloc(count + 1, sizeof *list);
    bool once = true;
    if (list == NULL) {
        error_set(error, ENOMEM, "out of memory for %zu steps of chains", count);
        return connection_fail(connection, STORE_DOWN);
    }
    for (size_t i = 0; i < count; i++) {
        if (done[i].step < 0 || done[i].step >= CHAIN_STEPS_MAX) {
            free(list);
            error_set(error, EINVAL, "a chain may have %d steps; a step has the number %d", (int)CHAIN_STEPS_MAX,
                      done[i].step);
            return connection_fail(connection, STORE_DEPLOY);
        }
        list[i] = (struct placed){done[i], (int32_t)i, 1 << done[i].step};
    }
    qsort(list, count, sizeof *list, placed_compare);
    for (size_t i = 1; i < count && once; i++)
        once = !same_chain(&list[i - 1], &list[i]);
    const struct store_param params[] = {
        STORE_COLUMN(PARAM_INT2, &list[0].done.chain, count, sizeof *list),
        STORE_COLUMN(PARAM_INT2, &list[0].done.step, count, sizeof *list),
        STORE_COLUMN(PARAM_UUID, &list[0].done.correlation, count, sizeof *list),
        STORE_COLUMN(PARAM_TEXT, &list[0].done.correlation_text, count, sizeof *list),
        STORE_COLUMN(PARAM_BYTEA, &list[0].done.data, count, sizeof *list),
        STORE_COLUMN(PARAM_INT4, &list[0].bit, count, sizeof *list),
        STORE_COLUMN(PARAM_INT4, &list[0].place, count, sizeof *list),
    };
    enum store_result result = connection_exec(connection, once ? &statement_chain_done : &statement_chain_done_grouped,
                                               7, params, ret, error);
    free(list);
    return result;
}

/* Two statements, one round trip: the second sees a row that another transaction made while the first one waited for
 * it. */
static const struct statement statement_chain_make = {
    "insert into sluice.chain (chain, at, correlation, correlation_text) values ($1, " LEDGER_NOW ", $2, $3) "
    "on conflict on constraint chain_pkey do nothing",
    false,
};
static const struct statement statement_chain_lock = {
    "select state, done, undoing, undone from sluice.chain where chain = $1 and correlation = $2 for no key update",
    false,
};
static const struct statement statement_chain_abort = {
    "update sluice.chain set state = 1, reason = $3, at = " LEDGER_NOW " where chain = $1 and correlation = $2",
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
    "select data[array_position(data_steps, $3)], reason from sluice.chain where chain = $1 and correlation = $2",
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
    "update sluice.chain set state = $3, undoing = $4, undone = $5, at = " LEDGER_NOW
    " where chain = $1 and correlation = $2",
    false,
};

enum store_result ledger_chain_update(struct connection *connection, const struct chain_row *row, struct error *error)
{
    const struct store_param params[] = {
        STORE_VALUE(PARAM_INT2, &row->chain),  STORE_VALUE(PARAM_UUID, &row->correlation),
        STORE_VALUE(PARAM_INT2, &row->state),  STORE_VALUE(PARAM_INT4, &row->undoing),
        STORE_VALUE(PARAM_INT4, &row->undone),
    };
    return connection_queue(connection, &statement_chain_update, 5, params, error);
}
