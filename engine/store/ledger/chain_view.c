/*
 * chain_view.c - chains as operators see and move them: lists, what is known of one, and what was asked for it.
 *
 * Whatever is asked for comes in the order of its beginning, page by page: a page goes on behind the last row of the
 * one before. Chains that are known not to be over have an index for it; the others are sorted.
 */
#include "store/ledger/inner.h"

/* An undo was sent and is not known to be handled, of a step that is followed. */
#define WAITS                                                                                                          \
    "(c.state = 2 and c.undoing <> c.undone and exists (select from generate_series(0, length(c.steps) - 1) i"         \
    "  where (c.undoing & ~c.undone) >> i & 1 = 1 and position(substring(c.steps, i + 1, 1) in f.steps) > 0)) "
#define STATE "case when " WAITS " then 1 else c.state end::int2"
#define COLUMNS                                                                                                        \
    "n.name, c.correlation_text, " STATE ", c.generation, (c.began + 1577836800::int8) * 1000,"                        \
    " (c.at + 1577836800::int8) * 1000, c.due, c.reason, c.steps, c.undoing, c.undone, c.missing, c.definition,"       \
    " (select string_agg(s ->> 'name', chr(10) order by place)"                                                        \
    "  from json_array_elements(d.definition::json -> 'steps') with ordinality as e(s, place)),"                       \
    " c.began, c.chain, c.correlation,"                                                                                \
    " (select string_agg(s ->> 'undo', chr(10))"                                                                       \
    "  from json_array_elements(d.definition::json -> 'steps') as e(s)), d.definition::json ->> 'correlate',"          \
    " c.asked "
#define FROM                                                                                                           \
    "from sluice.chain c join sluice.name n on n.number = c.chain and n.kind = 'c'"                                    \
    " join unnest($1, $2) as f(name, steps) on f.name = n.name"                                                        \
    " left join sluice.chain_definition d on d.number = c.definition where "
#define PAGE                                                                                                           \
    " and " STATE " = any ($8) and c.began <= " LEDGER_NOW " - $3"                                                     \
    " and (c.began, c.chain, c.correlation) > ($4, $5, $6)"                                                            \
    " order by c.began, c.chain, c.correlation limit $7"

static const struct statement statement_open = {
    "select " COLUMNS FROM "(c.state in (1, 3) or c.missing <> 0 and c.state = 0 or " WAITS ")" PAGE, false};
static const struct statement statement_list = {"select " COLUMNS FROM "true" PAGE, false};
static const struct statement statement_find = {"select " COLUMNS FROM "c.correlation = $3 order by n.name", false};

enum store_result ledger_chain_list(struct connection *connection, const struct chain_query *query, int64_t timeout_ms,
                                    struct rows **ret, struct error *error)
{
    const struct store_param params[] = {
        STORE_ARRAY(PARAM_TEXT, query->chains, query->chain_count),
        STORE_ARRAY(PARAM_BYTEA, query->followed, query->chain_count),
        STORE_VALUE(PARAM_INT4, &query->older_s),
        STORE_VALUE(PARAM_INT4, &query->after_began),
        STORE_VALUE(PARAM_INT2, &query->after_chain),
        STORE_VALUE(PARAM_UUID, &query->after_correlation),
        STORE_VALUE(PARAM_INT4, &query->limit),
        STORE_ARRAY(PARAM_INT2, query->states, query->state_count),
    };
    return connection_once(connection, query->open ? &statement_open : &statement_list, 8, params, timeout_ms, ret,
                           error);
}

enum store_result ledger_chain_find(struct connection *connection, const struct span *chains,
                                    const struct span *followed, size_t chain_count, struct event_id correlation,
                                    int64_t timeout_ms, struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, chains, chain_count),
                                         STORE_ARRAY(PARAM_BYTEA, followed, chain_count),
                                         STORE_VALUE(PARAM_UUID, &correlation)};
    return connection_once(connection, &statement_find, 3, params, timeout_ms, ret, error);
}

static const struct statement statement_undoing = {
    "select (select count(*) from sluice.chain where state = 1 and chain = any ($1)) + count(*),"
    "       coalesce((" LEDGER_NOW " - min(c.began)) * 1000, 0)::int8 "
    "from unnest($1, $2) as f(chain, steps) join sluice.chain c on c.chain = f.chain where f.steps <> '' and " WAITS,
    false,
};

enum store_result ledger_chains_undoing(struct connection *connection, const int16_t *chains,
                                        const struct span *followed, size_t count, int64_t *ret_count,
                                        int64_t *ret_oldest_ms, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_INT2, chains, count),
                                         STORE_ARRAY(PARAM_BYTEA, followed, count)};
    struct rows *rows;
    enum store_result result = connection_run(connection, &statement_undoing, 2, params, &rows, error);
    if (result == STORE_OK) {
        *ret_count = rows_int64(rows, 0, 0);
        *ret_oldest_ms = rows_int64(rows, 0, 1);
    }
    return result;
}

static const struct statement statement_counts = {
    "select n.name, d.hash::text, d.definition, count(*) " FROM
    "(c.state in (1, 3) or c.missing <> 0 and c.state = 0 or " WAITS ")"
    " group by n.name, c.definition, d.hash, d.definition order by n.name, c.definition",
    false};
enum store_result ledger_chain_counts(struct connection *connection, const struct span *chains,
                                      const struct span *followed, size_t chain_count, int64_t timeout_ms,
                                      struct rows **ret, struct error *error)
{
    const struct store_param params[] = {STORE_ARRAY(PARAM_TEXT, chains, chain_count),
                                         STORE_ARRAY(PARAM_BYTEA, followed, chain_count)};
    return connection_once(connection, &statement_counts, 2, params, timeout_ms, ret, error);
}

static const struct statement statement_ask = {
    "update sluice.chain set asked = $3, due = now() where chain = $1 and correlation = $2", false};
static const struct statement statement_close = {
    "update sluice.chain set state = 4, reason = $3, due = null, asked = null, over = " LEDGER_NOW ", at = " LEDGER_NOW
    " where chain = $1 and correlation = $2",
    false,
};

static enum store_result queue(struct connection *connection, const struct statement *statement,
                               const struct chain_row *row, struct span why, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &row->chain),
                                         STORE_VALUE(PARAM_UUID, &row->correlation), STORE_VALUE(PARAM_TEXT, &why)};
    return connection_queue(connection, statement, 3, params, error);
}

enum store_result ledger_chain_ask(struct connection *connection, const struct chain_row *row, struct span why,
                                   struct error *error)
{
    return queue(connection, &statement_ask, row, why, error);
}

enum store_result ledger_chain_close(struct connection *connection, const struct chain_row *row, struct span why,
                                     struct error *error)
{
    return queue(connection, &statement_close, row, why, error);
}
