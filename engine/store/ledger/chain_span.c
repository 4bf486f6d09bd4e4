/*
 * chain_span.c - see ledger_span.h.
 */
#include "store/ledger_span.h"

#include "store/ledger/inner.h"

static const struct statement statement_note = {
    "with old as (delete from sluice.chain_span where ctid = any (array(select ctid from sluice.chain_span"
    "   where at < now() - interval '30 days' order by at limit 100 for update skip locked))) "
    "insert into sluice.chain_span as c (chain, correlation, step, traceparent)"
    " select distinct on (i.chain, i.correlation, i.step) i.chain, i.correlation, i.step, i.traceparent"
    " from unnest($1, $2, $3, $4) with ordinality as i(chain, correlation, step, traceparent, place)"
    " order by i.chain, i.correlation, i.step, i.place desc"
    " on conflict on constraint chain_span_pkey do update set traceparent = excluded.traceparent, at = excluded.at",
    false,
};

enum store_result ledger_chain_spans_note(struct connection *connection, const struct chain_span *spans, size_t count,
                                          struct error *error)
{
    const struct store_param params[] = {STORE_COLUMN(PARAM_INT2, &spans[0].chain, count, sizeof *spans),
                                         STORE_COLUMN(PARAM_UUID, &spans[0].correlation, count, sizeof *spans),
                                         STORE_COLUMN(PARAM_INT2, &spans[0].step, count, sizeof *spans),
                                         STORE_COLUMN(PARAM_TEXT, &spans[0].traceparent, count, sizeof *spans)};
    struct rows *rows;
    return connection_exec(connection, &statement_note, 4, params, &rows, error);
}

static const struct statement statement_find = {
    "select traceparent from sluice.chain_span where chain = $1 and correlation = $2 and step = $3",
    false,
};

enum store_result ledger_chain_span_find(struct connection *connection, struct chain_span *span, struct error *error)
{
    const struct store_param params[] = {STORE_VALUE(PARAM_INT2, &span->chain),
                                         STORE_VALUE(PARAM_UUID, &span->correlation),
                                         STORE_VALUE(PARAM_INT2, &span->step)};
    struct rows *rows;
    enum store_result result = connection_exec(connection, &statement_find, 3, params, &rows, error);
    if (result == STORE_OK)
        span->traceparent = rows_count(rows) == 0 ? (struct span){NULL, 0} : rows_span(rows, 0, 0);
    return result;
}
